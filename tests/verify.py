"""``make verify``: every generated file is what the code generates. Run as ``python -m tests.verify``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from filecmp import dircmp
from pathlib import Path

from tests import generate

ROOT = Path(__file__).parents[1]


def main() -> int:
    """The exit code is 1 where a file differs."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        subprocess.run([sys.executable, "-m", "tidegate.app.main", "crds", "--out", str(fresh)], check=True)
        found = dircmp(ROOT / "crds", fresh, ignore=["kustomization.yaml"])
        wrong = sorted({*found.diff_files, *found.left_only, *found.right_only})
    for name in wrong:
        sys.stderr.write(f"crds/{name} is not what operator/tidegate/api generates: make generate\n")
    stale = generate.stale()
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not a copy of what it is made from: make generate\n")
    return 1 if wrong or stale else 0


if __name__ == "__main__":
    sys.exit(main())
