"""
`/ws/update`: log in with one frame, then one UpdateListItem per change of an Update that the user may see.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from demo.core import logins
from demo.core import params as read
from demo.core.accounts import Account
from demo.core.errors import CoreError
from demo.core.state import State
from demo.core.updates import Listener


async def serve_updates(websocket: WebSocket, state: State) -> None:
    """
    Serve one connection to its end.
    """
    if state.knobs.down:
        await websocket.close()
        return
    await websocket.accept()
    try:
        account = await _log_in(websocket, state)
        if account is not None:
            await websocket.send_text("LOGGED_IN")
            await _send_updates(websocket, state, account)
    except WebSocketDisconnect:
        return
    if websocket.application_state is WebSocketState.CONNECTED:
        await websocket.close()


async def _log_in(websocket: WebSocket, state: State) -> Account | None:
    """
    Return the account, or tell why not and return None.
    """
    try:
        key, secret = _credentials(await websocket.receive_text())
        peer = websocket.client.host if websocket.client else "127.0.0.1"
        client = logins.address(dict(websocket.scope["headers"]), peer)
        return await logins.check(state, key, secret, client)
    except CoreError as error:
        await websocket.send_text(f"[{error.status} {HTTPStatus(error.status).phrase}]: {error.message}")
        return None


def _credentials(frame: str) -> tuple[str, str]:
    try:
        document = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise CoreError("failed to parse login message", status=400) from error
    message = read.as_object(document, "WsLoginMessage")
    if message.get("type") != "ApiKeys":
        raise CoreError("Invalid user credentials", status=401)
    keys = read.as_object(message.get("params"), "ApiKeysLogin")
    return read.text(keys, "key"), read.text(keys, "secret")


async def _send_updates(websocket: WebSocket, state: State, account: Account) -> None:
    listener = Listener(account.id)
    state.listeners.add(listener)
    reader = asyncio.create_task(_until_closed(websocket, listener), name="websocket reader")
    try:
        while (item := await listener.next()) is not None:
            if not account.enabled:
                await websocket.send_text('{"type":"INVALID_USER","msg":"user is disabled"}')
                return
            await websocket.send_text(orjson.dumps(item).decode())
    finally:
        state.listeners.discard(listener)
        reader.cancel()
        await asyncio.wait({reader})


async def _until_closed(websocket: WebSocket, listener: Listener) -> None:
    """
    Ignore what the client sends, as Core does, until it is gone.
    """
    try:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
    finally:
        listener.close()
