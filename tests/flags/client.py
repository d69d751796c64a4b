"""Python's OpenFeature SDK with one of its providers. Asked on standard input, answers on standard output."""

import json
import sys

from openfeature import api
from openfeature.evaluation_context import EvaluationContext

name, where = sys.argv[1], json.loads(sys.argv[2])
if name == "ofrep":
    from openfeature.contrib.provider.ofrep import OFREPProvider

    provider = OFREPProvider(where["url"], headers_factory=lambda: {"Authorization": f"Bearer {where['token']}"})
else:
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType

    provider = FlagdProvider(
        resolver_type=ResolverType.IN_PROCESS,
        host=where["host"],
        port=where["grpc"],
        tls=False,
        deadline_ms=10_000,
        selector=f"flagSetId={where['set']},token={where['token']}",
    )
api.set_provider_and_wait(provider)
client = api.get_client()
ask = {
    "Boolean": lambda *args: client.get_boolean_details(args[0], False, args[1]),
    "String": lambda *args: client.get_string_details(args[0], "", args[1]),
    "Integer": lambda *args: client.get_integer_details(args[0], 0, args[1]),
    "Number": lambda *args: client.get_float_details(args[0], 0.0, args[1]),
    "Object": lambda *args: client.get_object_details(args[0], {}, args[1]),
}
for line in sys.stdin:
    type_, key, attributes = json.loads(line)
    who = attributes.pop("targetingKey", None)
    found = ask[type_](key, EvaluationContext(who, attributes))
    error = found.error_code.value if found.error_code else None
    print(
        json.dumps(
            {"value": found.value, "variant": found.variant, "reason": str(found.reason), "error": error}
        ).replace("Reason.", ""),
        flush=True,
    )
