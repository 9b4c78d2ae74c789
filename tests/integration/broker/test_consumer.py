"""Consuming: a message is acked when its work is done or its successor is safe, and nothing stops the worker."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from pydantic import ValidationError

from shared.broker.connection import connected
from shared.broker.consumer import MAX_TRIES_AFTER_DEFECT, tries_of
from shared.broker.framing import Outgoing
from shared.broker.publisher import QUEUE_HEADER, REASON_HEADER, TRIES_HEADER, Publisher
from shared.broker.topology import Names, Queue
from shared.errors import Busy, KgwError, Permanent, Poison, RateLimited, Transient, Unavailable
from shared.event import WebhookEvent
from tests.builders import an_event
from tests.integration.broker.conftest import PUBLISH_TIMEOUT
from tests.integration.broker.relay import Relay
from tests.integration.broker.scene import Broker, consuming
from tests.waiting import until


class Handler:
    """Notes what it was handed, and fails where the test says so; `gate` keeps it at work until it is opened."""

    def __init__(self) -> None:
        self.seen: list[AbstractIncomingMessage] = []
        self.errors: dict[bytes, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled: list[bytes] = []

    async def __call__(self, message: AbstractIncomingMessage) -> None:
        self.seen.append(message)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(message.body)
            raise
        if error := self.errors.get(message.body):
            raise error

    async def until_seen(self, count: int) -> None:
        await until(lambda: len(self.seen) >= count)


@pytest.fixture
def handler() -> Handler:
    return Handler()


async def test_what_is_published_is_handled_and_gone(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    async with consuming(connection, names, publisher, handler) as work:
        await publisher.publish_action(Outgoing(b"one"))
        await publisher.publish_action(Outgoing(b"two"))
        await work.until_done(b"one", b"two")

    assert await broker.count(names.queue(Queue.ACTIONS)) == 0
    assert work.given_back == ["given back"]


async def test_a_message_is_acked_only_after_the_handler_has_returned(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    handler.gate.clear()
    async with consuming(connection, names, publisher, handler) as work:
        await publisher.publish_action(Outgoing(b"at work"))
        await handler.until_seen(1)
        assert not handler.seen[0].processed  # what aio-pika calls acked or rejected
        handler.gate.set()
        await until(lambda: handler.seen[0].processed)

        assert work.done == [b"at work"]


async def test_not_more_than_the_prefetch_is_in_hand(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    handler.gate.clear()
    async with consuming(connection, names, publisher, handler, prefetch=2) as work:
        for number in range(5):
            await publisher.publish_action(Outgoing(str(number).encode()))
        await handler.until_seen(2)

        assert await broker.count(names.queue(Queue.ACTIONS)) == 3
        handler.gate.set()
        await work.until_done(*(str(number).encode() for number in range(5)))


@pytest.mark.parametrize("kind", [Poison, Permanent])
async def test_what_no_worker_can_handle_is_buried_with_its_reason_and_the_worker_lives_on(
    connection: AbstractRobustConnection,
    names: Names,
    publisher: Publisher,
    broker: Broker,
    handler: Handler,
    kind: type[KgwError],
) -> None:
    handler.errors[b"poison"] = kind("it is bad " + "x" * 1000)
    async with consuming(connection, names, publisher, handler) as work:
        await publisher.publish_action(Outgoing(b"poison", "the id", "text/plain", {"x-mine": 1}))
        await publisher.publish_action(Outgoing(b"good"))
        dead = await broker.next(names.queue(Queue.DEAD))
        await work.until_done(b"good")

    assert (dead.body, dead.message_id, dead.content_type) == (b"poison", "the id", "text/plain")
    assert dead.headers["x-mine"] == 1
    assert dead.headers[QUEUE_HEADER] == "actions"
    assert str(dead.headers[REASON_HEADER]).startswith("it is bad")
    assert len(str(dead.headers[REASON_HEADER])) == 500
    assert await broker.count(names.queue(Queue.ACTIONS)) == 0


# What any program may put into the queue: no properties at all, headers of any kind, no JSON, no text.
FOREIGN: dict[str, tuple[bytes, dict[str, Any]]] = {
    "empty": (b"", {}),
    "no JSON": (b"{", {}),
    "no text": (b"\xff\xfe\x00", {"content_type": "application/json"}),
    "another JSON": (b'{"id": 1}', {"message_id": "x" * 200}),
    "strange headers": (b"[]", {"headers": {TRIES_HEADER: "many", "nested": {"a": [1, None]}, REASON_HEADER: 5}}),
    "negative tries": (b"[]", {"headers": {TRIES_HEADER: -1}}),
}


@pytest.mark.parametrize(("body", "properties"), FOREIGN.values(), ids=FOREIGN)
async def test_a_malformed_message_is_buried_as_it_was(
    connection: AbstractRobustConnection,
    names: Names,
    publisher: Publisher,
    broker: Broker,
    body: bytes,
    properties: dict[str, Any],
) -> None:
    async def parse(message: AbstractIncomingMessage) -> None:
        assert tries_of(message) == 0
        try:
            WebhookEvent.from_bytes(message.body)
        except ValidationError as error:
            raise Poison("not an event") from error

    async with consuming(connection, names, publisher, parse) as work:
        await broker.put(Queue.ACTIONS, body, **properties)
        dead = await broker.next(names.queue(Queue.DEAD))
        good = an_event().to_bytes()
        await broker.put(Queue.ACTIONS, good)
        await work.until_done(good)

    assert dead.body == body
    assert dead.headers[REASON_HEADER] == "not an event"


@pytest.mark.parametrize(
    "error",
    [Transient("a"), RateLimited("a", retry_after=0.5), Busy("a"), Unavailable("a"), KgwError("a")],
    ids=lambda error: type(error).__name__,
)
async def test_what_may_pass_is_tried_again_after_a_while_with_its_number_of_tries(
    connection: AbstractRobustConnection,
    names: Names,
    publisher: Publisher,
    broker: Broker,
    handler: Handler,
    error: Exception,
) -> None:
    handler.errors[b"x"] = error
    async with consuming(connection, names, publisher, handler):
        await publisher.publish_action(Outgoing(b"x", "the id", "text/plain"))
        waiting = await broker.next(names.delay("1s"))

    assert tries_of(waiting) == 1
    assert (waiting.body, waiting.message_id, waiting.content_type) == (b"x", "the id", "text/plain")
    assert await broker.count(names.queue(Queue.ACTIONS)) == await broker.count(names.queue(Queue.DEAD)) == 0


async def test_a_postponed_message_comes_again_after_its_delay(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    handler.errors[b"x"] = Transient("away")
    async with consuming(connection, names, publisher, handler) as work:
        began = time.monotonic()
        await publisher.publish_action(Outgoing(b"x"))
        await handler.until_seen(1)
        del handler.errors[b"x"]
        await work.until_done(b"x")

    assert time.monotonic() - began >= 1.0
    assert [tries_of(message) for message in handler.seen] == [0, 1]


async def test_the_wait_grows_with_the_tries_and_has_an_end(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    handler.errors = {str(tries).encode(): Transient("away") for tries in range(6)}
    async with consuming(connection, names, publisher, handler):
        for tries in range(1, 6):
            await broker.put(Queue.ACTIONS, str(tries).encode(), headers={TRIES_HEADER: tries})

        waiting = {name: await broker.next(names.delay(name)) for name in ("5s", "15s")}
        longest = [await broker.next(names.delay("1m")) for _ in range(3)]

    assert [(name, message.body) for name, message in waiting.items()] == [("5s", b"1"), ("15s", b"2")]
    assert sorted((message.body, message.headers[TRIES_HEADER]) for message in longest) == [
        (b"3", 4),
        (b"4", 5),
        (b"5", 6),
    ]


async def test_a_rate_limit_decides_how_long(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    handler.errors[b"x"] = RateLimited("come back in four minutes", retry_after=240)
    async with consuming(connection, names, publisher, handler):
        await publisher.publish_action(Outgoing(b"x"))

        assert (await broker.next(names.delay("5m"))).body == b"x"


async def test_a_defect_of_ours_neither_stops_the_worker_nor_loses_the_message(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    handler.errors[b"defect"] = ZeroDivisionError("the value of a secret")
    async with consuming(connection, names, publisher, handler) as work:
        await broker.put(Queue.ACTIONS, b"defect", headers={TRIES_HEADER: MAX_TRIES_AFTER_DEFECT - 2})
        postponed_message = await broker.next(names.delay("1m"))
        await publisher.publish_action(Outgoing(b"good"))
        await work.until_done(b"good")

    assert postponed_message.headers[TRIES_HEADER] == MAX_TRIES_AFTER_DEFECT - 1
    assert await broker.count(names.queue(Queue.DEAD)) == 0


async def test_a_defect_is_tried_five_times_and_then_buried(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    handler.errors[b"defect"] = ZeroDivisionError("the value of a secret")
    async with consuming(connection, names, publisher, handler):
        await publisher.publish_action(Outgoing(b"defect"))
        for delay in ("1s", "5s", "15s", "1m"):
            waiting = await broker.next(names.delay(delay))
            await broker.put(Queue.ACTIONS, waiting.body, headers=waiting.headers)  # its delay, made short
        dead = await broker.next(names.queue(Queue.DEAD))

    assert len(handler.seen) == MAX_TRIES_AFTER_DEFECT
    assert dead.headers[REASON_HEADER] == "failed 5 times, last with ZeroDivisionError"


async def test_a_message_whose_successor_finds_no_place_is_given_back_when_there_is_one(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    """The broker is there, so that nothing but the worker itself would ever give the message back."""
    handler.errors[b"x"] = Transient("away")
    async with consuming(connection, names, publisher, handler) as work:
        await publisher.publish_action(Outgoing(b"first"))
        await work.until_done(b"first")
        await broker.channel.queue_delete(names.delay("1s"))
        await publisher.publish_action(Outgoing(b"x"))
        await handler.until_seen(2)
        with pytest.raises(Unavailable):
            await publisher.publish_later(Queue.ACTIONS, Outgoing(b"another"), seconds=1)
        del handler.errors[b"x"]
        await Publisher.open(connection, names)

        await work.until_done(b"first", b"x")
    assert await broker.count(names.queue(Queue.ACTIONS)) == 0


async def test_a_lost_connection_lets_the_work_end_and_the_message_comes_again(
    relay: Relay, frail_connection: AbstractRobustConnection, frail_publisher: Publisher, names: Names, handler: Handler
) -> None:
    handler.gate.clear()
    async with consuming(frail_connection, names, frail_publisher, handler) as work:
        await frail_publisher.publish_action(Outgoing(b"x"))
        await handler.until_seen(1)
        relay.lose()
        await handler.until_seen(2)

        assert handler.cancelled == []
        handler.gate.set()
        await until(lambda: work.done == [b"x", b"x"])

    assert [bool(message.redelivered) for message in handler.seen] == [False, True]


async def test_a_consumer_goes_on_after_every_lost_connection(
    relay: Relay,
    frail_connection: AbstractRobustConnection,
    frail_publisher: Publisher,
    publisher: Publisher,
    names: Names,
    handler: Handler,
) -> None:
    async with consuming(frail_connection, names, frail_publisher, handler) as work:
        for number in range(3):
            await publisher.publish_action(Outgoing(str(number).encode()))
            await until(lambda number=number: str(number).encode() in work.done)  # type: ignore[misc]
            relay.lose()


async def test_a_queue_that_somebody_deleted_is_declared_and_consumed_again(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    async def is_published() -> bool:
        try:
            await publisher.publish_action(Outgoing(b"after"))
        except Unavailable:
            return False
        return True

    async with consuming(connection, names, publisher, handler) as work:
        await publisher.publish_action(Outgoing(b"before"))
        await work.until_done(b"before")
        await broker.channel.queue_delete(names.queue(Queue.ACTIONS))

        await until(is_published)
        await until(lambda: b"after" in work.done)


async def test_a_broker_that_goes_away_while_a_message_fails_delivers_it_again(
    relay: Relay, frail_connection: AbstractRobustConnection, frail_publisher: Publisher, names: Names, handler: Handler
) -> None:
    """Neither the successor nor the ack got through."""
    handler.errors[b"x"] = Transient("away")
    handler.gate.clear()
    async with consuming(frail_connection, names, frail_publisher, handler) as work:
        await frail_publisher.publish_action(Outgoing(b"x"))
        await handler.until_seen(1)
        relay.cut()
        handler.gate.set()
        await asyncio.sleep(PUBLISH_TIMEOUT / 4)
        del handler.errors[b"x"]
        relay.mend()

        await until(lambda: b"x" in work.done)


async def test_stopping_lets_the_work_end_within_its_grace_and_takes_nothing_more(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    published = 1

    async def is_left_in_the_queue() -> bool:
        nonlocal published
        await publisher.publish_action(Outgoing(b"late"))
        published += 1
        return await broker.count(names.queue(Queue.ACTIONS)) > 0

    handler.gate.clear()
    async with consuming(connection, names, publisher, handler, prefetch=100, grace=10) as work:
        await publisher.publish_action(Outgoing(b"in hand"))
        await handler.until_seen(1)
        work.stop.set()
        await until(is_left_in_the_queue)
        handler.gate.set()

    assert work.done == [message.body for message in handler.seen]
    assert work.given_back == ["given back"]
    assert await broker.count(names.queue(Queue.ACTIONS)) == published - len(handler.seen) > 0


@pytest.mark.parametrize("grace", [0.0, 0.2])
async def test_what_does_not_end_in_time_goes_back_to_the_queue(
    connection: AbstractRobustConnection,
    names: Names,
    publisher: Publisher,
    broker: Broker,
    handler: Handler,
    grace: float,
) -> None:
    handler.gate.clear()
    async with consuming(connection, names, publisher, handler, grace=grace) as work:
        await publisher.publish_action(Outgoing(b"slow"))
        await handler.until_seen(1)

    assert handler.cancelled == [b"slow"]
    assert work.done == []
    assert work.given_back == ["given back"]
    assert (await broker.next(names.queue(Queue.ACTIONS))).redelivered


async def test_nothing_is_given_back_before_the_leases_are(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker, handler: Handler
) -> None:
    """The next worker would find them held by one that has gone."""
    still_ours: list[bool] = []

    async def look() -> None:
        still_ours.append(not handler.seen[0].channel.is_closed)

    handler.gate.clear()
    async with consuming(connection, names, publisher, handler, grace=0.1, before_giving_back=look):
        await publisher.publish_action(Outgoing(b"slow"))
        await handler.until_seen(1)

    assert still_ours == [True]
    assert (await broker.next(names.queue(Queue.ACTIONS))).redelivered


async def test_stopping_while_the_broker_is_away_does_not_hang(relay: Relay, names: Names, handler: Handler) -> None:
    handler.gate.clear()
    async with asyncio.timeout(25), connected(relay.url, name="test") as connection:
        publisher = await Publisher.open(connection, names, timeout=PUBLISH_TIMEOUT)
        async with consuming(connection, names, publisher, handler, grace=0.5) as work:
            await publisher.publish_action(Outgoing(b"x"))
            await handler.until_seen(1)
            relay.cut()

    assert work.given_back == ["given back"]
    assert handler.cancelled == [b"x"]
