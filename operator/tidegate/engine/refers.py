"""What an object refers to, so that it is found again without a walk through all of its namespace.

A reference is ``Kind/name`` of an object of the same namespace, the uid of one, or ``key=value`` of a label; or, of a
flag, ``flag=SET/KEY`` and ``needs=SET/KEY``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from tidegate.api.traffic import TrafficSpec
from tidegate.core.flags.effective import Declared, accepted_spec
from tidegate.core.hold import RELEASING
from tidegate.core.reading import HASH
from tidegate.ports.cluster import (
    ANALYSIS_TEMPLATES,
    FEATURE_FLAGS,
    RELEASES,
    REPLICASETS,
    ROUTES,
    SERVICES,
    Kind,
    Object,
)

References = Iterable[tuple[str, ...]]
"""Each alone; those within a tuple together: who refers to them is asked for by all of them."""

ANY_SERVICE = "Service/*"
"""Where the Service is not known: of a release that has not found its own yet, of a route that a release has taken."""


def references(kind: Kind, obj: Object) -> References | None:
    """What an object refers to; None where that is not known of its kind."""
    found = _OF.get(kind)
    return found(obj) if found else None


def _release(obj: Object) -> References:
    """Its Deployment, its Service with those beside it, its routes, its templates: as named, and as found."""
    spec, effective = obj.get("spec") or {}, (obj.get("status") or {}).get("effective") or {}
    yield (f"Deployment/{(spec.get('targetRef') or {}).get('name', '')}",)
    for name in {ref.get("name", "") for said in (spec, effective) if (ref := said.get("serviceRef"))}:
        for suffix in ("", "-stable", "-canary"):
            yield (f"Service/{name}{suffix}",)
    for name in {preview for said in (spec, effective) if (preview := (said.get("preview") or {}).get("service"))}:
        yield (f"Service/{name}",)
    for name in _named(spec.get("traffic") or {}):
        yield (name,)
    for ref in (spec.get("analysis") or {}).get("templateRefs") or ():
        yield (f"{ANALYSIS_TEMPLATES.name}/{ref.get('name', '')}",)
    if not effective.get("serviceRef"):
        yield (ANY_SERVICE,)


def _owned(obj: Object) -> References:
    return [(ref["uid"],) for ref in obj["metadata"].get("ownerReferences") or () if ref.get("controller")]


def selector(service: Object) -> dict[str, str]:
    """The labels that a Service selects by. One in mid-release is narrowed by a hash, which does not count."""
    return {key: value for key, value in (service.get("spec", {}).get("selector") or {}).items() if key != HASH}


def _service(obj: Object) -> References:
    labels = tuple(f"{key}={value}" for key, value in selector(obj).items())
    return [*([labels] if labels else []), *_owned(obj)]


def _named(traffic: Object) -> Iterable[str]:
    """The routes that a release names."""
    if not traffic:
        return ()
    try:
        return TrafficSpec.model_validate(traffic).names() or ()
    except ValidationError:
        return ()  # what is wrong is said when the release is read


def backends(route: Object) -> set[str]:
    """The Services that a route leads to; any, of one that a release has taken: it may have led there before.

    Whatever is called a name in its spec may be one's: how a route is written, only its router knows.
    """
    held = RELEASING in (route["metadata"].get("annotations") or {})
    return {f"Service/{name}" for name in _names(route.get("spec"))} | ({ANY_SERVICE} if held else set())


def _names(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "name" and isinstance(inner, str):
                yield inner
            else:
                yield from _names(inner)


def _route(obj: Object) -> References:
    return [(service,) for service in backends(obj)]


def flag_reference(flag_set: str, key: str, *, needs: bool = False) -> str:
    """By which a flag is found, or those that need it."""
    return f"{'needs' if needs else 'flag'}={flag_set}/{key}"


def _flag(obj: Object) -> References:
    """Its own key, and those of the flags that it needs: as JSON, for a spec may be wrong elsewhere."""
    spec, accepted = obj.get("spec") or {}, (obj.get("status") or {}).get("accepted") or ""
    flag = Declared(obj["metadata"]["name"], obj["metadata"].get("namespace", ""), spec)
    yield (flag_reference(flag.flag_set, flag.key),)
    for key in {*prerequisites(spec), *prerequisites(accepted_spec(accepted) or {})}:
        yield (flag_reference(flag.flag_set, key, needs=True),)


def prerequisites(spec: Mapping[str, Any]) -> list[str]:
    """Keys of the flags that a flag names as its prerequisites."""
    return [str(one.get("flag", "")) for one in spec.get("prerequisites") or ()]


_OF: Mapping[Kind, Callable[[Object], References]] = {
    **dict.fromkeys(RELEASES, _release),
    REPLICASETS: _owned,
    SERVICES: _service,
    **dict.fromkeys(ROUTES, _route),
    FEATURE_FLAGS: _flag,
}
ANYWHERE = (FEATURE_FLAGS,)
"""Kinds whose references know no namespaces."""
