"""
The listener's URLs, as a plain ASGI application: no decision is taken here.

The path is split before it is decoded, so that a branch `feature%2Fx` is one segment. All other paths, and the process's start and stop, belong to
the application that is handed in as `elsewhere`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from urllib.parse import quote, unquote_to_bytes

from starlette.types import ASGIApp, Scope, Send
from starlette.types import Receive as Chunks

from ingress.answer import REFUSALS, Outcome, Receipt, to_response
from ingress.client import Proxies, site_of
from ingress.limits import Failures
from ingress.providers import PROVIDERS
from ingress.providers.headers import Headers
from ingress.receive import Address, Desk, receive
from shared.event import GlobalListener, Listener, ProcedureListener, StackListener
from shared.hook import GLOBAL
from shared.matching import filters
from shared.matching.filters import FilterError

PREFIX = b"/listener/"
MAX_SEGMENT = 255

Observe = Callable[[Receipt, str | None], None]


def application(
    desk: Desk,
    *,
    elsewhere: ASGIApp,
    observe: Observe,
    public_url: str = "",
    proxies: Proxies | None = None,
    failures: Failures | None = None,
) -> ASGIApp:
    """
    Serve the listener's URLs and pass everything else on.

    `observe` is told each receipt and the client's address, once the answer is out. `proxies` are the trusted ones, none by default.
    """
    proxies, failures = proxies or Proxies(), failures or Failures()

    async def listener(scope: Scope, chunks: Chunks, send: Send) -> None:
        if scope["type"] != "http" or not _raw_path(scope).startswith(PREFIX):
            await elsewhere(scope, chunks, send)
            return
        peer = scope.get("client")
        client = proxies.client(peer[0] if peer else None, scope["headers"])
        address = resolve(_raw_path(scope))
        receipt = Receipt(Outcome.NOT_FOUND) if address is None else await _listen(address, scope, chunks, desk)
        if address is not None and receipt.outcome in REFUSALS:
            receipt = _refused(address, receipt, client, failures)
        response = to_response(receipt, public_url)
        if response is not None:
            status, headers, body = response
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        observe(receipt, client)

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


async def _listen(address: Address, scope: Scope, chunks: Chunks, desk: Desk) -> Receipt:
    if scope["method"] != "POST":
        return Receipt(Outcome.METHOD_NOT_ALLOWED, hook=address.hook)
    if scope["query_string"]:
        try:
            address = _filtered(address, scope["query_string"])
        except FilterError as error:
            return Receipt(Outcome.UNKNOWN_PARAMETER, reason=str(error), hook=address.hook)
    return await receive(address, Headers(scope["headers"]), chunks, desk)


def _refused(address: Address, receipt: Receipt, client: str | None, failures: Failures) -> Receipt:
    """The receipt of a refusal: from whom it came is what the URL says, and who fails too often is told so."""
    receipt = receipt._replace(provider=address.auth)
    if receipt.outcome is not Outcome.UNAUTHORIZED:
        return receipt
    wait = failures.count(site_of(client), address.hook, monotonic())
    return receipt if wait is None else receipt._replace(outcome=Outcome.RATE_LIMITED, retry_in=wait)


def _filtered(address: Address, query: bytes) -> Address:
    """The address with its filters; raises `FilterError`."""
    if not isinstance(address.listener, GlobalListener):
        raise FilterError("only the global URL takes filters")
    return replace(address, listener=GlobalListener(filters=filters.read(query)))


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
