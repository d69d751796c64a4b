"""`tidegate flags`: the table, the trace, and whom a change would move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.app.cli import flags
from tidegate.app.cli.manifests import Wrong
from tidegate.app.main import main
from tidegate.engine.flags import read_flag

BEFORE = """\
kind: FeatureFlag
metadata: {name: new-checkout}
spec:
  rollout: {steps: [{percentage: 100}]}
"""
ANEW = BEFORE.replace("{steps", "{by: account, steps")


def flag(name: str = "new-checkout", *, stale: bool = False, **spec: Any) -> Any:
    condition = {
        "type": "Stale",
        "status": "True" if stale else "False",
        "reason": "Stale",
        "message": "remove it" if stale else "",
        "lastTransitionTime": "2026-01-05T09:00:00Z",
    }
    status = {"serving": "on", "percentage": "100%", "phase": "Serving", "conditions": [condition]}
    meta = {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": "2026-01-05T09:00:00Z"}
    return read_flag({"metadata": meta, "spec": spec, "status": status})


def test_the_table_and_what_should_go() -> None:
    known = [flag(), flag("old-cart", stale=True, owner="team-cart")]
    assert "new-checkout  on       100%" in flags.listed(known)
    listed = flags.listed(known, stale=True).splitlines()
    assert len(listed) == 2
    assert listed[1].split()[:2] == ["shop", "old-cart"]
    assert listed[1].endswith("team-cart  remove it")
    assert flags.listed([flag()], stale=True) == "no flag should go\n"


def test_an_answer_with_its_trace() -> None:
    rule = {"name": "beta", "when": {"attribute": "plan", "equals": "beta"}, "serve": "on"}
    told = flags.explained([flag(rules=[rule])], "shop", "new-checkout", flags.context(["plan=beta"]))
    assert told.startswith("new-checkout = true  (on, TARGETING_MATCH)\n  → rule beta")
    with pytest.raises(Wrong, match="There are: new-checkout"):
        flags.explained([flag()], "shop", "nowhere", {})


def test_what_a_context_is() -> None:
    assert flags.context(["plan=beta", "age=42", "user.vip=true", "note=a=b"]) == {
        "plan": "beta",
        "age": 42,
        "user": {"vip": True},
        "note": "a=b",
    }
    with pytest.raises(Wrong, match="KEY=VALUE"):
        flags.context(["plan"])
    for pairs in (["user=1", "user.plan=x"], ["user.plan=x", "user=1"]):
        with pytest.raises(Wrong, match="user is a value and an object"):
            flags.context(pairs)


def test_whom_a_change_would_move(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(BEFORE)
    after.write_text(ANEW)
    assert main(["flags", "diff", str(before), str(after), "--users", "500"]) == 0
    assert capsys.readouterr().out == "nobody of 500 users is served anything else\n"
    assert main(["flags", "diff", str(before), str(after), "--users", "2000", "--percentage", "50"]) == 0
    told = capsys.readouterr().out
    assert "new-checkout: " in told
    assert "% go from on to off" in told, "who has no account waits for 100 %"
    after.write_text(BEFORE.replace("spec:", "spec:\n  enabled: false"))
    assert main(["flags", "diff", str(before), str(after), "--users", "100"]) == 0
    assert capsys.readouterr().out == "of 100 users:\n  new-checkout: 100 % go from on to off\n"


def test_a_file_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(BEFORE.replace("[{percentage: 100}]", "[{percentage: 101}]"))
    assert main(["flags", "diff", str(wrong), str(wrong)]) == 1
    assert "new-checkout: spec.rollout.steps[0].percentage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("[{percentage: 100}]", "[{percentage: '100'}]", "spec.rollout.steps[0].percentage: '100' is to be a number"),
        ("[{percentage: 100}]", "[{percentage: true}]", "spec.rollout.steps[0].percentage: 'True' is to be a number"),
        ("spec:", "spec:\n  enabled: 'true'", "spec.enabled: 'true' is to be true or false"),
        ("spec:", "spec:\n  owner: 7", "spec.owner: '7' is to be text"),
        ("spec:", "spec:\n  rules: {}", "spec.rules: '{}' is to be a list"),
        ("spec:", "spec: 7\nx:", "spec: '7' is to be an object"),
        ("metadata:", "metadata: 7\nx:", "metadata: '7' is to be an object"),
    ],
)
def test_a_file_is_taken_as_the_api_server_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, told: str
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(BEFORE.replace(right, wrong, 1))
    assert main(["flags", "diff", str(file), str(file)]) == 1
    assert told in capsys.readouterr().err


def test_a_time_without_quotes_is_text_to_the_api_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file.yaml"
    schedule = "schedule: {startAt: 2026-11-02T09:00:00Z}, steps"
    file.write_text(BEFORE.replace("steps", schedule, 1))
    assert main(["flags", "diff", str(file), str(file)]) == 0, capsys.readouterr().err


def test_a_flag_that_is_needed_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(BEFORE.replace("spec:", 'spec:\n  prerequisites: [{flag: pay, variants: ["on"]}]'))
    after.write_text(before.read_text().replace("spec:", "spec:\n  enabled: false"))
    assert main(["flags", "diff", str(before), str(after)]) == 1
    told = capsys.readouterr().err
    assert "new-checkout of set default: spec.prerequisites[0].flag: 'pay' is no flag of this set" in told


def test_the_order_in_which_a_file_has_a_split_moves_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, cluster = tmp_path / "file.yaml", tmp_path / "cluster.yaml"
    file.write_text(BEFORE.replace("{steps", '{split: {"on": 30, "off": 70}, steps'))
    cluster.write_text(BEFORE.replace("{steps", '{split: {"off": 70, "on": 30}, steps'))
    assert main(["flags", "diff", str(cluster), str(file), "--users", "500"]) == 0
    assert capsys.readouterr().out == "nobody of 500 users is served anything else\n"
