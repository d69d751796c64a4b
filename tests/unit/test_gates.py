"""Gates as values: what is refused, what a Job is written as, and what is read of its end."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tidegate.api.canary import CanarySpec
from tidegate.core import jobs

JOB: dict[str, Any] = {"template": {"spec": {"containers": [{"name": "t", "image": "smoke"}]}}}


def spec(*gates: dict[str, Any]) -> CanarySpec:
    """A release with gates."""
    return CanarySpec.model_validate({"targetRef": {"name": "checkout"}, "gates": list(gates)})


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({"at": "BeforeStart"}, "gate smoke: give exactly one of job, http and manual"),
        ({"at": "BeforeStart", "job": JOB, "manual": {}}, "gate smoke: give exactly one of job, http and manual"),
        ({"at": "AfterPromotion", "manual": {}}, "use BeforePromotion"),
        ({"at": "BeforeStart", "manual": {}, "retries": 1}, "retries is for gates that ask by themselves"),
        ({"at": "BeforeStart", "job": JOB, "timeout": "1ms"}, "timeout must be from 1s to 720h"),
        ({"at": "Sometimes", "manual": {}}, "BeforeStart"),
        ({"at": "BeforeStart", "job": {"template": {"spec": {}}}}, "give spec.containers"),
    ],
)
def test_what_cannot_be_right_is_refused(gate: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        spec({"name": "smoke", **gate})


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost/", "http://a.LOCALHOST:8080/x", "https://127.0.0.1", "http://127.1:80/", "http://[::1]/"),
        *("http://169.254.169.254/latest/meta-data", "http://metadata.google.internal/", "http://0.0.0.0:8080"),
        *("http://[fe80::1%25eth0]/", "http://[::ffff:169.254.169.254]/", "http://100.100.100.200/"),
        *("http://168.63.129.16/machine", "http://[fd00:ec2::254]:80/", "http://192.0.0.192/"),
    ],
)
def test_a_url_that_leads_to_the_operators_own_machine_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url leads to this machine or its own network"):
        spec({"name": "a", "at": "BeforeStart", "http": {"url": url}})


@pytest.mark.parametrize("url", ["ftp://shop", "http://", "http:///path", "http://user:pw@shop/", "http://shop:port/"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"url|pattern"):
        spec({"name": "a", "at": "BeforeStart", "http": {"url": url}})


@pytest.mark.parametrize("name", ["Authorization", "COOKIE", "proxy-authorization"])
def test_a_secret_that_stands_in_the_spec_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"a secret would stand in the release for all to read.*secretKeyRef"):
        spec({"name": "a", "at": "BeforeStart", "http": {"url": "http://shop/", "headers": {"X": "y", name: "z"}}})


def test_other_headers_are_fine() -> None:
    headers = {"Authorization-Hint": "none", "Cookies": "no", "X-Team": "shop"}
    assert spec({"name": "a", "at": "BeforeStart", "http": {"url": "http://shop/", "headers": headers}}).gates[0].http


def test_urls_of_services_are_fine() -> None:
    for url in ("http://smoke.shop.svc:8080/run?x=1", "https://10.96.0.1/", "https://change.example/a.localhost"):
        assert spec({"name": "a", "at": "BeforeStart", "http": {"url": url}}).gates[0].http


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="distinct names"):
        spec({"name": "a", "at": "BeforeStart", "manual": {}}, {"name": "a", "at": "BeforeStep", "manual": {}})


def test_names_of_jobs_are_theirs_alone_and_no_longer_than_may_be() -> None:
    long = jobs.named("a" * 253, "b" * 63, "uid", "now", None, 1)
    assert len(long) == 63
    names = {
        jobs.named("checkout", "smoke", *of)
        for of in [
            ("u", "t1", None, 1),
            ("u", "t1", None, 2),
            ("u", "t2", None, 1),
            ("u", "t1", 1, 1),
            ("v", "t1", None, 1),
        ]
    }
    assert len(names) == 5
    assert all(name.startswith("checkout-smoke-") for name in names)
    assert jobs.named("a.b", "c", 1).startswith("a-b-c-")


def test_what_a_template_says_stands() -> None:
    template = {
        "metadata": {"labels": {"team": "shop"}, "annotations": {"a": "b"}},
        "spec": {
            "restartPolicy": "OnFailure",
            "serviceAccountName": "smoke",
            "initContainers": [{"name": "i", "image": "x"}],
            "containers": [{"name": "t", "image": "x", "terminationMessagePolicy": "File"}],
        },
    }
    (gate,) = spec(
        {"name": "g", "at": "BeforeStep", "job": {"template": template, "backoffLimit": 2}, "timeout": "90s"}
    ).gates
    body = jobs.body(gate, "checkout", "job-1", {"A": "1"})
    pod = body["spec"]["template"]
    assert (body["spec"]["backoffLimit"], body["spec"]["activeDeadlineSeconds"]) == (2, 90)
    assert pod["metadata"]["labels"] == {"team": "shop", "tidegate.dev/release": "checkout", "tidegate.dev/gate": "g"}
    assert pod["metadata"]["annotations"] == {"a": "b"}
    assert (pod["spec"]["restartPolicy"], pod["spec"]["serviceAccountName"]) == ("OnFailure", "smoke")
    policies = [c["terminationMessagePolicy"] for c in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])]
    assert policies == ["FallbackToLogsOnError", "File"]
    assert pod["spec"]["initContainers"][0]["env"] == [{"name": "A", "value": "1"}]


def ended(type_: str, **more: str) -> dict[str, Any]:
    """A Job with a condition."""
    return {"metadata": {"name": "j"}, "status": {"conditions": [{"type": type_, "status": "True", **more}]}}


def pod(code: int, message: str = "", created: str = "2026-01-05T09:00:00Z") -> dict[str, Any]:
    """A pod whose container has ended."""
    state = {"terminated": {"exitCode": code, "message": message}}
    return {
        "metadata": {"creationTimestamp": created},
        "status": {"containerStatuses": [{"name": "t", "state": state}, {"name": "side", "state": {"running": {}}}]},
    }


def test_the_last_pod_speaks() -> None:
    run = jobs.read(ended("Failed"), [pod(2, "second", "2026-01-05T09:00:05Z"), pod(1, "first")])
    assert (run.ended, run.passed, run.late, run.message) == (
        True,
        False,
        False,
        "container t exited with code 2: second",
    )
    assert jobs.read(ended("Complete"), [pod(0, "fine")]).message == "fine"
    assert len(jobs.read(ended("Failed"), [pod(1, "x" * 5000)]).message) == 1024


def test_without_a_pod_its_controller_speaks() -> None:
    run = jobs.read(ended("Failed", reason="DeadlineExceeded", message="was active longer than specified deadline"))
    assert (run.late, run.message) == (True, "DeadlineExceeded: was active longer than specified deadline")


def test_one_that_is_about_to_end_has_not_ended() -> None:
    assert not jobs.read(ended("FailureTarget")).ended
    assert not jobs.read(ended("SuccessCriteriaMet")).ended
    assert not jobs.read({"metadata": {"name": "j"}}).ended
