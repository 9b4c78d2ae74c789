"""Serve an ASGI application with uvicorn inside a process's own task group, stopped by its own event."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from shared import logs
from shared.errors import Misconfigured

log = logs.get_logger()

GRACEFUL_SECONDS = 10
BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the process has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: ASGIApp, host: str, port: int, *, name: str, stop: asyncio.Event) -> None:
    """
    Serve until `stop` is set, then finish what is in flight. Port 0 takes a free one; the log says which.

    Raises `Misconfigured` when the address can not be had.
    """
    with _listening(host, port) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
        server = _Server(config)
        log.info("listening", server=name, url=f"http://{host}:{listener.getsockname()[1]}")
        async with asyncio.TaskGroup() as group:
            group.create_task(_stop(server, stop), name=f"{name}-stop")
            try:
                await server.serve(sockets=[listener])
            finally:
                # A cancelled uvicorn leaves the loop watching the socket, and then whatever gets its number next is not watched.
                for listening in getattr(server, "servers", ()):
                    listening.close()


async def _stop(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only for sockets that say TCP; without that an answer can take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise Misconfigured(f"can not listen on {host}:{port}: {error.strerror}") from error
    try:
        yield listener
    finally:
        listener.close()
