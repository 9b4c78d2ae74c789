"""The frames that are written by hand are those that the reference encoder writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header

from shared.broker.framing import Destination, Outgoing, to_frames

NAMES = st.text(max_size=60)
TABLES = st.dictionaries(
    st.text(min_size=1, max_size=20), st.one_of(st.text(max_size=50), st.integers(0, 2**31 - 1)), max_size=4
)


def by_reference(message: Outgoing, to: Destination, message_id: str, channel: int, max_body: int) -> bytes:
    properties = commands.Basic.Properties(
        content_type=message.content_type,
        headers=dict(message.headers) or None,
        delivery_mode=2,
        message_id=message_id,
    )
    publish = commands.Basic.Publish(exchange=to.exchange, routing_key=to.key, mandatory=to.mandatory)
    frames: list[Any] = [publish, header.ContentHeader(body_size=len(message.body), properties=properties)]
    pieces = [message.body[at : at + max_body] for at in range(0, len(message.body), max_body)]
    return b"".join(frame.marshal(one, channel) for one in (*frames, *map(body.ContentBody, pieces)))


@given(
    content=st.binary(max_size=300),
    content_type=NAMES.filter(bool),
    headers=TABLES,
    exchange=st.from_regex(r"[a-z.]{0,40}", fullmatch=True),
    key=NAMES,
    mandatory=st.booleans(),
    message_id=NAMES.filter(bool),
    channel=st.integers(1, 2047),
    max_body=st.integers(1, 400),
)
def test_frames_are_those_of_the_reference(
    content: bytes,
    content_type: str,
    headers: dict[str, str | int],
    exchange: str,
    key: str,
    mandatory: bool,
    message_id: str,
    channel: int,
    max_body: int,
) -> None:
    message = Outgoing(content, content_type=content_type, headers=headers)
    to = Destination(exchange, key, mandatory)

    assert to_frames(message, to, message_id, channel, max_body) == by_reference(
        message, to, message_id, channel, max_body
    )


@pytest.mark.parametrize("at_most", [255, 256])
def test_a_name_is_at_most_255_bytes_long(at_most: int) -> None:
    to = Destination("webhook.events", "k" * at_most)

    if at_most <= 255:
        assert b"k" * at_most in to_frames(Outgoing(b""), to, "id", 1, 100)
    else:
        with pytest.raises(ValueError, match="255"):
            to_frames(Outgoing(b""), to, "id", 1, 100)
