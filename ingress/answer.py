"""
What a sender is told: one table from outcome to answer (I8).

Providers show the body to their users, so it is small JSON that says what to do and holds no secret. Nothing is ever answered with a redirect, and an
authentic delivery is never refused for being of no interest: some senders disable a hook for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import NamedTuple

import orjson

MAX_REASON = 200


class Outcome(StrEnum):
    """How the receiving of one request ended."""

    QUEUED = "queued"
    IGNORED = "ignored"
    PONG = "pong"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate limited"
    NOT_FOUND = "not found"
    METHOD_NOT_ALLOWED = "method not allowed"
    UNKNOWN_PARAMETER = "unknown parameter"
    BAD_FRAMING = "bad framing"
    HEADERS_TOO_LARGE = "headers too large"
    TOO_LARGE = "too large"
    UNSUPPORTED_MEDIA = "unsupported media type"
    UNSUPPORTED_ENCODING = "unsupported content encoding"
    TIMED_OUT = "timed out"
    INVALID_BODY = "invalid body"
    UNAVAILABLE = "unavailable"
    DISCONNECTED = "disconnected"


class Receipt(NamedTuple):
    """
    What became of one request. `reason` is for the log and, where the table below says so, for the sender.

    `took` are the seconds from the body's last byte to the end, None when no body was read. `retry_in` are those after which the sender may
    come again.
    """

    outcome: Outcome
    reason: str | None = None
    hook: str | None = None
    provider: str | None = None
    source_event: str | None = None
    provider_delivery_id: str | None = None
    delivery_id: str | None = None
    receipt_id: str | None = None
    events: int = 0
    secret_index: int | None = None
    took: float | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status code, what the sender may read, and further headers."""

    status: int
    tells_reason: bool = True
    headers: tuple[tuple[bytes, bytes], ...] = ()


ANSWERS: dict[Outcome, Answer] = {
    Outcome.QUEUED: Answer(202),
    Outcome.IGNORED: Answer(200),
    Outcome.PONG: Answer(200),
    # One answer for a bad signature and an unknown hook: it must not tell which hooks exist.
    Outcome.UNAUTHORIZED: Answer(401, tells_reason=False),
    # Said instead of 401, and of nothing else.
    Outcome.RATE_LIMITED: Answer(429, tells_reason=False),
    Outcome.NOT_FOUND: Answer(404),
    Outcome.METHOD_NOT_ALLOWED: Answer(405, headers=((b"allow", b"POST"),)),
    Outcome.UNKNOWN_PARAMETER: Answer(400),
    Outcome.BAD_FRAMING: Answer(400, headers=((b"connection", b"close"),)),
    Outcome.HEADERS_TOO_LARGE: Answer(431),
    Outcome.TOO_LARGE: Answer(413, headers=((b"connection", b"close"),)),
    Outcome.UNSUPPORTED_MEDIA: Answer(415),
    Outcome.UNSUPPORTED_ENCODING: Answer(415),
    Outcome.TIMED_OUT: Answer(408, headers=((b"connection", b"close"),)),
    Outcome.INVALID_BODY: Answer(400),
    Outcome.UNAVAILABLE: Answer(503, headers=((b"retry-after", b"30"),)),
}

REFUSALS = frozenset(outcome for outcome, answer in ANSWERS.items() if 400 <= answer.status < 500)


def to_response(receipt: Receipt, public_url: str = "") -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
    """
    Status, headers and body of the answer; None when nobody is there any more to read it.

    `public_url` is where the console is reached; without it the sender gets the delivery's id but no link.
    """
    answer = ANSWERS.get(receipt.outcome)
    if answer is None:
        return None
    body = orjson.dumps(_told(receipt, answer, public_url))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *answer.headers]
    if receipt.retry_in is not None:
        headers.append((b"retry-after", b"%d" % ceil(receipt.retry_in)))
    return answer.status, headers, body


def _told(receipt: Receipt, answer: Answer, public_url: str) -> dict[str, object]:
    told: dict[str, object] = {"status": receipt.outcome.value}
    if receipt.reason and answer.tells_reason:
        told["reason"] = receipt.reason[:MAX_REASON]
    if receipt.delivery_id and answer.status < 300:
        told |= {"delivery": receipt.delivery_id, "events": receipt.events}
        if public_url:
            told["status_url"] = f"{public_url.rstrip('/')}/api/v1/deliveries/{receipt.delivery_id}"
    return told
