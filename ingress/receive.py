"""
Receiving: steps 1 to 4 of a delivery's way. Cap before reading, verify over the raw bytes, parse only what is authentic, publish, then answer.

Everything authentic that can be parsed is published, pings, deletions and unknown events too: the worker records how each one ended (I1).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Protocol
from urllib.parse import urlencode

import uuid_utils
from starlette.types import Receive

from ingress.answer import Outcome, Receipt
from ingress.hooks import Hooks
from ingress.providers import PROVIDERS, Provider
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Request
from ingress.providers.push import by_hand
from ingress.providers.signing import Refused, Tried, Verified
from shared import clock
from shared.errors import Unavailable
from shared.event import (
    GlobalListener,
    Kind,
    Listener,
    ProcedureListener,
    StackListener,
    WebhookEvent,
    delivery_id_for,
    event_id_for,
)

MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 25 * 1024 * 1024
READ_SECONDS = 10.0

NOT_AN_OBJECT = "the body is not a JSON object"

_JSON = b"application/json"
_FORM = b"application/x-www-form-urlencoded"


class Publisher(Protocol):
    """What makes an event durable."""

    async def publish_event(self, event: WebhookEvent) -> None:
        """Return once the event can not be lost any more, or raise `Unavailable`; either in bounded time."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What every delivery is received with. `read_seconds` is for the whole body."""

    hooks: Hooks
    publisher: Publisher
    max_body_bytes: int = MAX_BODY_BYTES
    read_seconds: float = READ_SECONDS
    now: Callable[[], datetime] = clock.now


@dataclass(frozen=True, slots=True)
class Address:
    """What the URL says: how the sender authenticates, at which hook, and for whom the delivery is."""

    auth: str
    hook: str
    listener: Listener
    token: bytes | None = None


async def receive(address: Address, headers: Headers, chunks: Receive, desk: Desk) -> Receipt:
    """Take one delivery in; whatever is wrong with it is an outcome, never an exception."""
    if refusal := _refuse_unread(address, headers, desk.max_body_bytes):
        return Receipt(refusal, hook=address.hook)
    raw = await _read(headers, chunks, desk)
    if isinstance(raw, Outcome):
        return Receipt(raw, hook=address.hook)
    start = perf_counter()
    request = Request(headers, Body(raw, is_form=_is_form(address, headers, raw)), address.token, desk.now())
    receipt = await _accept(address, request, desk)
    return receipt._replace(took=perf_counter() - start)


async def _accept(address: Address, request: Request, desk: Desk) -> Receipt:
    """Verify, normalize, publish."""
    hook = desk.hooks.find(address.auth, address.hook)
    provider = hook.provider
    if provider.prepares:
        await provider.prepare(request)
    verdict = provider.verify(request, hook.secrets_at(request.at))
    if not isinstance(verdict, Verified):
        return _unverified(_receipt(address, provider.identify(request.headers, {})), verdict)
    if hook.max_body_bytes is not None and len(request.body.raw) > hook.max_body_bytes:
        receipt = _receipt(address, provider.identify(request.headers, {}))
        return receipt._replace(outcome=Outcome.TOO_LARGE, reason=f"this hook takes {hook.max_body_bytes} bytes")
    try:
        identity, facts = _read_facts(address, provider, request)
    except ValueError:
        receipt = _receipt(address, provider.identify(request.headers, {}))
        return receipt._replace(outcome=Outcome.INVALID_BODY, reason="the body is authentic, but it is not JSON")
    receipt = _receipt(address, identity)
    events = _events(hook.bind(facts), address, receipt, request)

    try:
        for event in events:
            await desk.publisher.publish_event(event)
    except Unavailable:
        return receipt._replace(
            outcome=Outcome.UNAVAILABLE, reason="the delivery could not be kept, send it again later"
        )
    outcome, reason = _outcome(events)
    return receipt._replace(outcome=outcome, reason=reason, events=len(events), secret_index=verdict.secret_index)


def _unverified(receipt: Receipt, verdict: Refused | Tried) -> Receipt:
    if isinstance(verdict, Tried):
        return receipt._replace(outcome=Outcome.PONG, delivery_id=None)
    return receipt._replace(outcome=Outcome.UNAUTHORIZED, reason=verdict.reason)


def _refuse_unread(address: Address, headers: Headers, max_body_bytes: int) -> Outcome | None:
    """What can be refused before a byte of the body is read."""
    if headers.size > MAX_HEADER_BYTES:
        return Outcome.HEADERS_TOO_LARGE
    lengths = headers.all(b"content-length")
    # Two ways to say how long a body is are two places to cut it: https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    if len(lengths) + (b"transfer-encoding" in headers) > 1 or any(not _is_length(value) for value in lengths):
        return Outcome.BAD_FRAMING
    if lengths and int(lengths[0]) > max_body_bytes:
        return Outcome.TOO_LARGE
    if any(value.strip().lower() != b"identity" for value in headers.all(b"content-encoding")):
        return Outcome.UNSUPPORTED_ENCODING
    if not _is_accepted_media(address, headers):
        return Outcome.UNSUPPORTED_MEDIA
    return None


def _is_length(value: bytes) -> bool:
    return value.isdigit() and len(value) <= 15


def _is_accepted_media(address: Address, headers: Headers) -> bool:
    # Komodo does not look at the content type of its own URLs, and `curl -d` says "form" whatever it sends.
    if not isinstance(address.listener, GlobalListener):
        return True
    media = _media(headers)
    return media == _JSON or media.endswith(b"+json") or (media == _FORM and PROVIDERS[address.auth].takes_forms)


def _media(headers: Headers) -> bytes:
    return (headers.only(b"content-type") or b"").partition(b";")[0].strip().lower()


def _is_form(address: Address, headers: Headers, raw: bytes) -> bool:
    is_form = _media(headers) == _FORM
    return is_form and (isinstance(address.listener, GlobalListener) or raw.startswith(b"payload="))


async def _read(headers: Headers, chunks: Receive, desk: Desk) -> bytes | Outcome:
    """The whole body, or why there is none: a body that did not come to its end is none."""
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(desk.read_seconds):
            while more:
                message = await chunks()
                if message["type"] != "http.request":
                    return Outcome.DISCONNECTED
                part, more = message.get("body", b""), message.get("more_body", False)
                size += len(part)
                if size > desk.max_body_bytes:
                    return Outcome.TOO_LARGE
                parts.append(part)
    except TimeoutError:
        return Outcome.TIMED_OUT
    declared = headers.only(b"content-length")
    if declared is not None and int(declared) != size:
        return Outcome.BAD_FRAMING
    return b"".join(parts)


def _read_facts(address: Address, provider: Provider, request: Request) -> tuple[Identity, tuple[Facts, ...]]:
    """Parse the authentic body; raises ValueError when it is not JSON."""
    is_own_url = not isinstance(address.listener, GlobalListener)
    if is_own_url and not request.body.raw:
        return provider.identify(request.headers, {}), (by_hand({}),)
    document = provider.parse(request)
    if not isinstance(document, dict):
        return provider.identify(request.headers, {}), ({"kind": Kind.CUSTOM, "ignored": NOT_AN_OBJECT},)
    identity = provider.identify(request.headers, document)
    if is_own_url and identity.source_event is None:
        return identity, (by_hand(document),)
    return identity, provider.normalize(identity, document)


def _receipt(address: Address, identity: Identity) -> Receipt:
    receipt_id = str(uuid_utils.uuid7())
    delivery_id = receipt_id
    if identity.delivery_id is not None:
        delivery_id = delivery_id_for(_place(address), identity.provider, identity.delivery_id)
    return Receipt(
        Outcome.QUEUED,
        hook=address.hook,
        provider=identity.provider,
        source_event=identity.source_event,
        provider_delivery_id=identity.delivery_id,
        delivery_id=delivery_id,
        receipt_id=receipt_id,
    )


def _place(address: Address) -> str:
    """
    Where the delivery was sent to.

    GitHub gives one id to what it sends to several hooks, so an id counts per URL: a push to the global URL and to a procedure's own are two.
    """
    match address.listener:
        case ProcedureListener(name=name, branch=branch):
            return f"{address.hook}/procedure/{name}/{branch}"
        case StackListener(name=name, execution=execution):
            return f"{address.hook}/stack/{name}/{execution}"
        case GlobalListener(filters=filters) if filters:
            return f"{address.hook}?{urlencode(sorted(filters.items()))}"
    return address.hook


def _events(facts: Iterable[Facts], address: Address, receipt: Receipt, request: Request) -> tuple[WebhookEvent, ...]:
    delivery_id, receipt_id, provider = receipt.delivery_id, receipt.receipt_id, receipt.provider
    if delivery_id is None or receipt_id is None or provider is None:
        raise TypeError("a receipt without identity has no events")
    digest = hashlib.sha256(request.body.raw).hexdigest()
    return tuple(
        WebhookEvent(
            id=event_id_for(delivery_id, position),
            delivery_id=delivery_id,
            receipt_id=receipt_id,
            provider_delivery_id=receipt.provider_delivery_id,
            hook=address.hook,
            listener=address.listener,
            provider=provider,
            source_event=receipt.source_event,
            received_at=request.at,
            body_sha256=digest,
            **fact,
        )
        for position, fact in enumerate(facts)
    )


def _outcome(events: tuple[WebhookEvent, ...]) -> tuple[Outcome, str | None]:
    if all(event.kind is Kind.PING for event in events):
        return Outcome.PONG, None
    if all(event.ignored for event in events):
        return Outcome.IGNORED, events[0].ignored
    return Outcome.QUEUED, None
