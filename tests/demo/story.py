"""The story: an application under load is put under management, and then things happen to it."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.interface import Cluster
from tests.demo import acts, flags
from tests.demo.claims import Record
from tests.demo.scene import Scene
from tests.demo.view import View


def play(cluster: Cluster, view: View, folder: Path) -> Record:
    """All acts, on a cluster that is up. Raises ClusterFailed where one gets stuck, with what was seen last."""
    scene = Scene(cluster, view, folder)
    with scene.set_up():
        adopted = acts.adoption(scene)
        good, bad, restored, absent = acts.good(scene), acts.bad(scene), acts.regret(scene), acts.absence(scene)
        load, switched = scene.load.stop(), flags.play(scene)
        return Record(
            load=load,
            adopted=adopted,
            good=good,
            bad=bad,
            restored=restored,
            absent=absent,
            switched=switched,
            touched=tuple(scene.touched),
            deadlines=scene.deadlines(),
            changed=tuple(scene.changed),
            left=tuple(scene.left),
        )
