"""The topology: whoever comes first declares it, and a wiped broker gets it back."""

from __future__ import annotations

import asyncio

from aio_pika.abc import AbstractRobustConnection

from dev.rabbitmq import Node
from shared.broker.connection import connected
from shared.broker.framing import Outgoing
from shared.broker.publisher import Publisher
from shared.broker.topology import DELAYS, Names, Queue, declare
from shared.errors import Unavailable
from tests.builders import an_event
from tests.drills import broker as node
from tests.integration.broker.scene import Broker, consuming
from tests.waiting import until


async def test_declaring_again_changes_nothing(connection: AbstractRobustConnection, names: Names) -> None:
    channel = await connection.channel()

    first = await declare(channel, names)
    second = await declare(channel, names)

    assert set(first) == set(second) == set(Queue)
    assert first[Queue.EVENTS].name == names.prefix + "events"


async def test_processes_that_start_together_all_declare(amqp_url: str, names: Names, broker: Broker) -> None:
    async def start(name: str) -> None:
        async with connected(amqp_url, name=name) as connection:
            await Publisher.open(connection, names)

    await asyncio.gather(*(start(f"process {number}") for number in range(3)))

    for queue in (*map(names.queue, Queue), *(names.delay(name) for name, _ in DELAYS)):
        assert await broker.count(queue) == 0


async def test_installations_with_different_prefixes_do_not_see_each_other(
    connection: AbstractRobustConnection, names: Names, publisher: Publisher, broker: Broker
) -> None:
    other = Names(f"{names.prefix}other.")
    channel = await connection.channel()
    try:
        await declare(channel, other)
        await publisher.publish_event(an_event())

        assert await broker.count(other.queue(Queue.EVENTS)) == 0
        assert await broker.count(names.queue(Queue.EVENTS)) == 1
    finally:
        delays = [other.delay(name) for name, _ in DELAYS]
        for queue in (*map(other.queue, Queue), *delays):
            await broker.channel.queue_delete(queue)
        exchanges = ("webhook.events", "webhook.actions", "webhook.results", "webhook.dead")
        for exchange in (*(other.prefix + exchange for exchange in exchanges), *delays):
            await broker.channel.exchange_delete(exchange)


async def test_a_message_that_the_broker_confirmed_survives_its_crash(own_broker: Node, amqp_prefix: str) -> None:
    names, event = Names(amqp_prefix), an_event()
    async with connected(own_broker.url, name="test") as connection:
        publisher = await Publisher.open(connection, names)
        await publisher.publish_event(event)
        await node.settled(own_broker, names.prefix)
        await node.kill(own_broker)
        await node.start(own_broker)

        async with Broker.at(own_broker.url, names) as broker:
            message = await broker.next(names.queue(Queue.EVENTS), seconds=30)

    assert message.message_id == event.id


async def test_a_wiped_broker_gets_its_topology_and_its_consumers_back(own_broker: Node, amqp_prefix: str) -> None:
    names = Names(amqp_prefix)

    async def handle(_: object) -> None:
        return

    async def is_published() -> bool:
        try:
            await publisher.publish_action(Outgoing(b"after"))
        except Unavailable:
            return False
        return True

    async with connected(own_broker.url, name="test") as connection:
        publisher = await Publisher.open(connection, names, timeout=2)
        async with consuming(connection, names, publisher, handle) as work:
            await publisher.publish_action(Outgoing(b"before"))
            await work.until_done(b"before")
            work.done.clear()
            await node.wipe(own_broker)

            await until(is_published, seconds=30)
            await until(lambda: b"after" in work.done)
            await publisher.publish_later(Queue.ACTIONS, Outgoing(b"later"), seconds=1)
            await until(lambda: b"later" in work.done)
