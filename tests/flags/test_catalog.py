"""Sets of flags as they come and go: what is served is whole, and one bad flag hurts no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flags.running import STEPS, flag
from tidegate.core.flags.compile import compile_set
from tidegate.flags import catalog as catalog_module
from tidegate.flags.catalog import Catalog
from tidegate.flags.served import SINGLE, Kind

Json = dict[str, Any]
BAD: Json = {"type": "String"}


def catalog(*flags: Json) -> Catalog:
    """With these flags, served."""
    made = Catalog(lambda _: None)
    for one in flags:
        made.put(one)
    made.refresh()
    return made


def said(made: Catalog, key: str, context: Json | None = None, flag_set: str = "shop") -> bytes:
    return made.sets[flag_set].flags[key].answer(context or {}, SINGLE)


def test_an_answer_is_of_the_type_that_sdks_ask_for() -> None:
    number: Json = {"variants": [{"name": "a", "value": 1}], "offVariant": "a"}
    made = catalog(flag("float", type="Number", **number), flag("int", type="Integer", **number))
    assert b'"value":1.0' in said(made, "float")
    assert b'"value":1,' in said(made, "int")


def test_a_spec_that_cannot_be_served_leaves_the_last_that_could() -> None:
    made = catalog(flag("one", defaultVariant="on"), flag("two"))
    made.put(flag("one", **BAD))
    made.refresh()
    assert b'"on"' in said(made, "one")
    assert b'"off"' in said(made, "two")
    assert "variants" in made.problems["shop"]["one"]
    made.put(flag("one", **BAD, enabled=False))
    made.refresh()
    assert b'"off"' in said(made, "one"), "its kill switch works all the same"


def test_true_is_not_one() -> None:
    def limit(value: object) -> Json:
        variants = [{"name": "on", "value": {"limit": value}}, {"name": "off", "value": {}}]
        return flag("one", type="Object", variants=variants, defaultVariant="on", offVariant="off")

    made = catalog(limit(1))
    for value, text in ((True, b"true"), (1.0, b"1.0"), (1, b"1")):
        made.put(limit(value))
        made.refresh()
        assert b'"limit":' + text + b"}" in said(made, "one")


def test_an_object_that_nobody_foresaw_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    odd = flag("odd", defaultVariant="on")
    made = catalog(odd)
    made.put({**odd, "spec": "no object"})
    made.put({"kind": "nothing"})
    made.refresh()
    assert b'"on"' in said(made, "odd"), "what is known of it is served"
    assert caplog.text.count("is left as it was") == 2


def test_an_accepted_spec_that_cannot_be_read_is_none() -> None:
    for text in ("{", "[]", "null", "[" * 100_000):
        broken = flag("one", defaultVariant="on")
        broken["status"] = {"accepted": text}
        assert b'"on"' in said(catalog(broken), "one")
        assert not catalog({**broken, "spec": BAD}).sets["shop"].flags


def test_a_set_that_cannot_be_made_hurts_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(programs: Json) -> Json:
        if "bad" in programs:
            raise RuntimeError
        return compile_set(programs)

    made, told = catalog(flag("bad", namespace="books")), list[str]()
    before = made.of("books")
    made.listen(told.append)
    monkeypatch.setattr(catalog_module, "compile_set", fails)
    made.put(flag("bad", namespace="books", defaultVariant="on"))
    for name in ("shop", "depot", "yard"):
        made.put(flag("one", namespace=name))
    made.refresh()
    assert sorted(told) == ["depot", "shop", "yard"]
    assert made.of("books") is before
    assert "flag set books cannot be made" in caplog.text


def test_the_last_good_spec_outlives_the_process() -> None:
    first = catalog(flag("one", defaultVariant="on"))
    first.put(flag("one", **BAD))
    first.refresh()
    second = catalog(*first.objects())
    assert b'"on"' in said(second, "one")


def test_what_was_never_right_is_not_served_and_hurts_no_other() -> None:
    made = catalog(flag("one", **BAD), flag("two"))
    assert set(made.sets["shop"].flags) == {"two"}
    assert set(made.problems["shop"]) == {"one"}


def test_a_status_that_cannot_be_read_is_none() -> None:
    broken = flag("one", defaultVariant="on")
    broken["status"] = {"override": {"reason": 7}, "rollout": {"milli": "x"}}
    assert b'"on"' in said(catalog(broken), "one")


def test_of_two_flags_with_one_key_the_oldest_is_served() -> None:
    old = flag("b", key="same", defaultVariant="on", created="2026-01-01T00:00:00Z")
    new = flag("a", key="same", created="2026-02-01T00:00:00Z")
    made = catalog(new, old)
    assert b'"on"' in said(made, "same")
    assert list(made.conflicts["shop"]) == [("shop", "a")]
    made.remove(("shop", "b"))
    made.refresh()
    assert b'"off"' in said(made, "same")
    assert not made.conflicts["shop"]


def test_a_flag_moves_to_another_set_and_leaves_none_behind() -> None:
    made = catalog(flag("one", flagSet="first"))
    made.put(flag("one", flagSet="second"))
    made.refresh()
    assert set(made.sets) == {"second"}
    made.keep_only([])
    made.refresh()
    assert made.sets == {}
    assert made.of("second").document.startswith(b'{"flags":{}')


def test_the_revision_is_of_what_is_served_and_alike_in_all_gateways() -> None:
    one, two = flag("one"), flag("two", clientSide=True)
    first, second = catalog(one, two), catalog(two, one)
    assert first.sets["shop"].revision == second.sets["shop"].revision
    before = {kind: view.revision for kind, view in first.sets["shop"].views.items()}
    first.put(flag("one", defaultVariant="on"))
    first.refresh()
    after = {kind: view.revision for kind, view in first.sets["shop"].views.items()}
    assert before[Kind.SERVER] != after[Kind.SERVER]
    assert before[Kind.CLIENT] == after[Kind.CLIENT], "clients do not see it, and need not ask again"


def test_what_says_nothing_new_makes_nothing_new() -> None:
    calls: list[object] = []
    made = Catalog(calls.append)
    made.put(flag("one"))
    made.put(flag("two"))
    assert len(calls) == 1, "what comes together is made once"
    made.refresh()
    again = flag("one")
    again["status"] = {"message": "the operator has looked at it", "observedGeneration": 7}
    made.put(again)
    assert len(calls) == 1


def test_a_flag_that_has_not_changed_is_not_made_anew() -> None:
    made = catalog(flag("one"), flag("two"), flag("needs", prerequisites=[{"flag": "two", "variants": ["on"]}]))
    before = made.sets["shop"].flags
    made.put(flag("two", defaultVariant="on"))
    made.refresh()
    after = made.sets["shop"].flags
    assert after["one"] is before["one"]
    assert after["two"] is not before["two"]


def test_evaluations_are_counted_through_changes_by_variant_and_mode() -> None:
    made = catalog(
        flag("static"), flag("rules", rules=[{"name": "r", "when": {"attribute": "a", "is": True}, "serve": "on"}])
    )
    view = made.sets["shop"].views[Kind.SERVER]
    view.answers({"a": True})
    said(made, "static")
    made.put(flag("other"))
    made.refresh()
    made.sets["shop"].views[Kind.SERVER].answers({})
    counted = {(key, variant): tuple(tally) for _, key, variant, tally in made.tallies()}
    assert counted == {
        ("static", "off"): (1, 2),
        ("rules", "on"): (0, 1),
        ("rules", "off"): (0, 1),
        ("other", "off"): (0, 1),
    }
    made.remove(("shop", "rules"))
    made.refresh()
    assert "rules" not in {key for _, key, _, _ in made.tallies()}


def test_people_are_counted_by_arm_and_those_of_rules_are_in_none() -> None:
    staff = {"name": "staff", "when": {"attribute": "staff", "is": True}, "split": {"on": 1, "off": 1}}
    made = catalog(flag("one", rollout=STEPS, rules=[staff], milli=10_000))
    for number in [*range(5000), *range(5000)]:
        said(made, "one", {"targetingKey": f"user-{number}", "staff": number < 1000})
    arms = made.sets["shop"].flags["one"].arms
    assert arms is not None
    inside, outside = arms.inside.estimate or 0, arms.outside.estimate or 0
    assert abs(inside - 400) < 60
    assert abs(outside - 3600) < 150
    made.put(flag("one", rollout=STEPS, rules=[staff], milli=20_000))
    made.refresh()
    later = made.sets["shop"].flags["one"].arms
    assert later is not None
    assert later.inside.estimate == 0, "another share is counted anew"
    made.put(flag("one", rollout=STEPS, milli=100_000))
    made.refresh()
    assert made.sets["shop"].flags["one"].arms is None


def test_an_object_made_anew_has_nothing_of_one_that_was_not_seen_to_go() -> None:
    old, new = flag("one", defaultVariant="on"), flag("one", **BAD)
    old["metadata"]["uid"], new["metadata"]["uid"] = "1", "2"
    made = catalog(old)
    assert [one["metadata"]["uid"] for one in made.objects()] == ["1"]
    made.put(new)
    made.refresh()
    assert "one" not in (made.sets["shop"].flags if "shop" in made.sets else {})
    kept = catalog(old)
    old["spec"] = new["spec"]
    kept.put(old)
    kept.refresh()
    assert b'"on"' in said(kept, "one")
