"""FeatureFlags that cannot be right, and what is told of them: by the API server, and by the models, in like words."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
_ROLLOUT: Json = {"steps": [{"percentage": 1, "bake": "1h"}, {"percentage": 100}]}
_TEXTS: Json = {"type": "String", "variants": [{"name": "blue", "value": "b"}, {"name": "red", "value": "r"}]}


def _rule(when: Json | None = None, **served: Any) -> Json:
    return {"rules": [{"name": "beta", "when": when or {"attribute": "plan", "equals": "beta"}, **served}]}


def _metric(query: str) -> Json:
    ratio = {"of": query, "to": "checkout_started_total"}
    metrics = [{"name": "errors", "ratio": ratio, "maxIncrease": "10%"}]
    return {"rollout": {**_ROLLOUT, "analysis": {"metrics": metrics}}}


REFUSED: dict[str, tuple[Json, str]] = {
    "a text flag without variants": ({"type": "String"}, "variants and offVariant are needed"),
    "a text flag without an off variant": (_TEXTS, "variants and offVariant are needed"),
    "an off variant that is none": ({"offVariant": "of"}, "offVariant: of is no variant of this flag"),
    "a default that is none": ({"defaultVariant": "onn"}, "defaultVariant: onn is no variant of this flag"),
    "a rule serves what is none": (_rule(serve="onn"), "rule beta: serve"),
    "a rule splits into what is none": (_rule(split={"onn": 1}), "is no variant of this flag"),
    "a rule serves and splits": (_rule(serve="on", split={"on": 1}), "rule beta: give exactly one of serve and split"),
    "a rule serves nothing": (_rule(), "rule beta: give exactly one of serve and split"),
    "weights of nothing": (_rule(split={"on": 0, "off": 0}), "at least one weight must be above 0"),
    "a weight below zero": (_rule(split={"on": -1}), "greater than or equal to 0"),
    "on, unquoted": (_rule(split={"true": 1}), 'write the name in quotes: "on"'),
    "a variant on, unquoted": ({"variants": [{"name": "true", "value": True}]}, 'write the name in quotes: "on"'),
    "two rules of a name": ({"rules": [*_rule(serve="on")["rules"]] * 2}, "rules must have distinct names"),
    "two variants of a name": (
        {"variants": [{"name": "off", "value": False}] * 2},
        "variants must have distinct names",
    ),
    "two comparisons": (
        _rule({"attribute": "plan", "equals": "a", "in": ["b"]}, serve="on"),
        "attribute with exactly one comparison",
    ),
    "no comparison": (_rule({"attribute": "plan"}, serve="on"), "attribute with exactly one comparison"),
    "a comparison of nothing": (_rule({"equals": "beta"}, serve="on"), "attribute with exactly one comparison"),
    "a question beside all": (
        _rule({"attribute": "plan", "equals": "a", "all": [{"attribute": "x", "exists": True}]}, serve="on"),
        "give one of",
    ),
    "two comparisons, three levels deep": (
        _rule({"all": [{"any": [{"attribute": "age", "above": 1, "below": 5}]}]}, serve="on"),
        "attribute with exactly one comparison",
    ),
    "what JavaScript finds in any text": (
        _rule({"attribute": "email.length", "above": 1}, serve="on"),
        "means something else in some SDKs",
    ),
    "what JavaScript finds in any object, as a key": (
        {"rollout": {**_ROLLOUT, "by": "toString.name"}},
        "means something else in some SDKs",
    ),
    "too deep into an object": (_rule({"attribute": "a.b.c", "exists": True}, serve="on"), "attribute"),
    "no version": (_rule({"attribute": "version", "semver": ">=2"}, serve="on"), "semver"),
    "a version with a zero before": (_rule({"attribute": "version", "semver": "=2.01.0"}, serve="on"), "semver"),
    "a rollout that shrinks": ({"rollout": {"steps": [{"percentage": 10}, {"percentage": 5}]}}, "must grow"),
    "a rollout that stands": ({"rollout": {"steps": [{"percentage": 10}, {"percentage": 10}]}}, "must grow"),
    "a rollout beyond everybody": ({"rollout": {"steps": [{"percentage": 101}]}}, "less than or equal to 100"),
    "a rollout that serves and splits": (
        {"rollout": {**_ROLLOUT, "serve": "on", "split": {"on": 1}}},
        "give serve or split, not both",
    ),
    "a rollout of a text flag that serves nothing": (
        {**_TEXTS, "offVariant": "red", "rollout": _ROLLOUT},
        "rollout: give exactly one of serve and split",
    ),
    "a rollout of what is none": ({"rollout": {**_ROLLOUT, "serve": "onn"}}, "onn is no variant of this flag"),
    "a rollout of on where there is none": (
        {"variants": [{"name": "no", "value": False}], "offVariant": "no", "rollout": _ROLLOUT},
        "rollout.serve: on is no variant of this flag",
    ),
    "a rollout that splits into what is none": (
        {"rollout": {**_ROLLOUT, "split": {"on": 1, "onn": 1}}},
        "is no variant of this flag",
    ),
    "a query for both": (_metric("sum(rate(errors_total[1m]))"), "give the bare name of a counter"),
    "a query of a release": (_metric('errors_total{hash="{{revision}}"}'), "metric errors: analysis: of and to must"),
    "a router that knows no variants": (
        {
            "rollout": {
                **_ROLLOUT,
                "analysis": {"metrics": [{"name": "errors", "preset": "ErrorRatio", "max": "5%", "from": "Router"}]},
            }
        },
        "from: Router is of releases",
    ),
    "pods that nobody knows": (
        {"rollout": {**_ROLLOUT, "analysis": {"source": "Pods", "metrics": []}}},
        "source: Pods is of releases",
    ),
    "a share that is nobody": ({"rollout": {"steps": [{"percentage": 0.0001}]}}, "at most three decimal places"),
    "a share that is everybody": ({"rollout": {"steps": [{"percentage": 99.9996}]}}, "at most three decimal places"),
    "a step with metrics and no bake": (
        {"rollout": {"steps": [{"percentage": 5, "bake": "0s"}, {"percentage": 100}], "analysis": {}}},
        "needs a bake",
    ),
    "a step with metrics and a bake of no time": (
        {"rollout": {"steps": [{"percentage": 5, "bake": "0d"}, {"percentage": 100}], "analysis": {}}},
        "needs a bake",
    ),
    "a last step with metrics and no bake": (
        {"rollout": {"steps": [{"percentage": 5, "bake": "1h"}, {"percentage": 50}], "analysis": {"interval": "1m"}}},
        "needs a bake",
    ),
    "a prerequisite twice": (
        {"prerequisites": [{"flag": "a", "variants": ["on"]}, {"flag": "a", "variants": ["off"]}]},
        "name each flag once",
    ),
}
"""By what is wrong: a spec, and a part of what is told."""
CHANGED: dict[str, tuple[Json, Json, str]] = {
    "the key": ({"key": "a"}, {"key": "b"}, "key cannot change"),
    "the key, written out": ({}, {"key": "other"}, "key cannot change"),
    "the set": ({"flagSet": "shop"}, {}, "flagSet cannot change"),
    "the type": ({}, {**_TEXTS, "offVariant": "red"}, "type cannot change"),
    "the seed": ({}, {"bucketing": {"seed": "b"}}, "bucketing.seed cannot change"),
    "the revision": ({"bucketing": {"revision": "v3"}}, {}, "bucketing.revision cannot change"),
}
"""By what changes and must not: a spec, the next one, and a part of what is told."""
ACCEPTED: dict[str, Json] = {
    "nothing": {},
    "a rule goes": {"rules": []},
    "thousandths": {"rollout": {"steps": [{"percentage": one} for one in (0.001, 0.057, 33.333, 64.005, 99.999)]}},
    "no bake where somebody is asked": {
        "rollout": {"steps": [{"percentage": 5}, {"percentage": 100, "approval": "Manual"}], "analysis": {}}
    },
    "no bake where nothing is measured": {
        "rollout": {"steps": [{"percentage": 5}, {"percentage": 100}], "analysis": {"metrics": []}}
    },
    "everything": {
        "key": "new-checkout",
        "flagSet": "shop",
        "type": "String",
        "variants": [{"name": "blue", "value": "b"}, {"name": "red", "value": "r"}, {"name": "off", "value": ""}],
        "offVariant": "off",
        "defaultVariant": "red",
        "purpose": "Experiment",
        "owner": "team-checkout",
        "prerequisites": [{"flag": "payments", "variants": ["on"]}],
        "rules": [
            {"name": "staff", "when": {"attribute": "email", "endsWith": "@example.com"}, "serve": "blue"},
            {
                "name": "beta",
                "when": {
                    "all": [
                        {"attribute": "plan", "in": ["beta", "pro"]},
                        {
                            "any": [
                                {"attribute": "version", "semver": ">=2.3.0-rc.1"},
                                {"attribute": "age", "atLeast": 18},
                            ]
                        },
                        {"not": {"attribute": "user.country", "equals": "XX"}},
                    ]
                },
                "split": {"blue": 50, "red": 50},
            },
        ],
        "rollout": {
            "by": "user.id",
            "split": {"blue": 1, "red": 2},
            "steps": [
                {"percentage": 0.5, "bake": "1h"},
                {"percentage": 10, "bake": "1d", "approval": "Manual"},
                {"percentage": 100},
            ],
            "analysis": {
                "metrics": [
                    {
                        "name": "errors",
                        "ratio": {"of": "errors_total", "to": 'all_total{variant="{{variant}}"}'},
                        "maxIncrease": "10%",
                    }
                ]
            },
            "schedule": {"windows": [{"days": ["Mon", "Tue"], "from": "09:00", "to": "17:00"}]},
        },
        "bucketing": {"revision": "v3", "seed": "checkout"},
        "removal": {"after": "14d"},
    },
}
