"""What SDKs that evaluate in process are given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagStatus, Override, RolloutStatus
from tidegate.core.flags.effective import Declared, rollout_digest
from tidegate.core.flags.flagd import document
from tidegate.core.flags.flagset import flag_set

Json = dict[str, Any]
ROLLOUT: Json = {"rollout": {"steps": [{"percentage": 25}]}, "owner": "team-checkout"}


def flag(spec: Json, milli: int = 25_000, *, breached: bool = False) -> Json:
    digest = rollout_digest(FlagSpec.model_validate(spec))
    override = Override(reason="LimitExceeded", since=datetime(2026, 1, 1, tzinfo=UTC), rollout=digest)
    status = FlagStatus(rollout=RolloutStatus(digest=digest, milli=milli), override=override if breached else None)
    found = flag_set([Declared("checkout", "shop", spec, status)])
    written: Json = document("shop", "7", found.programs.values())
    assert written["metadata"] == {"flagSetId": "shop", "version": "7"}
    (only,) = written["flags"].values()
    assert only["state"] == "ENABLED"
    return dict(only)


def test_a_kill_switch_serves_the_off_variant() -> None:
    found = flag({**ROLLOUT, "enabled": False})
    assert found["defaultVariant"] == "off"
    assert "targeting" not in found
    assert found["metadata"] == {"bucketing": "v2", "owner": "team-checkout", "killed": True}


def test_so_does_a_breach() -> None:
    found = flag(ROLLOUT, breached=True)
    assert (found["defaultVariant"], found["metadata"]["breached"]) == ("off", True)


def test_everybody_is_not_hashed() -> None:
    found = flag(ROLLOUT, 100_000)
    assert found["defaultVariant"] == "on"
    assert "targeting" not in found


def test_a_share_of_everybody_is_of_those_with_a_key() -> None:
    condition, serve, otherwise = flag(ROLLOUT)["targeting"]["if"]
    has_key, within = condition["and"]
    key = {"var": ["targetingKey"]}
    assert has_key["or"][0] == {"and": [{"starts_with": [key, ""]}, {"!!": [key]}]}
    hashed = {"fractional": [{"cat": ["checkout/r/", key]}, ["in", 25_000], ["out", 75_000]]}
    assert within == {"===": [hashed, "in"]}
    assert (serve, otherwise) == ("on", None)


def test_numbers_are_written_as_what_they_are() -> None:
    variants = [{"name": "a", "value": 1}]
    assert repr(flag({"type": "Number", "variants": variants, "offVariant": "a"})["variants"]) == "{'a': 1.0}"
    assert repr(flag({"type": "Integer", "variants": variants, "offVariant": "a"})["variants"]) == "{'a': 1}"
