"""What a node sets up on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.node import weigh


@pytest.mark.parametrize(("file", "weight"), [("cpu.shares", "8192"), ("cpu.weight", "800")])
def test_the_pods_of_a_node_do_not_starve_on_a_busy_machine(tmp_path: Path, file: str, weight: str) -> None:
    (tmp_path / file).touch()
    weigh(tmp_path)
    assert (tmp_path / file).read_text() == weight
    assert len(list(tmp_path.iterdir())) == 1, "what a hierarchy does not have is not made up"
