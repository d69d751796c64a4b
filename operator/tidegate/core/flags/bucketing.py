"""From a text to a share of everybody: flagd's ``fractional``, in the two revisions of its hash that are in use.

Both take ``(murmur3_32(bytes) * total) >> 32``, unsigned. They differ in the bytes of the same text, and so serve
something else to most: a flag is pinned to one of them.
"""

from __future__ import annotations

from collections.abc import Callable

from mmh3 import mmh3_32_uintdigest as murmur3

from tidegate.api.bucketing import BucketingRevision

Bucket = Callable[[str], int]
"""From a key to a number below the total."""


def bucket(revision: BucketingRevision, prefix: str, total: int) -> Bucket:
    """Where keys fall, of ``total`` places, hashed behind a prefix.

    JSON may have half of a surrogate pair, of which there is no UTF-8. It is nobody's key, and no error either.
    """
    start = prefix.encode()
    if revision is BucketingRevision.V2:
        return lambda key: (murmur3(start + key.encode("utf-8", "surrogatepass")) * total) >> 32
    return lambda key: (murmur3(_cbor(start + key.encode("utf-8", "surrogatepass"))) * total) >> 32


def _cbor(text: bytes) -> bytes:
    """A text in CBOR: its length, as short as it goes, and itself (RFC 8949, major type 3)."""
    length = len(text)
    return (_SHORT_HEADS[length] if length < 256 else _long_head(length)) + text


def _long_head(length: int) -> bytes:
    head, size = next((head, size) for head, size in ((0x79, 2), (0x7A, 4), (0x7B, 8)) if length < 1 << (8 * size))
    return bytes((head,)) + length.to_bytes(size, "big")


_SHORT_HEADS = tuple(bytes((0x60 | length,)) if length < 24 else bytes((0x78, length)) for length in range(256))
"""By the length of the text."""
