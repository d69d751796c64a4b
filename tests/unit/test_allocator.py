"""Large blocks go back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

BEFORE = "from tidegate.adapters.allocator import give_back_what_is_large as so; assert so()"
RUSH = """
import os, pathlib

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20

before = resident()
bytearray(2**20)
kept = []
large = []
for _ in range(128):
    large.append(bytearray(2**18))
    kept.append(bytes(1000))
assert resident() >= before + 32
large.clear()
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell what is resident")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_what_was_large_is_given_back_though_something_small_came_after_it() -> None:
    """32 MiB, as of 128 connections."""
    assert _kept(RUSH) >= 24, "the C library does so by itself"
    assert _kept(BEFORE + RUSH) <= 4


def _kept(code: str) -> int:
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
