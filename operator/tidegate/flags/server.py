"""uvicorn, with what it needs to be told to serve strangers: one worker, no logs of requests, time-outs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn

from tidegate.flags.connections import Connections
from tidegate.flags.http import Gateway

BACKLOG = 2048
ENDING = 5
"""Seconds that answers under way have to end."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command's."""
        yield


class HttpServer:
    """Serves the gateway until told to stop."""

    def __init__(self, gateway: Gateway, connections: Connections) -> None:
        # Whoever sends what is no HTTP is no news.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = uvicorn.Config(
            gateway,
            http=connections.protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=ENDING,
            backlog=BACKLOG,
        )
        config.load()
        self._server = _Server(config)
        self._connections = connections

    async def run(self, listening: socket.socket) -> None:
        """Serve on a socket until ``stop``."""
        watching = asyncio.create_task(self._connections.watch())
        try:
            await self._server.serve(sockets=[listening])
        finally:
            watching.cancel()

    def stop(self) -> None:
        """No new connections; what is under way ends."""
        self._server.should_exit = True


def bind(listen: str) -> socket.socket:
    """A socket of HOST:PORT."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host.strip("[]"), int(port)))
    return made
