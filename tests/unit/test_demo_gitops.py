"""The demo's repository is a real one, whatever git's settings are here; its loop applies HEAD again and again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml
from tests.cluster.interface import ClusterFailed
from tests.cluster.waiting import wait_until
from tests.demo import gitops
from tests.demo.gitops import Follower, Repository

needs_git = pytest.mark.skipif(gitops.missing() is not None, reason=str(gitops.missing()))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """One for which the user's own settings would be in the way: git must not take them."""
    hostile = tmp_path / "gitconfig"
    hostile.write_text("[user]\n\tuseConfigOnly = true\n[commit]\n\tgpgSign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(hostile))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    return Repository(tmp_path / "repository")


def applied(follower: Follower, commit: str) -> None:
    wait_until(f"{commit} is applied", lambda: follower.short_of(commit), 10)


@needs_git
def test_a_revert_brings_the_manifests_back(repository: Repository) -> None:
    first = repository.commit("Serve v1", [{"version": 1}, {"kind": "Service"}])
    second = repository.commit("Ship v2", [{"version": 2}, {"kind": "Service"}])
    assert list(yaml.safe_load_all(repository.read("HEAD"))) == [{"version": 2}, {"kind": "Service"}]
    third = repository.revert()
    assert len({first, second, third}) == 3
    assert repository.read(third) == repository.read(first)
    assert repository.head() == third


@needs_git
def test_what_git_says_is_told(repository: Repository) -> None:
    with pytest.raises(gitops.GitFailed, match="git revert --no-edit HEAD: fatal:"):
        repository.revert()


@needs_git
def test_head_is_applied_again_and_again(repository: Repository) -> None:
    texts: list[str] = []
    first = repository.commit("Serve v1", [{"version": 1}])
    with Follower(repository, texts.append, every=0.01) as follower:
        wait_until("it is applied more than once", lambda: None if follower.turns > 1 else str(follower.turns), 10)
        second = repository.commit("Ship v2", [{"version": 2}])
        applied(follower, second)
    assert texts == sorted(texts)
    assert texts[0] == "version: 1\n"
    assert texts[-1] == "version: 2\n"
    began, then = follower.applied(first), follower.applied(second)
    assert began is not None
    assert then is not None
    assert began < then
    assert follower.applied("unknown") is None


@needs_git
def test_an_apply_that_fails_is_tried_again(repository: Repository) -> None:
    away = threading.Event()
    away.set()

    def apply(_: str) -> None:
        if away.is_set():
            raise ClusterFailed("the API server is away")

    commit = repository.commit("Serve v1", [{"version": 1}])
    with Follower(repository, apply, every=0.01) as follower:
        wait_until("it failed", lambda: None if "is away" in str(follower.short_of(commit)) else "not yet", 10)
        assert follower.turns == 0
        away.clear()
        applied(follower, commit)


def test_without_git_the_reason_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install git" in str(gitops.missing())
