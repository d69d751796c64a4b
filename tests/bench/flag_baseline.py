"""What anybody would write in an afternoon: flagd's own core behind starlette. To compare with, on the same machine."""

import json
import sys
from pathlib import Path

import uvicorn
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

core = FlagdCore()
document = json.loads(Path(sys.argv[2]).read_text())
keys = list(document["flags"])
core.set_flags(json.dumps(document))


def evaluated(key: str, context: EvaluationContext) -> dict[str, object]:
    found = core.resolve_boolean_value(key, False, context)
    return {"key": key, "value": found.value, "variant": found.variant, "reason": str(found.reason)}


async def context_of(request: Request) -> EvaluationContext:
    attributes = (await request.json()).get("context", {})
    return EvaluationContext(attributes.pop("targetingKey", None), attributes)


async def single(request: Request) -> JSONResponse:
    return JSONResponse(evaluated(request.path_params["key"], await context_of(request)))


async def bulk(request: Request) -> JSONResponse:
    context = await context_of(request)
    return JSONResponse({"flags": [evaluated(key, context) for key in keys]})


ROUTE = "/ofrep/v1/evaluate/flags"
app = Starlette(routes=[Route(ROUTE, bulk, methods=["POST"]), Route(ROUTE + "/{key}", single, methods=["POST"])])
uvicorn.run(
    app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="error"
)
