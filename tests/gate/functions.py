"""The table of cases through the functions of the clamp, as the API server would ask them."""

from __future__ import annotations

import base64
import json

import jsonpatch

from tests.gate.case import Case, Json, merge
from tidegate.core import clamp

TIDEGATE = "system:serviceaccount:tidegate-system:tidegate"
DEFAULTS: dict[str, Json] = {
    "ReplicaSet": {"replicas": 1},
    "Deployment": {"progressDeadlineSeconds": 600},
    "Service": {},
    "HTTPRoute": {},
    "GRPCRoute": {},
    "TraefikService": {},
}
"""What the API server fills in before admission, as far as it matters."""


def review(before: Json | None, asked: Json, by: str) -> Json:
    """What the API server asks."""
    request = {
        "uid": "705ab4f5",
        "kind": {"group": "", "version": "v1", "kind": asked["kind"]},
        "operation": "CREATE" if before is None else "UPDATE",
        "userInfo": {"username": by},
        "object": asked,
        "oldObject": before,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def asked_for(case: Case) -> tuple[Json | None, Json]:
    """The object before, and as the write asks for it, as admission is shown them."""
    if case.before is None:
        return None, _defaulted(case.write)
    before = _defaulted(merge(case.before, {"metadata": {"name": "checkout", "uid": "0c6f1d8a"}}))
    # Only what was read from the API server has a uid.
    return before, _defaulted(case.write if case.whole else merge(before, case.write))


def admitted(before: Json | None, asked: Json, by: str = "alice") -> Json:
    """The object as the API server would store it."""
    response = clamp.answer(review(before, asked, by), TIDEGATE)["response"]
    assert response["uid"] == "705ab4f5"
    assert response["allowed"] is True
    if "patch" not in response:
        return asked
    assert response["patchType"] == "JSONPatch"
    changed: Json = jsonpatch.apply_patch(asked, json.loads(base64.b64decode(response["patch"])))
    return changed


def _defaulted(obj: Json) -> Json:
    full: Json = json.loads(json.dumps({**obj, "spec": {**DEFAULTS[obj["kind"]], **obj["spec"]}}))
    return full
