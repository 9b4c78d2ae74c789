"""
The composition of the simulated Core into one ASGI application.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket

from demo.core import stacks
from demo.core.faults import Knobs
from demo.core.http import Http
from demo.core.state import State
from demo.core.websocket import serve_updates
from demo.core.world import World


def create_app(world: World, knobs: Knobs | None = None) -> Starlette:
    """
    Make a Core with this world in it. Its State is `app.state.core`; whoever runs the app closes that.
    """
    state = State(world, knobs or Knobs())
    stacks.settle(state)

    async def updates(websocket: WebSocket) -> None:
        await serve_updates(websocket, state)

    app = Starlette(routes=[WebSocketRoute("/ws/update", updates), Mount("/", app=Http(state))])
    app.state.core = state
    return app
