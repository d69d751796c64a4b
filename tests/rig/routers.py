"""Applications that are reached by something else than an HTTPRoute, or by several things at once."""

from __future__ import annotations

from tests.rig.app import App, Json


class ByIngress(App):
    """Reached by an Ingress with the annotations of ingress-nginx."""

    kind, traffic = "ingress", {"nginx": {"ingress": "checkout"}}
    remains = "ingresses"

    def route(self) -> Json:
        """Its Ingress."""
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": self.name, "port": {"number": 80}}}}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": self.host, "http": {"paths": [path]}}]},
        }

    def at(self, weight: int) -> str | None:
        """Why its canary has not this weight."""
        found = self.cluster.items("ingresses", self.namespace)
        said = {obj["metadata"]["name"]: obj["metadata"].get("annotations", {}) for obj in found}
        told = said.get(f"{self.name}-canary", {}).get("nginx.ingress.kubernetes.io/canary-weight")
        return None if told == str(weight) else f"{told}: {self.status().get('message')}"


class ByTraefikService(App):
    """Reached by an IngressRoute that leads to a TraefikService."""

    kind, traffic = "traefikservice", {"traefik": {"service": "checkout"}}
    remains = "traefikservices"

    def route(self) -> Json:
        """Its TraefikService: the Service has nine parts of ten, another of its names the tenth."""
        listed = [{"name": self.name, "port": 80, "weight": 9}, {"name": "legacy", "port": 80, "weight": 1}]
        return {
            "apiVersion": "traefik.io/v1alpha1",
            "kind": "TraefikService",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"weighted": {"services": listed}},
        }

    def routes(self) -> list[Json]:
        """With the IngressRoute, and a Service of other pods that nobody releases."""
        meta = {"name": self.name, "namespace": self.namespace}
        to = {
            "match": f"Host(`{self.host}`)",
            "kind": "Rule",
            "services": [{"name": self.name, "kind": "TraefikService"}],
        }
        legacy, service = self.deployment("legacy"), self.service()
        for obj in (legacy, service):
            obj["metadata"]["name"] = "legacy"
        legacy["spec"] |= {"replicas": 1, "selector": {"matchLabels": {"app": "legacy"}}}
        legacy["spec"]["template"]["metadata"]["labels"] = service["spec"]["selector"] = {"app": "legacy"}
        entry: Json = {
            "apiVersion": "traefik.io/v1alpha1",
            "kind": "IngressRoute",
            "metadata": meta,
            "spec": {"entryPoints": ["web"], "routes": [to]},
        }
        return [legacy, service, self.route(), entry]

    def at(self, weight: int) -> str | None:
        """Why it has not this weight."""
        found = self.cluster.get("traefikservice", self.name, self.namespace)["spec"]["weighted"]["services"]
        wanted = [("checkout-stable", 9 * (100 - weight)), ("checkout-canary", 9 * weight), ("legacy", 100)]
        told = [(entry["name"], entry["weight"]) for entry in found]
        return None if told == wanted else f"{told}: {self.status().get('message')}"


class Staying(ByIngress):
    """Its Ingress keeps visitors by a cookie, for ten minutes."""

    def route(self) -> Json:
        """Its Ingress."""
        prefix, body = "nginx.ingress.kubernetes.io", super().route()
        notes = {f"{prefix}/affinity": "cookie", f"{prefix}/session-cookie-max-age": "600"}
        return {**body, "metadata": {**body["metadata"], "annotations": notes}}


class ByBoth(App):
    """Reached by an HTTPRoute, and as another host by an Ingress."""

    def routes(self) -> list[Json]:
        """Both."""
        ingress = ByIngress.route(self)  # type: ignore[arg-type]  # it asks for names alone
        ingress["spec"]["rules"][0]["host"] = other_host(self)
        return [self.route(), ingress]


def other_host(app: App) -> str:
    """By which the Ingress of an application with two routers leads to it."""
    return f"www.{app.host}"
