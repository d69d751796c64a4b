"""The controller of EndpointSlices."""

from __future__ import annotations

from tests.fakes.controllers import Controller, reference
from tests.fakes.kubelet import address, leaving, ready
from tidegate.core.reading import selector_text
from tidegate.ports.cluster import ENDPOINT_SLICES, PODS, SERVICES, Object


class EndpointSliceController(Controller):
    """One slice a Service, with the pods that it selects."""

    name = "endpointslice-controller"
    kinds = (SERVICES, PODS)
    delay = 0.2
    blind: str = ""
    """A Service that it is late with."""

    def _sync(self, service: Object) -> None:
        meta, selector = service["metadata"], service["spec"].get("selector")
        if not selector or meta["name"] == self.blind:
            return
        pods = self.cluster.all(PODS, meta["namespace"], selector_text({"matchLabels": selector}))
        endpoints = [
            {
                "addresses": [address(pod)],
                "conditions": {"ready": ready(pod) and not leaving(pod)},
                "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
            }
            for pod in pods
            if pod.get("status")
        ]
        name = f"{meta['name']}-{meta['uid']}"
        of_name = f"kubernetes.io/service-name={meta['name']}"
        for slice_ in self.cluster.all(ENDPOINT_SLICES, meta["namespace"], of_name):
            if slice_["metadata"]["name"] != name:
                # Of a Service of this name that was deleted: nobody has kept it since.
                self.cluster.delete_as(self.name, ENDPOINT_SLICES, meta["namespace"], slice_["metadata"]["name"])
        if self.cluster.find(ENDPOINT_SLICES, meta["namespace"], name) is None:
            body = {
                "metadata": {
                    "name": name,
                    "labels": {"kubernetes.io/service-name": meta["name"]},
                    "ownerReferences": [reference(SERVICES, service)],
                },
                "endpoints": endpoints,
            }
            self.cluster.create_as(self.name, ENDPOINT_SLICES, meta["namespace"], body)
            return
        found = self.cluster.find(ENDPOINT_SLICES, meta["namespace"], name)
        if found is not None:
            self.patch(ENDPOINT_SLICES, found, {"endpoints": endpoints})
