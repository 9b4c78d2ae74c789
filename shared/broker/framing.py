"""
A message as the bytes of AMQP 0-9-1: one `basic.publish` method frame, one content header, the body in as many frames as it needs.

https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3.5 and 4.2. Everything else that travels is aiormq's work; this is the one frame
that is written thousands of times a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from pamqp import encode

JSON = "application/json"

_METHOD, _HEADER, _BODY = 1, 2, 3
_END = b"\xce"
_PUBLISH = b"\x00\x3c\x00\x28\x00\x00"
_PERSISTENT = b"\x02"

# Content type, delivery mode, message id; and the table of headers.
_ALWAYS = 1 << 15 | 1 << 12 | 1 << 7
_HAS_HEADERS = 1 << 13

_FRAME = Struct(">BHI")
_CONTENT = Struct(">HHQH")


@dataclass(frozen=True)
class Outgoing:
    """A message on its way, persistent: the body as bytes, the rest as AMQP properties."""

    body: bytes
    message_id: str | None = None
    content_type: str = JSON
    headers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a message goes; what is `mandatory` comes back when no queue is bound for it."""

    exchange: str
    key: str
    mandatory: bool = True


def to_frames(message: Outgoing, destination: Destination, message_id: str, channel: int, max_body: int) -> bytes:
    """
    All frames of one publish under that id on the channel of that number, with at most `max_body` bytes of the body in each.

    Raises ValueError when a name, an id or a content type is longer than AMQP allows.
    """
    method = b"%b%b%b%c" % (_PUBLISH, _short(destination.exchange), _short(destination.key), destination.mandatory)
    header = _header(message, message_id)
    parts = [_FRAME.pack(_METHOD, channel, len(method)), method, _END]
    parts += [_FRAME.pack(_HEADER, channel, len(header)), header, _END]
    for piece in _pieces(message.body, max_body):
        parts += [_FRAME.pack(_BODY, channel, len(piece)), piece, _END]
    return b"".join(parts)


def _header(message: Outgoing, message_id: str) -> bytes:
    flags, properties = _ALWAYS, _short(message.content_type)
    if message.headers:
        flags |= _HAS_HEADERS
        properties += encode.field_table(dict(message.headers))
    properties += _PERSISTENT + _short(message_id)
    return _CONTENT.pack(60, 0, len(message.body), flags) + properties


def _pieces(body: bytes, max_body: int) -> Iterator[bytes]:
    if len(body) <= max_body:
        if body:
            yield body
        return
    for start in range(0, len(body), max_body):
        yield body[start : start + max_body]


def _short(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 255:
        raise ValueError(f"AMQP allows 255 bytes, these are {len(raw)}")
    return b"%c%b" % (len(raw), raw)
