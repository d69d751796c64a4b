"""People with browsers: each keeps the cookies that it is given, and sends them with what it asks next.

As a program it is run within the cluster's network: jars as JSON on its standard input, one request of each, jars and
answers on its standard output.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

from tests.cluster.interface import Cluster

Jar = dict[str, str]


@dataclass
class Visitors:
    """Visitors of a host behind the gateway."""

    cluster: Cluster
    host: str
    jars: list[Jar] = field(default_factory=list)

    @classmethod
    def of(cls, cluster: Cluster, host: str, count: int) -> Visitors:
        """So many who were never there."""
        return cls(cluster, host, [{} for _ in range(count)])

    def ask(self) -> list[str]:
        """Each asks once: which version answered each."""
        said = self.cluster.run(
            sys.executable, "-m", __name__, self.cluster.gateway_url, self.host, stdin=json.dumps(self.jars)
        )
        answers = json.loads(said)
        self.jars = [jar for _, jar in answers]
        return [version for version, _ in answers]


def _ask(address: str, host: str, jar: Jar) -> tuple[str, Jar]:
    connection = HTTPConnection(address, timeout=10)
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())} if jar else {}
    connection.request("GET", "/", headers={"Host": host, **cookies})
    response = connection.getresponse()
    response.read()
    given: SimpleCookie = SimpleCookie()
    for header in response.headers.get_all("Set-Cookie") or ():
        given.load(header)
    version = response.headers.get("X-Version", "router") if response.status == 200 else str(response.status)
    return version, {**jar, **{name: morsel.value for name, morsel in given.items()}}


if __name__ == "__main__":
    url, host_ = sys.argv[1:]
    json.dump([_ask(urlsplit(url).netloc, host_, jar) for jar in json.load(sys.stdin)], sys.stdout)
