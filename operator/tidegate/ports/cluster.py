"""The cluster as the engine uses it: objects as JSON, and errors that say what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Object = dict[str, Any]
"""A Kubernetes object as JSON, without managedFields."""


@dataclass(frozen=True)
class Kind:
    """A resource of the API: ``path`` is ``api/v1`` or ``apis/GROUP/VERSION``."""

    path: str
    plural: str
    name: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in an object."""
        return self.path.removeprefix("apis/").removeprefix("api/")


DEPLOYMENTS = Kind("apis/apps/v1", "deployments", "Deployment")
REPLICASETS = Kind("apis/apps/v1", "replicasets", "ReplicaSet")
PODS = Kind("api/v1", "pods", "Pod")
SERVICES = Kind("api/v1", "services", "Service")
ENDPOINT_SLICES = Kind("apis/discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
JOBS = Kind("apis/batch/v1", "jobs", "Job")
EVENTS = Kind("api/v1", "events", "Event")
HTTPROUTES = Kind("apis/gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute")
GRPCROUTES = Kind("apis/gateway.networking.k8s.io/v1", "grpcroutes", "GRPCRoute")
GATEWAY_ROUTES = (HTTPROUTES, GRPCROUTES)
INGRESSES = Kind("apis/networking.k8s.io/v1", "ingresses", "Ingress")
TRAEFIK_SERVICES = Kind("apis/traefik.io/v1alpha1", "traefikservices", "TraefikService")
ROUTES = (*GATEWAY_ROUTES, INGRESSES, TRAEFIK_SERVICES)
"""Kinds of routes, which are watched. Not all of them are installed in every cluster."""
GATEWAYS = Kind("apis/gateway.networking.k8s.io/v1", "gateways", "Gateway")
GATEWAY_CLASSES = Kind("apis/gateway.networking.k8s.io/v1", "gatewayclasses", "GatewayClass", namespaced=False)
INGRESS_CLASSES = Kind("apis/networking.k8s.io/v1", "ingressclasses", "IngressClass", namespaced=False)
CANARY_RELEASES = Kind("apis/tidegate.dev/v1alpha1", "canaryreleases", "CanaryRelease")
BLUE_GREEN_RELEASES = Kind("apis/tidegate.dev/v1alpha1", "bluegreenreleases", "BlueGreenRelease")
ROLLING_RELEASES = Kind("apis/tidegate.dev/v1alpha1", "rollingreleases", "RollingRelease")
RELEASES = (CANARY_RELEASES, BLUE_GREEN_RELEASES, ROLLING_RELEASES)
"""Kinds of releases."""
FEATURE_FLAGS = Kind("apis/tidegate.dev/v1alpha1", "featureflags", "FeatureFlag")
ANALYSIS_TEMPLATES = Kind("apis/tidegate.dev/v1alpha1", "analysistemplates", "AnalysisTemplate")
LEASES = Kind("apis/coordination.k8s.io/v1", "leases", "Lease")
POLICIES = Kind(
    "apis/admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", namespaced=False
)
POLICY_BINDINGS = Kind(
    "apis/admissionregistration.k8s.io/v1",
    "mutatingadmissionpolicybindings",
    "MutatingAdmissionPolicyBinding",
    namespaced=False,
)
WEBHOOKS = Kind(
    "apis/admissionregistration.k8s.io/v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
)

PatchType = Literal["merge", "json"]

LONGEST_WRITE = 5.0
"""Seconds after which a write has ended, whatever became of it: the API server itself is told so."""


class ClusterError(Exception):
    """What went wrong between us and the API server.

    * NotFound: the object is not there
    * Conflict: it is not what we thought (resourceVersion, failed test, already exists): observe again
    * Rejected: the request can never be right as it is (validation, admission, RBAC)
    * Unavailable: nobody knows; try again, not before ``after`` seconds
    """


class NotFound(ClusterError):
    """The object, or its kind, is not there."""


class Conflict(ClusterError):
    """The object is not what we thought: observe again."""


class Rejected(ClusterError):
    """The request can never be right as it is."""


class Unavailable(ClusterError):
    """No answer, or one that says later."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Cluster(Protocol):
    """The API server. Every method raises ClusterError only, and answers within its time-out."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""
        ...

    async def list(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """All objects of a kind, of a namespace or of the cluster, by label selector."""
        ...

    def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Iterable[Object]]:
        """The same part by part, each gone through once: all of a large cluster need not be in memory at once."""
        ...

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """A new object. Conflict where there is one."""
        ...

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        """Change an object."""
        ...

    async def delete(self, kind: Kind, namespace: str, name: str, *, version: str = "") -> None:
        """Remove an object, if it still is of the ``version``; Conflict if not. Gone already is fine."""
        ...


class Watched(Cluster, Protocol):
    """The API server behind a memory of what watches told."""

    async def referring(self, kind: Kind, namespace: str, to: Collection[str]) -> Sequence[Object]:
        """Objects of a watched kind and a namespace that refer to any of these; others may be among them.

        A reference is ``Kind/name`` of an object of the same namespace (of a release: its Deployment and its Service;
        of a route: its backends, and ``Service/*`` while a release has taken it), the uid of an owner, or
        ``key=value`` of a label (of a Service). Sets of flags know no namespaces, and neither do references to flags:
        ``flag=SET/KEY`` is of one, ``needs=SET/KEY`` of another that needs it.
        """
        ...
