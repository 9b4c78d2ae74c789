"""
Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.

Svix, who wrote the first of it, calls the headers `svix-*`. The id stays the same when a delivery is sent again, the timestamp is new. Only the
signatures with a shared secret (`v1`) are checked; those with a key pair (`v1a`) are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingress.providers import fields, generic
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.signing import Stamped, Verdict, check_standard


class Standard(Provider):
    """Sends to `/listener/standard`."""

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_standard(stamped(request, _family(request.headers)), secrets, request.at)

    def identify(self, headers: Headers, document: Json) -> Identity:
        return Identity("standard", fields.text(document.get("type")), headers.text(_family(headers) + b"-id"))

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        """What the event is about stands under `data`; some senders sign a body of their own, which has no such part."""
        data = document.get("data")
        about = data if isinstance(data, dict) else document
        return (generic.by_hand(about),)


def stamped(request: Request, family: bytes) -> Stamped:
    """What the request's headers of that family (`webhook` or `svix`) say that was signed."""
    headers = request.headers
    return Stamped(
        id=headers.only(family + b"-id"),
        timestamp=headers.only(family + b"-timestamp"),
        signatures=headers.only(family + b"-signature"),
        body=request.body.raw,
    )


def _family(headers: Headers) -> bytes:
    return b"svix" if b"svix-id" in headers and b"webhook-id" not in headers else b"webhook"
