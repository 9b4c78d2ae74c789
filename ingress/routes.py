"""
The listener's URLs, as a plain ASGI application: no decision is taken here.

The path is split before it is decoded, so that a branch `feature%2Fx` is one segment. All other paths, and the process's start and stop, belong to
the application that is handed in as `elsewhere`.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from starlette.types import ASGIApp, Scope, Send
from starlette.types import Receive as Chunks

from ingress.answer import Outcome, Receipt, to_response
from ingress.hooks import GLOBAL
from ingress.providers import PROVIDERS
from ingress.providers.headers import Headers
from ingress.receive import Address, Desk, receive
from shared.event import GlobalListener, Listener, ProcedureListener, StackListener

PREFIX = b"/listener/"
MAX_SEGMENT = 255

# The filters of the URL that are acted on. Any other is refused: one that is silently ignored deploys too much.
PARAMETERS: frozenset[str] = frozenset()

Observe = Callable[[Receipt, str | None], None]


def application(desk: Desk, *, elsewhere: ASGIApp, observe: Observe, public_url: str = "") -> ASGIApp:
    """
    Serve the listener's URLs and pass everything else on.

    `observe` is told each receipt and the client's address, once the answer is out.
    """

    async def listener(scope: Scope, chunks: Chunks, send: Send) -> None:
        if scope["type"] != "http" or not _raw_path(scope).startswith(PREFIX):
            await elsewhere(scope, chunks, send)
            return
        receipt = await _listen(scope, chunks, desk)
        response = to_response(receipt, public_url)
        if response is not None:
            status, headers, body = response
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        client = scope.get("client")
        observe(receipt, client[0] if client else None)

    return listener


def resolve(raw_path: bytes) -> Address | None:
    """Whom a path below `/listener/` means; None when there is no such URL."""
    segments = [_segment(part) for part in raw_path.removeprefix(PREFIX).split(b"/")]
    match segments:
        case [str(auth), "global"] if auth in PROVIDERS:
            return Address(auth, GLOBAL, GlobalListener())
        case [str(auth), "global", str(hook)] if auth in PROVIDERS:
            return Address(auth, hook, GlobalListener())
        case [str(auth), "global", str(hook), str(token)] if auth in PROVIDERS and PROVIDERS[auth].has_url_token:
            return Address(auth, hook, GlobalListener(), token.encode())
        case [str(auth), str(kind), str(name), str(last)] if auth in PROVIDERS:
            listener = _listener(kind, name, last)
            return None if listener is None else Address(auth, GLOBAL, listener)
    return None


def _listener(kind: str, name: str, last: str) -> Listener | None:
    match kind, last:
        case "procedure", branch:
            return ProcedureListener(name=name, branch=branch)
        case "stack", "deploy" | "refresh" as execution:
            return StackListener(name=name, execution=execution)
    return None


async def _listen(scope: Scope, chunks: Chunks, desk: Desk) -> Receipt:
    address = resolve(_raw_path(scope))
    if address is None:
        return Receipt(Outcome.NOT_FOUND)
    if scope["method"] != "POST":
        return Receipt(Outcome.METHOD_NOT_ALLOWED, hook=address.hook)
    if unknown := _unknown_parameter(scope["query_string"]):
        return Receipt(Outcome.UNKNOWN_PARAMETER, reason=f"{unknown} is no filter of this URL", hook=address.hook)
    return await receive(address, Headers(scope["headers"]), chunks, desk)


def _unknown_parameter(query: bytes) -> str | None:
    if not query:
        return None
    names = (name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return next((name[:40] for name in names if name not in PARAMETERS), None)


def _raw_path(scope: Scope) -> bytes:
    raw: bytes | None = scope.get("raw_path")
    return raw if raw is not None else quote(scope["path"]).encode()


def _segment(part: bytes) -> str | None:
    """One decoded segment; None when it is empty, too long, or no printable text."""
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        return None
    return text if 0 < len(text) <= MAX_SEGMENT and text.isprintable() else None
