"""
Serving the simulated Core with uvicorn, inside the event loop of whoever needs one.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from demo.core.app import create_app
from demo.core.faults import Knobs
from demo.core.history import History
from demo.core.http import TRANSPORT
from demo.core.state import State
from demo.core.world import World


@dataclass(frozen=True)
class Core:
    """
    A running Core, with the credentials of the world's first user.
    """

    url: str
    state: State
    knobs: Knobs
    key: str
    secret: str

    @property
    def history(self) -> History:
        return self.state.history

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Api-Key": self.key, "X-Api-Secret": self.secret}

    def restart(self) -> None:
        """
        Restart Core at once; turn `knobs.down` for a time in which nobody answers.
        """
        self.state.restart()


class _Protocol(HttpToolsProtocol):
    """
    uvicorn's HTTP protocol, lending its transport to the app so that it can drop a connection.
    """

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


@asynccontextmanager
async def serving(world: World, knobs: Knobs | None = None, *, port: int = 0) -> AsyncIterator[Core]:
    """
    Serve on 127.0.0.1, by default on a free port, until the block ends.

    Raises OSError when the port is taken, and at the end an ExceptionGroup of what crashed in the simulation itself.
    """
    app = create_app(world, knobs)
    state: State = app.state.core
    listening = _listen(port)
    server = await _start(app, listening)
    try:
        user = world.user[0]
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield Core(url=url, state=state, knobs=state.knobs, key=user.key, secret=user.secret)
    finally:
        await state.close()
        await _stop(server)
    if state.crashes:
        raise BaseExceptionGroup("the simulated Core crashed", state.crashes)


async def _start(app: Starlette, listening: socket.socket) -> uvicorn.Server:
    """
    Begin to serve without uvicorn's own loop: its signal handlers belong to a process, not to a block of code.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="websockets-sansio",
        ws_ping_interval=30,
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listening])
    return server


async def _stop(server: uvicorn.Server) -> None:
    """
    Close everything, giving answers that are on their way a second.
    """
    open_connections = server.server_state.connections
    for listener in server.servers:
        listener.close()
    for connection in list(open_connections):
        connection.shutdown()
    end = time.monotonic() + 1
    # uvicorn keeps these in plain sets that nobody can wait for.
    while (open_connections or server.server_state.tasks) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    for task in server.server_state.tasks:
        task.cancel()


def _listen(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only for sockets that say TCP; without that an answer takes 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
    except OSError:
        listening.close()
        raise
    return listening
