"""Random sets of flags, and people who ask: with attributes missing, empty, of another type, from any language."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from random import Random
from typing import Any

from tidegate.api.flagstatus import FlagStatus, Override, RolloutStatus
from tidegate.core.flags.check import read
from tidegate.core.flags.effective import EVERYBODY, Declared, rollout_digest

Json = dict[str, Any]
ATTRIBUTES = ("plan", "email", "version", "age", "beta", "tags", "user.plan", "user.id", "targetingKey")
TEXTS = ("", "beta", "pro", "ann@example.com", "1", "10", "true", "null", "Straße", "日本", "😀", "a,b", "None", "0")
VERSIONS = ("1.2.3", "v2.0.0", "2.0.0-rc.1", "2.0.0-rc.1+5", "2.0.0-2", "2.0.0-10", "2.1", "2", "0.0.0", "x", "2.0.0.0")
WANTED = ("1.2.3", "v2.0.0", "2.0.0-rc.1", "2.0.0-rc.1+5", "2.0.0-2", "0.0.0")
NUMBERS = (0, 1, -1, 2.5, 10, 1.0, 18, 10**12, 0.1 + 0.2)
LISTS: tuple[list[Any], ...] = (
    [],
    ["beta"],
    ["pro", "beta"],
    [1],
    [True],
    [["beta"]],
    [None],
    [""],
    ["a", "b"],
    [10.5],
)
OBJECTS: tuple[Json, ...] = ({}, {"plan": "beta"}, {"length": 3}, {"beta": True})
ODD_KEYS = ("", None, 0, 7, 7.0, 7.5, -3, True, False, 10**15, 10**15 - 1, 123456789012345.0, ["ann"], {"id": 1}, "7")
NOT_ASCII = ("Jürgen", "日本", "😀")
VALUES: dict[str, Sequence[Any]] = {
    "Boolean": (True, False),
    "String": ("", "blue", "ü"),
    "Integer": (0, 1, -5, 2**53 - 1),
    "Number": (0, 1, 2.5, -0.25),
    "Object": ({}, {"a": [1, {"b": None}]}),
}


class Chance:
    """Flags and people, by a seed."""

    def __init__(self, seed: int, *, revision: str, ascii_keys: bool) -> None:
        self._random = Random(seed)
        self._revision = revision
        self._odd_keys = ODD_KEYS if ascii_keys else ODD_KEYS + NOT_ASCII

    def flags(self, count: int) -> list[Declared]:
        """A set. Later ones may need earlier ones."""
        made: list[Declared] = []
        for number in range(count):
            made.append(self._flag(f"flag-{number}", made))
        return made

    def person(self) -> Json:
        """Who asks."""
        random = self._random
        context: Json = {}
        for name in ATTRIBUTES:
            if random.random() < 0.3:
                continue
            outer, _, inner = name.partition(".")
            if name == "targetingKey":
                odd = random.random() < 0.3
                context[name] = random.choice(self._odd_keys) if odd else f"user-{random.randrange(10**6)}"
            elif inner and random.random() < 0.8:
                if not isinstance(context.get(outer), dict):
                    context[outer] = {}
                context[outer][inner] = self._value() if inner == "plan" else random.choice(self._odd_keys)
            else:
                context[outer] = random.choice(VERSIONS) if name == "version" else self._value()
        return context

    def _value(self) -> Any:
        random = self._random
        return deepcopy(random.choice(random.choice((TEXTS, TEXTS, NUMBERS, (True, False, None), LISTS, OBJECTS))))

    def _flag(self, key: str, others: Sequence[Declared]) -> Declared:
        random = self._random
        type_ = random.choice(tuple(VALUES))
        names = [f"v{number}" for number in range(random.randint(1, 4))]
        spec: Json = {
            "type": type_,
            "variants": [{"name": name, "value": random.choice(VALUES[type_])} for name in names],
            "offVariant": random.choice(names),
            "enabled": random.random() < 0.95,
            "bucketing": {"revision": self._revision, **({"seed": "shared"} if random.random() < 0.3 else {})},
            "owner": random.choice(("", "team-ü")),
            "rules": [
                {"name": f"rule-{number}", "when": self._when(3), **self._serve(names)}
                for number in range(random.choice((0, 1, 1, 2, 3)))
            ],
        }
        if random.random() < 0.5:
            spec["defaultVariant"] = random.choice(names)
        if random.random() < 0.7:
            steps = [{"percentage": 50}, {"percentage": 100}]
            by = random.choice(("targetingKey", "targetingKey", "user.id"))
            spec["rollout"] = {"steps": steps, "by": by, **self._serve(names)}
        if others and random.random() < 0.4:
            spec["prerequisites"] = [self._need(other) for other in random.sample(others, min(len(others), 2))]
        return Declared(key, "default", spec, self._status(spec))

    def _need(self, other: Declared) -> Json:
        names = [variant["name"] for variant in other.spec["variants"]]
        return {"flag": other.key, "variants": self._random.sample(names, self._random.randint(1, len(names)))}

    def _status(self, spec: Json) -> FlagStatus:
        random = self._random
        read_spec = read(spec)
        if isinstance(read_spec, tuple):
            raise ValueError(read_spec)  # noqa: TRY004  # what is told of it is what matters
        digest = rollout_digest(read_spec)
        share = random.choice((0, 1, 1000, 25_000, 50_000, 99_999, EVERYBODY, random.randrange(EVERYBODY)))
        breach = Override(reason="Breached", since="2026-01-01T00:00:00Z", rollout=digest)
        rollout = RolloutStatus(digest=digest, milli=share)
        return FlagStatus(rollout=rollout, override=breach if random.random() < 0.03 else None)

    def _serve(self, names: Sequence[str]) -> Json:
        random = self._random
        if random.random() < 0.5:
            return {"serve": random.choice(names)}
        weights = {name: random.choice((0, 1, 5, 33, 50, 100_000)) for name in names}
        weights[random.choice(names)] = random.choice((1, 50))
        return {"split": weights}

    def _when(self, deep: int) -> Json:
        random = self._random
        if deep > 1 and random.random() < 0.4:
            how = random.choice(("all", "any", "not"))
            if how == "not":
                return {"not": self._when(deep - 1)}
            return {how: [self._when(deep - 1) for _ in range(random.randint(1, 3))]}
        return {"attribute": random.choice(ATTRIBUTES), **self._comparison()}

    def _comparison(self) -> Json:
        random = self._random
        some = [text for text in TEXTS if text]
        return random.choice(
            (
                {"equals": random.choice(TEXTS)},
                {"in": random.sample(TEXTS, 3)},
                {"notIn": random.sample(TEXTS, 3)},
                {"startsWith": random.choice(some)[:2]},
                {"endsWith": random.choice(some)[-2:]},
                {"contains": random.choice(some)},
                {"is": random.random() < 0.5},
                {random.choice(("atLeast", "atMost", "above", "below")): random.choice((0, 1, 2.5, 10, -1))},
                {"semver": random.choice(("", "=", "!=", "<", "<=", ">", ">=", "~", "^")) + random.choice(WANTED)},
                {"exists": random.random() < 0.5},
            )
        )
