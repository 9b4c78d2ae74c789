"""
The HTTP side: routes, the two forms of a request, and errors with Komodo's shapes and status codes.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from demo.core import control, logins
from demo.core import params as read
from demo.core.accounts import Account
from demo.core.errors import BadParams, CoreError, HandlerPanic
from demo.core.executions import BATCHES, EXECUTIONS, start, start_batch
from demo.core.faults import Fault
from demo.core.history import RequestRecord
from demo.core.reads import READS
from demo.core.state import State
from demo.core.writes import WRITES

MAX_BODY = 2 * 1024 * 1024
TRANSPORT = "demo.transport"
"""The ASGI extension by which `serve` lets a connection be dropped."""

INDEX = b'<!doctype html>\n<html><head><title>Komodo</title></head><body><div id="root"></div></body></html>\n'
DROPPED = 0
"""The status in the history of a request whose connection was dropped or never answered."""

Handler = Callable[[State, Account, Any], Any]


def _execution(variant: str) -> Handler:
    return lambda state, account, params: start(state, variant, params, account)


def _batch(variant: str) -> Handler:
    return lambda state, account, params: start_batch(state, variant, params, account)


AREAS: dict[str, dict[str, Handler]] = {
    "read": dict(READS),
    "write": dict(WRITES),
    "execute": {
        **{variant: _execution(variant) for variant in EXECUTIONS},
        **{variant: _batch(variant) for variant in BATCHES},
    },
}


@dataclass(slots=True)
class Reply:
    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @classmethod
    def of_error(cls, error: CoreError) -> Reply:
        return cls(error.status, orjson.dumps({"error": error.message, "trace": list(error.trace)}))

    @classmethod
    def of_fault(cls, fault: Fault) -> Reply:
        headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
        return cls(fault.status, fault.body.encode(), fault.content_type.encode(), headers)

    async def send(self, send: Send) -> None:
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode()),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@dataclass(slots=True)
class Call:
    """
    A request with its body read. `document` is None where the body is not JSON, for the reason in `unreadable`.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    peer: str
    area: str
    variant: str
    by_path: bool
    at_ms: int
    document: Any = None
    unreadable: CoreError | None = None

    @property
    def stack(self) -> str:
        """
        The stack that the params name, or an empty text.
        """
        params = self.document
        if not self.by_path and isinstance(params, dict):
            params = params.get("params")
        named = params.get("stack") if isinstance(params, dict) else None
        return named if isinstance(named, str) else ""


class Http:
    """
    The ASGI application under Starlette's router: every path but the websocket's.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._chance = random.Random(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state, knobs = self.state, self.state.knobs
        call = await _read_call(scope, receive, state.now_ms())
        if knobs.control and call.path.startswith("/_sim/"):
            await _control(state, call).send(send)
            return
        if knobs.down:
            self._drop(scope, call)
            return
        await self._wait()
        fault = knobs.next_fault(call.area, call.variant)
        reply = await self._answer(call) if fault is None or fault.after else None
        if fault is not None and fault.kind == "answer":
            reply = Reply.of_fault(fault)
        elif fault is not None and fault.kind == "hang":
            self._remember(call, DROPPED)
            await _hang(state, receive)
            return
        elif fault is not None:
            reply = None
        if reply is None:
            self._drop(scope, call)
            return
        self._remember(call, reply.status)
        await reply.send(send)

    async def _wait(self) -> None:
        low, high = self.state.knobs.latency
        if high > 0:
            await asyncio.sleep(self._chance.uniform(low, high))

    async def _answer(self, call: Call) -> Reply | None:
        """
        Answer, or return None where Core's handler panics.
        """
        try:
            return await _route(self.state, call)
        except HandlerPanic:
            return None
        except CoreError as error:
            return Reply.of_error(error)
        except Exception as crash:
            self.state.crashes.append(crash)
            raise

    def _remember(self, call: Call, status: int) -> None:
        record = RequestRecord(call.area, call.variant, status, call.stack, call.at_ms)
        self.state.history.requests.append(record)

    def _drop(self, scope: Scope, call: Call) -> None:
        self._remember(call, DROPPED)
        reset(scope)


def reset(scope: Scope) -> None:
    """
    Drop the connection with a TCP reset. Raises KeyError under a server that does not lend its transport.
    """
    transport: asyncio.Transport = scope["extensions"][TRANSPORT]["transport"]
    underlying = transport.get_extra_info("socket")
    if underlying is not None:
        underlying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _hang(state: State, receive: Receive) -> None:
    """
    Wait until the client gives up or Core ends.
    """
    waits = [asyncio.ensure_future(receive()), asyncio.ensure_future(state.closing.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _read_call(scope: Scope, receive: Receive, at_ms: int) -> Call:
    path: str = scope["path"]
    area, _, variant = path[1:].partition("/")
    client = scope.get("client")
    call = Call(
        method=scope["method"],
        path=path,
        headers=dict(scope["headers"]),
        peer=client[0] if client else "127.0.0.1",
        area=area,
        variant=variant,
        by_path=bool(variant),
        at_ms=at_ms,
    )
    if call.method == "POST":
        await _read_body(call, receive)
        if not call.by_path and isinstance(call.document, dict):
            call.variant = str(call.document.get("type", ""))
    return call


async def _read_body(call: Call, receive: Receive) -> None:
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY:
            chunks.append(chunk)
        more = message.get("more_body", False)
    if not _is_json(call.headers.get(b"content-type", b"")):
        call.unreadable = CoreError("Expected request with `Content-Type: application/json`", status=415)
        return
    if size > MAX_BODY:
        call.unreadable = CoreError("Failed to buffer the request body: length limit exceeded", status=413)
        return
    try:
        call.document = orjson.loads(b"".join(chunks))
    except orjson.JSONDecodeError as error:
        call.unreadable = CoreError(f"Failed to parse the request body as JSON: {error}", status=400)


def _is_json(content_type: bytes) -> bool:
    kind = content_type.split(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))


async def _route(state: State, call: Call) -> Reply:
    if call.path == "/version":
        return Reply(200, state.config.version.encode(), b"text/plain; charset=utf-8") if _is_get(call) else _wrong()
    if call.path == "/user":
        return await _user(state, call) if _is_get(call) else _wrong()
    if call.area in AREAS and "/" not in call.variant:
        return await _variant(state, call) if call.method == "POST" else _wrong()
    return Reply(404, INDEX, b"text/html") if _is_get(call) else _wrong()


def _is_get(call: Call) -> bool:
    return call.method in ("GET", "HEAD")


def _wrong() -> Reply:
    return Reply(405, b"", b"text/plain")


async def _user(state: State, call: Call) -> Reply:
    account = await logins.from_headers(state, call.headers, call.peer, disabled_too=True)
    return Reply(200, orjson.dumps(account.wire()))


async def _variant(state: State, call: Call) -> Reply:
    account = await logins.from_headers(state, call.headers, call.peer)
    if call.unreadable is not None:
        raise call.unreadable
    try:
        return Reply(200, orjson.dumps(_handle(state, account, call)))
    except BadParams as bad:
        if call.by_path:
            raise
        message = f"Failed to deserialize the JSON body into the target type: {bad.message}"
        raise CoreError(message, status=422) from bad


def _handle(state: State, account: Account, call: Call) -> Any:
    params = call.document
    if not call.by_path:
        if not isinstance(call.document, dict):
            raise BadParams("invalid type, expected a map with `type` and `params`")
        read.text(call.document, "type")
        if "params" not in call.document:
            raise BadParams("missing field `params`")
        params = call.document["params"]
    handlers = AREAS[call.area]
    handler = handlers.get(call.variant)
    if handler is None:
        expected = ", ".join(f"`{name}`" for name in handlers)
        raise BadParams(f"unknown variant `{call.variant}`, expected one of {expected}")
    return handler(state, account, read.as_object(params, call.variant))


def _control(state: State, call: Call) -> Reply:
    try:
        return Reply(200, orjson.dumps(control.handle(state, call.method, call.variant, call.document)))
    except CoreError as error:
        return Reply.of_error(error)
