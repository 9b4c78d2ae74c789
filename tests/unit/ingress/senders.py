"""
Senders for the tests: they sign by their own few lines, so that a wrong `ingress/providers/signing.py` does not agree with itself.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from ingress.answer import Receipt
from ingress.hooks import Hooks
from ingress.receive import Desk
from ingress.routes import application
from shared.errors import Unavailable
from shared.event import WebhookEvent

SECRET = "Zy0Qn4f2ReZcJq1rQ9mSTu7bXw5vKd8L"
OLD_SECRET = "an older one, as long as all the others"
SIGNING_SECRET = "whsec_" + b64encode(bytes(range(100, 132))).decode()
SHA = "2b" * 20
Pairs = list[tuple[bytes, bytes]]


class MemoryPublisher:
    """Keeps what was published; `broken` makes it refuse."""

    def __init__(self, *, broken: bool = False) -> None:
        self.events: list[WebhookEvent] = []
        self.broken = broken

    async def publish_event(self, event: WebhookEvent) -> None:
        if self.broken:
            raise Unavailable
        self.events.append(WebhookEvent.from_bytes(event.to_bytes()))


class Ingress:
    """The listener's application with its publisher and its receipts at hand."""

    def __init__(
        self,
        *,
        broken: bool = False,
        public_url: str = "",
        secrets: Sequence[str] = (SECRET, OLD_SECRET),
        **settings: Any,
    ) -> None:
        self.publisher = MemoryPublisher(broken=broken)
        self.receipts: list[Receipt] = []
        self.desk = Desk(Hooks(secrets), self.publisher, **settings)
        self.app: ASGIApp = application(
            self.desk,
            elsewhere=Starlette(),
            observe=lambda receipt, _: self.receipts.append(receipt),
            public_url=public_url,
        )

    @property
    def events(self) -> list[WebhookEvent]:
        return self.publisher.events

    async def send(
        self, path: str, headers: Pairs, *parts: Message, method: str = "POST", query: bytes = b""
    ) -> "Answered":
        """Call the application as a server does, with the body in `parts`; after the last one the client is gone."""
        sent: list[Message] = []
        waiting = list(parts)

        async def chunks() -> Message:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": headers,
            "client": ("192.0.2.7", 4711),
        }
        await self.app(scope, chunks, send)
        return Answered(sent)

    async def post(self, path: str, body: bytes, headers: Pairs) -> "Answered":
        """Send a whole body at once, with its length."""
        length = (b"content-length", b"%d" % len(body))
        return await self.send(path, [*headers, length], {"type": "http.request", "body": body, "more_body": False})


class Answered:
    """What the application sent."""

    def __init__(self, sent: list[Message]) -> None:
        self.sent = sent
        self.status: int | None = sent[0]["status"] if sent else None
        self.headers: dict[bytes, bytes] = dict(sent[0]["headers"]) if sent else {}
        self.body: bytes = sent[1]["body"] if sent else b""

    def json(self) -> Any:
        return orjson.loads(self.body)


def hex_hmac(body: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


def github(body: bytes, event: str = "push", *, secret: str = SECRET, delivery: str = "7e1f1c0a") -> Pairs:
    return [
        (b"content-type", b"application/json"),
        (b"x-github-event", event.encode()),
        (b"x-github-delivery", delivery.encode()),
        (b"x-hub-signature-256", b"sha256=" + hex_hmac(body, secret)),
    ]


def family(name: str, signed: bytes, event: str = "push", *, media: bytes = b"application/json") -> Pairs:
    """A member of Gitea's family with all the headers it sends; `signed` is what it signs."""
    members = {"forgejo": ["forgejo", "gitea", "gogs"], "gitea": ["gitea", "gogs"], "gogs": ["gogs"]}[name]
    pairs = [(b"content-type", media), (b"x-github-event", event.encode()), (b"x-github-delivery", b"d0d0")]
    for member in members:
        pairs += [
            (f"x-{member}-event".encode(), event.encode()),
            (f"x-{member}-delivery".encode(), b"d0d0"),
            (f"x-{member}-signature".encode(), hex_hmac(signed)),
        ]
    if name != "gogs":
        pairs.append((b"x-hub-signature-256", b"sha256=" + hex_hmac(signed)))
    return pairs


def gitlab(token: str | bytes = SECRET, event: str = "Push Hook") -> Pairs:
    return [
        (b"content-type", b"application/json"),
        (b"x-gitlab-event", event.encode()),
        (b"idempotency-key", b"c0ffee"),
        (b"x-gitlab-token", token if isinstance(token, bytes) else token.encode()),
    ]


def bitbucket(body: bytes, event: str = "repo:push", *, secret: str = SECRET) -> Pairs:
    return [
        (b"content-type", b"application/json"),
        (b"x-event-key", event.encode()),
        (b"x-request-uuid", b"b1b1"),
        (b"x-hub-signature", b"sha256=" + hex_hmac(body, secret)),
    ]


def bitbucket_dc(body: bytes, event: str = "repo:refs_changed", *, secret: str = SECRET) -> Pairs:
    return [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"x-event-key", event.encode()),
        (b"x-request-id", b"dcdc"),
        (b"x-hub-signature", b"sha256=" + hex_hmac(body, secret)),
    ]


def basic(user: str, password: str) -> bytes:
    return b"Basic " + b64encode(f"{user}:{password}".encode())


def azure(secret: str = SECRET) -> Pairs:
    return [(b"content-type", b"application/json; charset=utf-8"), (b"authorization", basic("anyone", secret))]


def authorized(value: str, media: bytes = b"application/json") -> Pairs:
    """What a registry sends that was told what to put into `Authorization`."""
    return [(b"content-type", media), (b"authorization", value.encode())]


def standard(
    body: bytes, at: datetime, *, secret: str = SIGNING_SECRET, delivery: str = "msg_1", names: str = "webhook"
) -> Pairs:
    """Who signs by Standard Webhooks at that instant."""
    timestamp = str(int(at.timestamp()))
    signed = delivery.encode() + b"." + timestamp.encode() + b"." + body
    digest = hmac.new(b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return [
        (b"content-type", b"application/json"),
        (f"{names}-id".encode(), delivery.encode()),
        (f"{names}-timestamp".encode(), timestamp.encode()),
        (f"{names}-signature".encode(), b"v1," + b64encode(digest)),
    ]


def cloudevents(media: bytes = b"application/cloudevents+json", *, secret: str = SECRET, **attributes: str) -> Pairs:
    """Who sends CloudEvents; with attributes, in binary mode."""
    pairs = [(b"content-type", media), (b"authorization", b"Bearer " + secret.encode())]
    return pairs + [(f"ce-{name}".encode(), value.encode()) for name, value in attributes.items()]


def generic(body: bytes, event: str = "push", *, secret: str = SECRET, delivery: str = "g1") -> Pairs:
    return [
        (b"content-type", b"application/json"),
        (b"x-event", event.encode()),
        (b"x-delivery-id", delivery.encode()),
        (b"x-signature-256", b"sha256=" + hex_hmac(body, secret)),
    ]


def push_body(**changes: Any) -> bytes:
    """A small push as GitHub writes it; Gitea's family reads it too."""
    commit = {"id": SHA, "message": "Change it", "added": ["a.txt"], "modified": [], "removed": []}
    repository = {"id": 1, "full_name": "Acme/App", "clone_url": "https://github.com/Acme/App.git"}
    body = {
        "ref": "refs/heads/main",
        "before": "1a" * 20,
        "after": SHA,
        "commits": [commit],
        "head_commit": commit,
        "repository": repository,
        "sender": {"login": "nora"},
    }
    return orjson.dumps(body | changes)
