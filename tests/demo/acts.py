"""The acts, in order. Each plays on the scene and returns what it recorded for the claims."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import yaml

from tests.demo import gitops
from tests.demo.claims import Absence, Kept, PromiseBroken, Promotion, Restoration, Reversion, Span
from tests.demo.frame import Frame
from tests.demo.gitops import Follower, Repository
from tests.demo.scene import Scene
from tidegate.api.base import parse_duration

Json = dict[str, Any]
Missing = Callable[[Frame], str | None]
"""What a frame does not show yet."""

GOOD, BAD, REGRETTED, UNWATCHED = "v2", "v3", "v4", "v5"
BAD_SHARE = "0.05"
BAKE = "10s"
SPEC: Json = {
    "steps": [{"weight": 10, "bake": BAKE}, {"weight": 50, "bake": BAKE}, {"weight": 100, "bake": BAKE}],
    "drain": "2s",
    "analysis": {
        "interval": "2s",
        "warmup": "0s",
        "metrics": [
            {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"},
            {"name": "latency", "preset": "Latency", "quantile": "p90", "maxIncrease": "100%", "max": "5s"},
        ],
    },
}
"""What differs from the defaults: a demo is short. The limit on errors is the default; latency may be anything, on a
machine that is cluster, router, load and audience at once, and has other work besides."""
REGRET_AT = 50
ALONE_AT = 25
TWO_STEPS: Json = {**SPEC, "steps": [{"weight": ALONE_AT, "bake": BAKE}, {"weight": 100, "bake": BAKE}]}
SCALED = 6
ALONE_BEFORE, ALONE_AFTER = 600, 1000
"""How many requests nobody watches over: until the Deployment is scaled, and from then on."""


def adoption(scene: Scene) -> Kept:
    """The application is put under management."""
    scene.act("Under management")
    release = scene.app.release(**SPEC)
    scene.say(yaml.safe_dump(release, sort_keys=False).rstrip())
    before = frozenset(scene.app.pods())
    scene.app.apply(release)
    return Kept(before, scene.watch("the Deployment is under management", _idle, 60).pods)


def good(scene: Scene) -> Promotion:
    """A version that is good promotes itself."""
    scene.act(f"Act 1: {GOOD} is good")
    scene.app.ship(GOOD)
    return _promotion(scene, GOOD, SPEC, "after act 1")


def bad(scene: Scene) -> Reversion:
    """A version that is bad is reverted, on evidence."""
    scene.act(f"Act 2: {BAD} fails {100 * float(BAD_SHARE):.0f} % of its requests")
    before = frozenset(scene.app.pods())
    scene.app.ship(BAD, ERROR_RATE=BAD_SHARE)
    end = _end(scene, BAD, "after act 2")
    return Reversion(BAD, end.status["lastRelease"], Kept(before, end.pods))


def regret(scene: Scene) -> Restoration | None:
    """``git revert`` in mid-release, carried out by a loop that follows HEAD. None where there is no git."""
    scene.act("Act 3: git revert in mid-release")
    reason = gitops.missing()
    if reason:
        scene.say(f"skipped: {reason}")
        return None
    scene.say(f"a loop applies what git's HEAD says every {gitops.EVERY:.0f} s, changed or not: as Argo CD and Flux do")
    repository = Repository(scene.folder / "repository")
    first = _commit(scene, repository, f"Back to {GOOD}", GOOD)
    with Follower(repository, lambda text: scene.cluster.kubectl("apply", "-f-", stdin=text)) as loop:
        rest = scene.watch(f"{GOOD} is what HEAD says", lambda frame: loop.short_of(first) or _idle(frame), 60)
        span = Span.begin(scene.load.counts())
        _commit(scene, repository, f"Ship {REGRETTED}", REGRETTED)
        scene.watch(f"{REGRETTED} has half of the traffic", _has(REGRETTED, REGRET_AT), 120)
        at, back = time.time(), repository.revert()
        scene.say(f"$ git revert HEAD   → {back}")
        end = _end(scene, REGRETTED, "after act 3")
    applied = loop.applied(back)
    if applied is None:
        raise gitops.GitFailed(f"{REGRETTED} went back, but not by git: {loop.short_of(back)}")
    return Restoration(
        Reversion(REGRETTED, end.status["lastRelease"], Kept(rest.pods, end.pods)),
        weight=REGRET_AT,
        committed=at,
        applied=applied,
        turns=loop.turns,
        span=span.end(scene.load.counts()),
    )


def absence(scene: Scene) -> Absence:
    """The operator is killed in mid-release; nobody watches, the Deployment is scaled; then it comes back."""
    scene.act("Act 4: the operator is killed in mid-release")
    scene.say(f"{UNWATCHED} is good as well; it goes by two steps, {ALONE_AT} % and 100 %")
    scene.app.apply(scene.app.release(**TWO_STEPS))
    scene.app.ship(UNWATCHED)
    scene.watch(f"{UNWATCHED} has a quarter of the traffic", _has(UNWATCHED, ALONE_AT), 120)

    scene.kill_operator()
    scene.say("$ kill -9 OPERATOR")
    began, away = time.monotonic(), Span.begin(scene.load.counts())
    scene.watch("requests while nobody watches", lambda frame: away.short_of(ALONE_BEFORE, frame.total), 60)
    scene.scale(SCALED)
    scene.say(f"$ kubectl scale deployment/checkout --replicas={SCALED}")
    enough = ALONE_BEFORE + ALONE_AFTER
    alone = scene.watch("pods", lambda frame: away.short_of(enough, frame.total) or _settled(frame), 120)
    away, seconds = away.end(scene.load.counts()), time.monotonic() - began

    scene.start_operator()
    back = time.time()
    scene.say(f"the operator is back, after {time.monotonic() - began:.0f} s")
    return Absence(
        _promotion(scene, UNWATCHED, TWO_STEPS, "after act 4"),
        weight=ALONE_AT,
        away=away,
        seconds=seconds,
        replicas=(scene.app.replicas, SCALED),
        ready={revision.role: revision.ready for revision in alone.revisions},
        back=back,
    )


def _commit(scene: Scene, repository: Repository, message: str, version: str) -> str:
    app = scene.app
    manifests = (app.service(), app.route(), app.release(**SPEC), app.deployment(version))
    commit = repository.commit(message, manifests)
    scene.say(f"$ git commit -m '{message}'   → {commit}")
    return commit


def _promotion(scene: Scene, version: str, spec: Json, when: str) -> Promotion:
    full = scene.watch(
        f"{version} has all of the traffic", lambda frame: _has(version, 100)(frame) or _settled(frame), 300
    )
    end, revision = _end(scene, version, when), full.of(version)
    extensions = scene.extensions(end)
    return Promotion(
        version,
        end.status["lastRelease"],
        Kept(revision.pods if revision else frozenset(), end.pods),
        bakes=(len(spec["steps"]) + extensions) * parse_duration(BAKE).total_seconds(),
        extensions=extensions,
    )


def _end(scene: Scene, version: str, when: str) -> Frame:
    """The release of a version has ended, and the act with it."""
    end = scene.watch(f"the release of {version} has ended", _ended(version), 300)
    scene.at_rest(when)
    return end


# --- what a frame may not show yet


def _told(frame: Frame) -> str:
    return f"{frame.status.get('phase')}: {frame.status.get('message')}"


def _over(frame: Frame, version: str) -> bool:
    """The last release was of this version."""
    revision = frame.of(version)
    return revision is not None and frame.status.get("lastRelease", {}).get("revision") == revision.number


def _idle(frame: Frame) -> str | None:
    return None if frame.status.get("phase") == "Idle" else _told(frame)


def _has(version: str, weight: int) -> Missing:
    """A version has a weight, and the router serves by it. Raises PromiseBroken if its release has ended before."""

    def missing(frame: Frame) -> str | None:
        revision, applied = frame.of(version), frame.status.get("traffic", {}).get("applied")
        if _over(frame, version):
            raise PromiseBroken(f"{version} was to have {weight} % of the traffic; {_told(frame)}")
        return None if revision and revision.weight == weight and applied else _told(frame)

    return missing


def _settled(frame: Frame) -> str | None:
    """All pods that are asked for are there, and no others."""
    moving = [one for one in frame.revisions if not one.ready == one.asked == len(one.pods)]
    return ", ".join(f"{one.version}: {one.ready} of {one.asked} pods are ready" for one in moving) or None


def _ended(version: str) -> Missing:
    """The release of a version has ended, and what remains is at rest: only stable's pods."""

    def missing(frame: Frame) -> str | None:
        if not _over(frame, version):
            return _told(frame)
        status = frame.status
        stable = status.get("stable", {}).get("hash")
        rest = status.get("phase") in {"Idle", "RolledBack"} and status["journal"]["stage"] == "Rest"
        leaving = [other.version for other in frame.revisions if other.hash != stable and (other.pods or other.ready)]
        return None if rest and not leaving else f"{_told(frame)}; pods left of {', '.join(leaving) or 'none'}"

    return missing
