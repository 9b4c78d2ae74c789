"""Publishing: believed when the broker has confirmed it, and `Unavailable` in time when it has not."""

from __future__ import annotations

import asyncio
import time
import traceback

import pytest
from aio_pika.abc import DeliveryMode

from shared.broker.connection import connected
from shared.broker.framing import Outgoing
from shared.broker.publisher import Publisher
from shared.broker.topology import Exchange, Names, Queue
from shared.errors import Misconfigured, Unavailable
from shared.event import Repository, WebhookEvent
from tests.builders import an_event
from tests.integration.broker.conftest import PUBLISH_TIMEOUT
from tests.integration.broker.relay import Relay
from tests.integration.broker.scene import Broker
from tests.waiting import until


async def is_published(publisher: Publisher) -> bool:
    try:
        await publisher.publish_action(Outgoing(b"again"))
    except Unavailable:
        return False
    return True


async def test_an_event_is_in_the_queue_when_publishing_returns(
    publisher: Publisher, names: Names, broker: Broker
) -> None:
    event = an_event(payload={"text": "ü"})
    await publisher.publish_event(event)

    assert await publisher.count_ready(Queue.EVENTS) == 1
    message = await broker.next(names.queue(Queue.EVENTS))
    assert WebhookEvent.from_bytes(message.body) == event
    assert (message.message_id, message.content_type) == (event.id, "application/json")
    assert message.delivery_mode is DeliveryMode.PERSISTENT


async def test_a_subscriber_picks_events_by_their_routing_key(
    publisher: Publisher, names: Names, broker: Broker
) -> None:
    mine = await broker.channel.declare_queue(exclusive=True)
    await mine.bind(names.exchange(Exchange.EVENTS), "github.push.acme.*")
    await publisher.publish_event(an_event(repository=Repository(full_name="other/homelab")))
    await publisher.publish_event(an_event(repository=Repository(full_name="acme/home.lab")))

    message = await broker.next(mine.name)

    assert message.routing_key == "github.push.acme.home_lab"
    assert await broker.count(mine.name) == 0


async def test_a_repository_with_the_longest_of_names_is_published(publisher: Publisher) -> None:
    """AMQP's limit of a routing key is in bytes."""
    await publisher.publish_event(an_event(repository=Repository(full_name="ü" * 300 + "/" + "猫" * 300)))

    assert await publisher.count_ready(Queue.EVENTS) == 1


async def test_a_result_needs_no_listener(publisher: Publisher) -> None:
    await publisher.publish_result("run.started", Outgoing(b"{}"))


async def test_a_listener_gets_results_by_their_type(publisher: Publisher, names: Names, broker: Broker) -> None:
    mine = await broker.channel.declare_queue(exclusive=True)
    await mine.bind(names.exchange(Exchange.RESULTS), "run.*")
    await publisher.publish_result("action.started", Outgoing(b"1"))
    await publisher.publish_result("run.started", Outgoing(b"2", "the id", "application/cloudevents+json"))

    message = await broker.next(mine.name)

    assert (message.body, message.message_id) == (b"2", "the id")
    assert message.content_type == "application/cloudevents+json"


async def test_a_dead_message_waits_for_a_person(publisher: Publisher, names: Names, broker: Broker) -> None:
    await publisher.publish_dead(Outgoing(b"x", headers={"x-kgw-reason": "why"}))

    message = await broker.next(names.queue(Queue.DEAD))
    assert message.headers["x-kgw-reason"] == "why"


@pytest.mark.parametrize("queue", [Queue.EVENTS, Queue.ACTIONS])
async def test_what_is_published_for_later_comes_back_to_its_queue_after_the_delay(
    publisher: Publisher, names: Names, broker: Broker, queue: Queue
) -> None:
    began = time.monotonic()
    await publisher.publish_later(queue, Outgoing(b"later", "the id", headers={"x-kgw-tries": 2}), seconds=0.5)
    assert await publisher.count_ready(queue) == 0

    message = await broker.next(names.queue(queue))

    assert time.monotonic() - began >= 1.0
    assert (message.body, message.message_id, message.headers["x-kgw-tries"]) == (b"later", "the id", 2)


async def test_what_no_queue_takes_is_an_error_and_not_a_loss(
    publisher: Publisher, names: Names, broker: Broker
) -> None:
    await broker.channel.queue_delete(names.queue(Queue.EVENTS))

    with pytest.raises(Unavailable):
        await publisher.publish_event(an_event())

    assert await is_published(publisher)


async def test_two_copies_at_once_that_no_queue_takes_are_two_errors(
    publisher: Publisher, names: Names, broker: Broker
) -> None:
    """The broker says which message it gives back by its id alone, and both have the same."""
    await broker.channel.queue_delete(names.queue(Queue.EVENTS))
    event = an_event()

    ends = await asyncio.gather(*(publisher.publish_event(event) for _ in range(3)), return_exceptions=True)

    assert [type(end) for end in ends] == [Unavailable] * 3


async def test_one_message_that_is_none_does_not_harm_the_others(publisher: Publisher) -> None:
    wrong = publisher.publish_action(Outgoing(b"wrong", content_type="x" * 300))

    ends = await asyncio.gather(publisher.publish_action(Outgoing(b"1")), wrong, return_exceptions=True)
    await publisher.publish_action(Outgoing(b"2"))

    assert [type(end) for end in ends] == [type(None), ValueError]
    assert await publisher.count_ready(Queue.ACTIONS) == 2


async def test_an_exchange_that_somebody_deleted_is_an_error_and_then_there_again(
    publisher: Publisher, names: Names, broker: Broker
) -> None:
    """The broker closes the channel for it; the next one declares all anew."""
    await broker.channel.exchange_delete(names.exchange(Exchange.ACTIONS))

    with pytest.raises(Unavailable):
        await publisher.publish_action(Outgoing(b"x"))

    await until(lambda: is_published(publisher))


async def test_many_at_once_are_all_confirmed(publisher: Publisher) -> None:
    await asyncio.gather(*(publisher.publish_action(Outgoing(str(number).encode())) for number in range(200)))

    assert await publisher.count_ready(Queue.ACTIONS) == 200


async def test_messages_that_are_published_at_once_keep_their_order(
    publisher: Publisher, names: Names, broker: Broker
) -> None:
    """The results of a stream count on it."""
    await asyncio.gather(*(publisher.publish_action(Outgoing(str(number).encode())) for number in range(50)))

    bodies = [(await broker.next(names.queue(Queue.ACTIONS))).body for _ in range(50)]

    assert bodies == [str(number).encode() for number in range(50)]


async def test_a_lost_connection_is_unavailable_at_once_and_then_comes_back(
    relay: Relay, frail_publisher: Publisher
) -> None:
    relay.cut()

    began = time.monotonic()
    with pytest.raises(Unavailable):
        await frail_publisher.publish_event(an_event())
    with pytest.raises(Unavailable):
        await frail_publisher.count_ready(Queue.EVENTS)
    assert time.monotonic() - began < 2 * PUBLISH_TIMEOUT + 1

    relay.mend()
    await until(lambda: is_published(frail_publisher))


async def test_a_connection_that_is_lost_before_the_confirm_is_unavailable(
    relay: Relay, frail_publisher: Publisher
) -> None:
    """Whoever publishes must neither hang nor be cancelled: the ingress still has to answer its sender."""
    relay.hold()
    publishing = [asyncio.create_task(frail_publisher.publish_action(Outgoing(b"x"))) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in publishing)

    relay.cut()
    ends = await asyncio.gather(*publishing, return_exceptions=True)

    assert {type(end) for end in ends} == {Unavailable}


async def test_a_broker_that_hangs_is_unavailable_in_time(relay: Relay, frail_publisher: Publisher) -> None:
    relay.hold()

    began = time.monotonic()
    with pytest.raises(Unavailable):
        await frail_publisher.publish_event(an_event())
    assert PUBLISH_TIMEOUT * 0.9 <= time.monotonic() - began < PUBLISH_TIMEOUT + 1

    relay.mend()
    await until(lambda: is_published(frail_publisher))


async def test_a_closed_connection_is_unavailable(amqp_url: str, names: Names) -> None:
    async with connected(amqp_url, name="test") as connection:
        publisher = await Publisher.open(connection, names, timeout=PUBLISH_TIMEOUT)

    with pytest.raises(Unavailable):
        await publisher.publish_event(an_event())


async def test_the_first_connection_is_awaited(relay: Relay, names: Names) -> None:
    relay.cut()

    async def come() -> None:
        async with connected(relay.url, name="test") as connection:
            await Publisher.open(connection, names)

    coming = asyncio.create_task(come())
    await asyncio.sleep(0.1)
    assert not coming.done()
    relay.mend()

    async with asyncio.timeout(10):
        await coming


async def test_stopping_ends_the_wait_for_the_first_connection(relay: Relay) -> None:
    relay.cut()
    stop = asyncio.Event()

    async def come() -> None:
        async with connected(relay.url, name="test", stop=stop):
            pytest.fail("there is no broker")

    coming = asyncio.create_task(come())
    await asyncio.sleep(0.1)
    stop.set()

    async with asyncio.timeout(5):
        with pytest.raises(Unavailable, match="stopped"):
            await coming


async def test_closing_does_not_wait_for_a_broker_that_is_away(relay: Relay) -> None:
    async with asyncio.timeout(15), connected(relay.url, name="test"):
        relay.hold()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:5672", "http://guest:hunter2@127.0.0.1/", "amqp://guest:hunter2@127.0.0.1:x/"]
)
async def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Misconfigured, match="KGW_AMQP_URL") as raised:
        async with asyncio.timeout(5), connected(url, name="test"):
            pytest.fail("that is no URL")

    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
