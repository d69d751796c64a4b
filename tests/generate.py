"""The chart's copies of what stands elsewhere: Helm takes nothing from outside of a chart's own folder.

Templates add names and labels to them. ``python -m tests.generate`` (``make generate``) writes them, ``make verify``
compares.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ROOT / "charts/tidegate/files"
HEADER = "# Generated from {} by `make generate`. Do not edit.\n"


def copies() -> dict[Path, str]:
    """The files of the chart that are copies, with what they should say."""
    sources = {
        FILES / "rbac.yaml": ROOT / "manifests/rbac.yaml",
        **{FILES / "crds" / source.name: source for source in (ROOT / "crds").glob("tidegate.dev_*.yaml")},
        **{FILES / "admission" / source.name: source for source in (ROOT / "manifests/admission").glob("*.yaml")},
    }
    return {
        copy: HEADER.format(source.relative_to(ROOT)) + source.read_text(encoding="utf-8")
        for copy, source in sources.items()
    }


def stale() -> list[Path]:
    """Copies that are missing, say something else, or are of nothing."""
    wanted = copies()
    there = {path for path in FILES.rglob("*") if path.is_file()}
    differ = {path for path in wanted.keys() & there if path.read_text(encoding="utf-8") != wanted[path]}
    return sorted({*differ, *(wanted.keys() ^ there)})


def main() -> None:
    """Write what is stale."""
    wanted = copies()
    for path in stale():
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()


if __name__ == "__main__":
    main()
