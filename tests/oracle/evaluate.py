"""Answers as flagd's Python core does. Runs in an environment with that core alone, and knows nothing of Tidegate.

A line of JSON in is a set of flags and who asks for what; a line out is the answers.
"""

import json
import logging
import sys
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

DEFAULTS = {"boolean": False, "string": "", "integer": 0, "float": 0.0, "object": {}}


def main() -> None:
    logging.disable()
    for line in sys.stdin:
        case = json.loads(line)
        core = FlagdCore()
        core.set_flags(case["document"])
        sys.stdout.write(json.dumps([answer(core, *one) for one in case["asked"]]) + "\n")


def answer(core: FlagdCore, key: str, kind: str, context: dict[str, Any]) -> list[Any]:
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    who = EvaluationContext(targeting_key=context.get("targetingKey"), attributes=attributes)
    try:
        found = getattr(core, f"resolve_{kind}_value")(key, DEFAULTS[kind], who)
    except (OpenFeatureError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        return ["", repr(error), "ERROR"]
    return [found.variant, found.value, str(found.reason)]


if __name__ == "__main__":
    main()
