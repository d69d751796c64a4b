"""How keys of who asks for a FeatureFlag become shares of everybody."""

from __future__ import annotations

from enum import StrEnum

from tidegate.api.base import Model
from tidegate.api.flagrules import Key


class BucketingRevision(StrEnum):
    """How a key becomes a share. SDKs that evaluate by themselves must know it."""

    V2 = "v2"
    """As flagd 0.15 and newer, npm flagd-core 4, Python flagd-core 1."""
    V3 = "v3"
    """As Python flagd-core 2."""


class Bucketing(Model):
    """How keys become shares. Pinned: another way would serve something else to most."""

    revision: BucketingRevision = BucketingRevision.V2
    """Which hash."""
    seed: Key | None = None
    """Flags of the same seed choose the same people. Default: the flag's key."""
