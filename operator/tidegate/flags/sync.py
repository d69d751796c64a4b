"""flagd's sources: whole sets with their rules, over HTTP, for fleets of flagd that ask now and then."""

from __future__ import annotations

from tidegate.flags.answers import JSON, Headers, Response
from tidegate.flags.served import Served

PATH, SUFFIX = "/flagd/v1/", ".json"
VARIES = (b"vary", b"Accept-Encoding")
CACHE = (b"cache-control", b"no-cache")


def document(served: Served, headers: Headers) -> Response:
    """A set as flagd reads it, or that it is the one that is known."""
    zipped = b"gzip" in headers.get(b"accept-encoding", b"")
    tag = f'"{served.revision}{"-gzip" if zipped else ""}"'.encode()
    known = headers.get(b"if-none-match")
    if known is not None and (tag in known or known.strip() == b"*"):
        return Response(304, headers=((b"etag", tag), VARIES, CACHE))
    if not zipped:
        return Response(200, served.document, (JSON, (b"etag", tag), VARIES, CACHE))
    encoding = (b"content-encoding", b"gzip")
    return Response(200, served.compressed, (JSON, encoding, (b"etag", tag), VARIES, CACHE))
