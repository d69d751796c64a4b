"""How the C library gives memory back, where it is glibc."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE = 128 * 1024
"""Bytes; what glibc begins with."""


def give_back_what_is_large() -> bool:
    """Large blocks are mapped one by one, and gone when they are freed. False: this C library knows nothing of that.

    That is what glibc begins with. But when a block of some size is freed, it puts those up to that size on the heap
    from then on, which shrinks only from its end. The buffers of TLS, 256 KiB a connection, and the bodies of lists
    come and go: after the first rush of releases an operator kept a tenth more for good.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, _LARGE))
