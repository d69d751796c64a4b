"""What a flag comes to at present: branches in order, all names resolved, and nothing left that is known beforehand.

Closures, flagd's JSON and the trace are three ways to say the same program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidegate.api.flag import FlagSpec
from tidegate.api.flagrules import When
from tidegate.core.flags.bucketing import Bucket, bucket
from tidegate.core.flags.check import typed
from tidegate.core.flags.effective import EVERYBODY, Effective


@dataclass(frozen=True)
class Hash:
    """Places of a total for each key. Exposure and allocation are hashed apart, so that nobody changes from one
    variant to another as the exposure grows."""

    by: str
    """The attribute with the key."""
    spec: FlagSpec
    prefix: str
    total: int

    @property
    def bucket(self) -> Bucket:
        """Where keys fall."""
        return bucket(self.spec.bucketing.revision, self.prefix, self.total)


@dataclass(frozen=True)
class Split:
    """Variants by weight."""

    hash: Hash
    weights: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Branch:
    """Who is served what."""

    name: str
    """The rule's, or none for the rollout."""
    when: When | None
    """Of whom it speaks. None: of everybody."""
    exposure: tuple[Hash, int] | None
    """Only of those whose place is below this. None: of all."""
    serve: str | Split

    @property
    def certain(self) -> bool:
        """Nobody goes on to the next."""
        return self.when is None and self.exposure is None and isinstance(self.serve, str)


@dataclass(frozen=True)
class Need:
    """Another flag that must serve one of some variants."""

    program: Program
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A flag, ready to be compiled."""

    effective: Effective
    variants: Mapping[str, object]
    """Values, of the flag's type."""
    needs: tuple[Need, ...]
    """Where one is not met, the off variant is served."""
    branches: tuple[Branch, ...]
    """The first that speaks of somebody decides."""
    default: str
    """For everybody else."""

    @property
    def static(self) -> bool:
        """One answer for everybody."""
        return not self.needs and not self.branches

    @property
    def size(self) -> int:
        """How many flags are evaluated with it, itself among them."""
        return 1 + sum(need.program.size for need in self.needs)


def program(effective: Effective, prerequisites: Mapping[str, Program], *, broken: bool = False) -> Program:
    """What the flag comes to. ``broken``: its prerequisites cannot be asked, which is as good as not met."""
    spec = effective.spec
    variants = {variant.name: typed(spec.type, variant.value) for variant in spec.all_variants}
    off = Program(effective, variants, (), (), spec.off)
    if effective.off or broken:
        return off
    needs = []
    for one in spec.prerequisites:
        needed = prerequisites[one.flag]
        if not needed.static:
            needs.append(Need(needed, one.variants))
        elif needed.default not in one.variants:
            return off
    branches = tuple(_branches(effective))
    if branches and branches[-1].certain and not needs and len(branches) == 1:
        return Program(effective, variants, (), (), str(branches[0].serve))
    return Program(effective, variants, tuple(needs), branches, spec.default)


def _branches(effective: Effective) -> list[Branch]:
    spec, rollout = effective.spec, effective.spec.rollout
    seed = spec.bucketing.seed or effective.key
    by = rollout.by if rollout else "targetingKey"

    def served(serve: str | None, split: Mapping[str, int] | None) -> str | Split:
        if not split:
            return serve or "on"
        return Split(Hash(by, spec, f"{seed}/a/", sum(split.values())), tuple(split.items()))

    found = [Branch(rule.name, rule.when, None, served(rule.serve, rule.split)) for rule in spec.rules]
    if rollout and effective.milli:
        some = effective.milli < EVERYBODY
        exposure = (Hash(by, spec, f"{seed}/r/", EVERYBODY), effective.milli) if some else None
        found.append(Branch("", None, exposure, served(rollout.serve, rollout.split)))
    return found
