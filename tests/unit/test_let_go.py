"""The mark that asks for everything to be let go stands on the gate of whichever form, as an account may write it."""

from __future__ import annotations

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock

from tidegate.app.cli.let_go import mark
from tidegate.engine.gate import LET_GO, POLICY, WEBHOOK, Form
from tidegate.ports.cluster import Kind, NotFound, Object, PatchType, Rejected


class Granted(FakeCluster):
    """One that may patch these kinds; of others it is not even told whether an object is there."""

    def __init__(self, *kinds: Kind) -> None:
        super().__init__(VirtualClock(), latency=0)
        self._kinds = kinds

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        if kind not in self._kinds:
            raise Rejected(f"{kind.plural} {name} is forbidden")
        return await super().patch(kind, namespace, name, body, type_=type_, subresource=subresource)

    def install(self, form: Form) -> None:
        """The gate stands."""
        kind, name = form.holder
        self.create_as("admin", kind, "", {"metadata": {"name": name}})

    def marked(self, form: Form) -> bool:
        """Everything is to be let go."""
        kind, name = form.holder
        found = self.find(kind, "", name)
        return found is not None and LET_GO in (found["metadata"].get("annotations") or {})


@pytest.mark.parametrize("form", [POLICY, WEBHOOK])
@pytest.mark.parametrize("rights", ["one", "all"])
async def test_the_gate_that_stands_is_marked_and_the_mark_withdrawn(form: Form, rights: str) -> None:
    forms = (form,) if rights == "one" else (POLICY, WEBHOOK)
    cluster = Granted(*(each.holder[0] for each in forms))
    cluster.install(form)
    await mark(cluster, asked=True)
    assert cluster.marked(form)
    await mark(cluster, asked=False)
    assert not cluster.marked(form)


@pytest.mark.parametrize("form", [POLICY, WEBHOOK])
async def test_where_its_gate_is_gone_there_is_nobody_to_ask(form: Form) -> None:
    with pytest.raises(NotFound):
        await mark(Granted(form.holder[0]), asked=True)


async def test_who_has_no_right_at_all_is_told_so() -> None:
    with pytest.raises(Rejected, match="is forbidden"):
        await mark(Granted(), asked=True)
