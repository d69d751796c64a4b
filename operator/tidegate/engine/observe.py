"""From the cluster to what the core decides upon: read, translate, name what is wrong.

At rest everything comes from the watches. While a release is under way its pods and endpoints are read live: they
change by the second, and nothing else of the cluster needs to be watched for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from tidegate.api.bluegreen import BlueGreenSpec
from tidegate.api.canary import CanarySpec
from tidegate.api.conditions import Reason
from tidegate.api.release import LONGEST_NAME, ReleaseSpec, Step, unfit
from tidegate.api.releasestatus import ReleaseStatus, Stage
from tidegate.api.rolling import RollingSpec
from tidegate.api.traffic import PodShare, TrafficSpec
from tidegate.core import checks, depth, gates, looking, reading, templates
from tidegate.core.asked import REQUEST
from tidegate.core.observed import Backends, Observed, Pod, Problem, Release, Service
from tidegate.engine.act import FINALIZER
from tidegate.engine.asker import Asker
from tidegate.engine.calls import Calls
from tidegate.engine.checkups import Checkups
from tidegate.engine.gate import GateCheck
from tidegate.engine.jobs import Jobs
from tidegate.engine.scene import Scene, ours
from tidegate.engine.scrapes import Scrapes
from tidegate.engine.subject import Subject
from tidegate.engine.unwritten import Unwritten
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    ANALYSIS_TEMPLATES,
    BLUE_GREEN_RELEASES,
    CANARY_RELEASES,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    PODS,
    RELEASES,
    REPLICASETS,
    ROLLING_RELEASES,
    SERVICES,
    Kind,
    NotFound,
    Object,
    Watched,
)
from tidegate.ports.router import Names, Router, Routing


class Observer:
    """Reads one release and all that belongs to it. Raises ClusterError."""

    def __init__(
        self,
        cluster: Watched,
        router: Router,
        asker: Asker,
        gate: GateCheck,
        clock: Clock,
        checkups: Checkups,
        jobs: Jobs,
        calls: Calls,
        scrapes: Scrapes,
        unwritten: Unwritten,
        term: Callable[[], int] = lambda: 0,
    ) -> None:
        self._cluster, self._router, self._asker, self._gate, self._clock = cluster, router, asker, gate, clock
        self._checkups, self._jobs, self._calls, self._term = checkups, jobs, calls, term
        self._scrapes, self._unwritten = scrapes, unwritten
        self._read: dict[tuple[Kind, str, str], tuple[str, Release]] = {}
        """Those under way, with their versions: they are looked at far more often than they change."""

    async def observe(self, kind: Kind, namespace: str, name: str) -> tuple[Observed, Scene]:
        """What is known now; NotFound where the release is gone."""
        try:
            obj = await self._cluster.get(kind, namespace, name)
        except NotFound:
            self._read.pop((kind, namespace, name), None)
            raise
        read = await with_templates(self._cluster, self._release(kind, obj))
        release, term = replace(read, let_go=await self._gate.let_go()), self._term()
        release = replace(release, status=self._unwritten.onto(release.uid, release.status))
        scene = Scene(kind=kind, release=obj, term=term)
        deployment = await self._deployment(release)
        if deployment is None:
            obs = Observed(release=release, problems=_no_target(release), term=term)
            return await self._traffic(obs, scene, labels=None)
        uid = deployment["metadata"]["uid"]
        listed = await self._cluster.referring(REPLICASETS, namespace, [uid])
        replicasets = [rs for rs in listed if reading.owned_by(rs, uid)]
        target = reading.deployment(deployment)
        obs = Observed(
            release=replace(release, invalid=release.invalid or checks.unresolved(release.spec, target)),
            deployment=target,
            replicasets=tuple(map(reading.replicaset, replicasets)),
            problems=await self._gate.problems(),
            term=term,
        )
        labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
        by_name = {rs["metadata"]["name"]: rs for rs in replicasets}
        obs, scene = await self._traffic(obs, replace(scene, deployment=deployment, replicasets=by_name), labels)
        obs = replace(obs, asked=self._calls.look(release.uid, gates.calls(obs)))
        if gates.listens(obs):
            obs = replace(obs, jobs=await self._jobs.read(scene))
        return await self._live(obs, scene), scene

    def _release(self, kind: Kind, obj: Object) -> Release:
        meta = obj["metadata"]
        key, version = (kind, meta["namespace"], meta["name"]), meta["resourceVersion"]
        known, release = self._read.pop(key, ("", None))
        if release is None or known != version:
            release = read_release(kind, obj)
        if _under_way(release):
            self._read[key] = version, release
        return release

    async def _deployment(self, release: Release) -> Object | None:
        if release.spec is None:
            return None
        return await self._find(DEPLOYMENTS, release.namespace, release.spec.target_ref.name)

    async def _find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        try:
            return await self._cluster.get(kind, namespace, name)
        except NotFound:
            return None

    async def _traffic(self, obs: Observed, scene: Scene, labels: Mapping[str, str] | None) -> tuple[Observed, Scene]:
        """The Service, and what the router makes of it."""
        release, spec = obs.release, obs.release.spec
        if spec is None:
            return obs, scene
        service, problem = await self._service(release, labels)
        owned = await self._cluster.referring(SERVICES, release.namespace, [release.uid])
        mine = {svc["metadata"]["name"]: reading.service(svc, ()) for svc in owned if scene.owns(svc)}
        obs, scene = replace(obs, made=tuple(mine)), replace(scene, made=tuple(mine))
        name = service["metadata"]["name"] if service else _begun_on(release)
        if name is None:
            return replace(obs, problems=(*obs.problems, *([problem] if problem else []))), scene
        backends = Backends.of(release.namespace, name, _preview(spec, release))
        others = [svc for one in backends.made if (svc := await self._find(SERVICES, release.namespace, one))]
        named = _routes(spec, release)
        routing, by_service = await self._routing(release, spec, backends, named)
        scene = replace(scene, service=service, backends=backends, routes=named)
        rivals = await self._rivals(scene)
        return (
            replace(
                obs,
                service=reading.service(service, ()) if service else None,
                stable_service=mine.get(backends.stable),
                canary_service=mine.get(backends.canary),
                preview_service=mine.get(backends.preview),
                preview=backends.preview,
                routes=routing.routes,
                by_service=by_service,
                problems=(
                    *rivals,
                    *obs.problems,
                    *([problem] if problem else []),
                    *_unusable(backends, [svc for svc in others if not scene.owns(svc)]),
                    *routing.problems,
                ),
                router_series=routing.series,
                effective=_effective(spec, backends, routing, by_service=by_service),
            ),
            scene,
        )

    async def _routing(
        self, release: Release, spec: ReleaseSpec, backends: Backends, named: Names
    ) -> tuple[Routing, bool]:
        """What routers make of the Service; and whether none takes part, as it was when the release began."""
        begun = _shares_by_service(release)
        if begun or not spec.routed or (begun is None and spec.traffic.pod_share):
            return Routing(()), True
        propagation = spec.traffic.propagation if _under_way(release) else None
        routing = await self._router.read(backends, named, propagation, _to_come(spec, release.status))
        if begun is None and not routing.routes and named is None and not spec.needs_route:
            return Routing(()), True
        return routing, False

    async def _service(
        self, release: Release, labels: Mapping[str, str] | None
    ) -> tuple[Object | None, Problem | None]:
        """The Service of the workload: the one that is named, else the only one that selects its pods."""
        spec = release.spec
        named = _begun_on(release) or (spec.service_ref.name if spec and spec.service_ref else None)
        if named:
            try:
                service = await self._cluster.get(SERVICES, release.namespace, named)
            except NotFound:
                return None, Problem(
                    Reason.SERVICE_NOT_FOUND, f"spec.serviceRef.name: {named!r}: there is no such Service; create it"
                )
            if labels is not None and not reading.selects(service, labels):
                return service, Problem(
                    Reason.SERVICE_NOT_FOUND,
                    f"spec.serviceRef.name: {named!r}: its selector does not select the pods of the Deployment",
                )
            return service, None
        if labels is None:
            return None, None
        selected = [f"{key}={value}" for key, value in labels.items()]
        services = await self._cluster.referring(SERVICES, release.namespace, selected)
        fits = [svc for svc in services if reading.selects(svc, labels) and not ours(svc)]
        if len(fits) == 1:
            return fits[0], None
        if not fits:
            return None, Problem(
                Reason.SERVICE_NOT_FOUND,
                "no Service selects the pods of the Deployment; create one, or name one in spec.serviceRef",
            )
        names = ", ".join(sorted(svc["metadata"]["name"] for svc in fits))
        return None, Problem(
            Reason.SERVICE_AMBIGUOUS, f"several Services select the pods ({names}); name one in spec.serviceRef"
        )

    async def _rivals(self, scene: Scene) -> tuple[Problem, ...]:
        """Other releases of the same Deployment or Service that came first; the first of all goes on."""
        name = scene.backends.service if scene.backends else ""
        target = scene.release["spec"].get("targetRef", {}).get("name")
        made = set(scene.backends.made) if scene.backends else set()
        shared = [f"Deployment/{target}", f"Service/{name}", *(f"Service/{one}" for one in sorted(made))]
        others = [
            (kind, other)
            for kind in RELEASES
            for other in await self._cluster.referring(kind, scene.namespace, shared)
            if other["metadata"]["uid"] != scene.release["metadata"]["uid"]
        ]
        for kind, other in others:
            if _rank(kind, other) > _rank(scene.kind, scene.release):
                continue
            told = f"{kind.name} {other['metadata']['name']}, and a release cannot share it; delete one of the two"
            if other["spec"].get("targetRef", {}).get("name") == target:
                return (Problem(Reason.TARGET_TAKEN, f"spec.targetRef.name: Deployment {target} belongs to {told}"),)
            if name and _service_of(other) == name:
                return (Problem(Reason.SERVICE_TAKEN, f"spec.serviceRef.name: Service {name} belongs to {told}"),)
            if both := sorted(made & _made_by(other)):
                told = f"{kind.name} {other['metadata']['name']} makes a Service {both[0]}, and so does this release"
                return (Problem(Reason.SERVICE_UNUSABLE, f"{told}; give one of them another spec.preview.service"),)
        return ()

    async def _live(self, obs: Observed, scene: Scene) -> Observed:
        """What changes by the second, while a release is under way."""
        if not _under_way(obs.release) or scene.deployment is None:
            self._checkups.look(obs.release.uid, ())
            self._scrapes.forget(obs.release.uid)
            return obs
        listed = asyncio.ensure_future(self._pods(obs, scene.deployment))
        pods, answers, service_views = await asyncio.gather(
            listed, self._answers(obs, scene, listed), self._services(scene)
        )
        obs = replace(obs, pods=pods, checked=self._checkups.known(obs.release.uid))
        return replace(
            obs,
            checked=self._checkups.look(obs.release.uid, checks.wanted(obs)),
            answers=answers,
            service=service_views[0],
            stable_service=service_views[1],
            canary_service=service_views[2],
            preview_service=service_views[3],
        )

    async def _pods(self, obs: Observed, deployment: Object) -> tuple[Pod, ...]:
        selector = reading.selector_text(deployment["spec"]["selector"])
        listed = await self._cluster.list(PODS, obs.release.namespace, selector)
        known = {rs.hash for rs in obs.replicasets}
        return tuple(pod for pod in map(reading.pod, listed) if pod.hash in known)

    async def _services(self, scene: Scene) -> Sequence[Service | None]:
        """The Services of a release with their endpoints: the user's, stable's, the candidate's, the preview's."""
        if scene.backends is None:
            return [None] * 4
        backends, namespace = scene.backends, scene.namespace
        names = (backends.service, *backends.two, backends.preview)
        selector = f"kubernetes.io/service-name in ({','.join(filter(None, names))})"
        slices = await self._cluster.list(ENDPOINT_SLICES, namespace, selector)
        found = [await self._find(SERVICES, namespace, name) if name else None for name in names]
        whose = [obj for obj in found if obj and (obj is found[0] or scene.owns(obj))]
        return [reading.service(obj, slices) if obj in whose else None for obj in found]

    async def _answers(self, obs: Observed, scene: Scene, pods: Awaitable[tuple[Pod, ...]]) -> Mapping[str, Any] | None:
        """What the metrics answer, if it is time to look. Where pods are asked themselves, that takes to know them."""
        release, sides, now = obs.release, looking.arms(obs), self._clock.now()
        if (
            release.spec is None
            or sides is None
            or release.status.analysis is None
            or not looking.looks_at(obs, release.status)
        ):
            return None
        from tidegate.core import analysis  # and numpy with it: most of the time nobody needs them

        if looking.look_due(release.spec.analysis, release.status.analysis, release.status.step) > now + SOON:
            return None
        if self._asker.awaits(release.uid):
            return None
        source = None
        if looking.by_pods(obs):
            source = self._scrapes.of(release.uid, release.namespace, looking.scraped(obs, await pods))
        asked = analysis.queries(release.spec.analysis, sides, release.status.analysis)
        who = Subject(scene.kind, release.namespace, release.name)
        return await self._asker.ask(who, release.uid, asked, source)


SOON = timedelta(milliseconds=20)
"""A look that is due so soon is taken now, rather than decided again for."""


SPECS: Mapping[Kind, type[ReleaseSpec]] = {
    CANARY_RELEASES: CanarySpec,
    BLUE_GREEN_RELEASES: BlueGreenSpec,
    ROLLING_RELEASES: RollingSpec,
}
"""What a release of each kind wants."""


def read_release(kind: Kind, obj: Object) -> Release:
    """A release object as a value; what is wrong with its spec is data, and so is a status that is not ours."""
    meta = obj["metadata"]
    status, unreadable, invalid = ReleaseStatus(), "", ""
    try:
        status = _status(obj)
    except ValidationError as error:
        unreadable = reading.mistakes((("status", *e["loc"]), e["input"], e["msg"]) for e in error.errors())
    model = SPECS[kind]
    said, spec = obj.get("spec") or {}, None
    if depth.deeper(said, depth.SPEC):
        invalid = f"spec goes deeper than {depth.SPEC} levels, and no pod template does"
    else:
        try:
            spec = model.model_validate(said)
        except ValidationError as error:
            invalid = reading.mistakes((("spec", *e["loc"]), e["input"], e["msg"]) for e in error.errors())
    if invalid and status.effective:
        spec = model.model_validate(status.effective)
    return Release(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation", 1)),
        spec=spec,
        status=status,
        deleting="deletionTimestamp" in meta,
        finalizer=FINALIZER in (meta.get("finalizers") or ()),
        invalid=invalid or unfit(meta["name"]),
        unreadable=unreadable,
        request=(meta.get("annotations") or {}).get(REQUEST, ""),
        kind=kind.name,
    )


async def with_templates(cluster: Watched, release: Release) -> Release:
    """With the metrics of its templates. Where they cannot be taken in, its spec is wrong like any other."""
    spec = release.spec
    if spec is None or not spec.analysis.template_refs:
        return release
    found: dict[str, Object] = {}
    for name in templates.names(spec.analysis):
        with suppress(NotFound):
            found[name] = (await cluster.get(ANALYSIS_TEMPLATES, release.namespace, name)).get("spec") or {}
    try:
        analysis = templates.expanded(spec.analysis, found, release.namespace)
        return replace(release, spec=type(spec).model_validate({**dict(spec), "analysis": analysis}))
    except templates.Wrong as wrong:
        why = wrong.what
    except ValidationError as error:
        why = reading.mistakes((("spec", *e["loc"]), e["input"], e["msg"]) for e in error.errors())
    last = release.status.effective
    return replace(release, spec=type(spec).model_validate(last) if last else None, invalid=release.invalid or why)


def _status(obj: Object) -> ReleaseStatus:
    return ReleaseStatus.model_validate(obj.get("status") or {})


def _under_way(release: Release) -> bool:
    return release.status.journal is not None and release.status.journal.stage is not Stage.REST


def _begun_on(release: Release) -> str | None:
    """A release under way keeps the Service that it began with, whatever the spec or other Services say meanwhile."""
    found = (release.status.effective or {}).get("serviceRef") if _under_way(release) else None
    return str(found["name"]) if isinstance(found, dict) else None


def _preview(spec: ReleaseSpec, release: Release) -> str:
    """The preview's Service: of a release under way the one that it began with, whatever the spec says meanwhile."""
    if not _under_way(release):
        return spec.preview_service
    found = (release.status.effective or {}).get("preview")
    return str(found["service"]) if isinstance(found, dict) else ""


def _shares_by_service(release: Release) -> bool | None:
    """Whether the release under way began without a router; None at rest."""
    traffic = (release.status.effective or {}).get("traffic") if _under_way(release) else None
    return "podShare" in traffic if isinstance(traffic, dict) else None


def _to_come(spec: ReleaseSpec, status: ReleaseStatus) -> Sequence[Step]:
    """The steps in their places, of which those are asked for nothing that are over, or written as they began."""
    plan, at, journal = spec.plan(), status.step, status.journal
    if at is None or journal is None or journal.stage is Stage.REST:
        return plan
    if journal.returning:
        return ()
    done = at.index - (journal.stage in (Stage.PREPARE, Stage.SCALE))
    return [replace(step, match=(), sticky=None) if number < done else step for number, step in enumerate(plan)]


def _routes(spec: ReleaseSpec, release: Release) -> tuple[str, ...] | None:
    """The routes that are named; while a release is under way, those that it began with too: all are put back."""
    named = spec.traffic.names()
    if named is None:
        return None
    begun: tuple[str, ...] = ()
    if _under_way(release) and release.status.effective:
        begun = type(spec).model_validate(release.status.effective).traffic.names() or ()
    return tuple(dict.fromkeys((*named, *begun)))


def _rank(kind: Kind, release: Object) -> tuple[bool, str, str, str]:
    """Who comes first: the one that manages its Deployment already, then the older, then by name and kind."""
    meta = release["metadata"]
    return not (release.get("status") or {}).get("stable"), meta["creationTimestamp"], meta["name"], kind.name


def _service_of(release: Object) -> str:
    """The Service of another release: as it found it, or as it names it."""
    effective = (release.get("status") or {}).get("effective") or {}
    named = effective.get("serviceRef") or release["spec"].get("serviceRef") or {}
    return str(named.get("name", ""))


def _made_by(release: Object) -> set[str]:
    """The Services that another release makes, or is going to."""
    spec, effective = release["spec"], (release.get("status") or {}).get("effective") or {}
    previews = {(said.get("preview") or {}).get("service") for said in (spec, effective)}
    service = _service_of(release)
    two = Backends.of("", service).two if service else ()
    return {*two, *filter(None, previews)}


def _unusable(backends: Backends, others: Sequence[Object]) -> tuple[Problem, ...]:
    """Why the Services of a release cannot stand beside the user's; ``others`` have their names and are not its own."""
    name = backends.service
    if backends.preview in (name, *backends.two):
        told = f"spec.preview.service: {backends.preview!r}: a release of Service {name} needs this name itself"
        return (Problem(Reason.SERVICE_UNUSABLE, f"{told}; choose another one"),)
    if len(backends.stable) > LONGEST_NAME:
        told = f"the name of Service {name} leaves no room for {backends.stable} ({LONGEST_NAME} characters at most)"
        return (Problem(Reason.SERVICE_UNUSABLE, f"{told}; use a shorter one, or name another in spec.serviceRef"),)
    for other in others:
        owner = next(iter(other["metadata"].get("ownerReferences") or ()), None)
        whose = f"belongs to {owner['kind']} {owner['name']}" if ours(other) and owner else "is not Tidegate's"
        told = f"Service {other['metadata']['name']} {whose}, and a release of {name} needs the name"
        wayout = "wait until that has ended, or choose another spec.preview.service" if ours(other) else "rename it"
        return (Problem(Reason.SERVICE_UNUSABLE, f"{told}; {wayout}"),)
    return ()


def _no_target(release: Release) -> tuple[Problem, ...]:
    if release.spec is None:
        return ()
    name = release.spec.target_ref.name
    return (
        Problem(
            Reason.TARGET_NOT_FOUND,
            f"spec.targetRef.name: {name!r}: there is no such Deployment in namespace {release.namespace}; create it",
        ),
    )


def _effective(spec: ReleaseSpec, backends: Backends, routing: Routing, *, by_service: bool) -> dict[str, object]:
    found: dict[str, object] = {"serviceRef": {"name": backends.service}}
    said = {key: value for key, value in spec.wire().items() if key != "preview"}
    if backends.preview:
        found["preview"] = {"service": backends.preview}
    if by_service:
        found["traffic"] = TrafficSpec(propagation=spec.traffic.propagation, pod_share=PodShare()).wire()
    elif routing.routes:
        found["traffic"] = spec.traffic.finding([route.name for route in routing.routes]).wire()
    return {**said, **found}
