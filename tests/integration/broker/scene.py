"""A consumer at work, and what a test does on the other side of the broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection

from shared.broker.consumer import Consumer, Handler
from shared.broker.publisher import Publisher
from shared.broker.topology import Names, Queue
from tests.waiting import until


class Broker:
    """The other side: a plain connection, which declares nothing."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, names: Names) -> None:
        self.channel = channel
        self.names = names

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str, names: Names) -> AsyncIterator[Broker]:
        """Look at the broker at `url` until the end of the block."""
        async with await aio_pika.connect(url) as connection:
            yield cls(await connection.channel(), names)

    async def count(self, queue: str) -> int:
        """How many messages are ready in the queue."""
        declared = await self.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def next(self, queue: str, *, seconds: float = 10.0) -> AbstractIncomingMessage:
        """The queue's next message, acked; raises `TimeoutError` when none comes."""
        opened = await self.channel.get_queue(queue, ensure=False)
        found: list[AbstractIncomingMessage] = []

        async def has_come() -> bool:
            message = await opened.get(no_ack=True, fail=False)
            found.extend([message] if message else [])
            return bool(found)

        await until(has_come, seconds=seconds)
        return found[0]

    async def put(self, queue: Queue, body: bytes, **properties: Any) -> None:
        """A message as any program may write one."""
        await self.channel.default_exchange.publish(
            aio_pika.Message(body, **properties), self.names.queue(queue), mandatory=True
        )


@dataclass
class Work:
    """A consumer under way, and the messages that its handler has returned from."""

    task: asyncio.Task[None]
    stop: asyncio.Event
    done: list[bytes] = field(default_factory=list)
    given_back: list[str] = field(default_factory=list)

    async def until_done(self, *bodies: bytes) -> None:
        """Return when the handler has returned from exactly these, in whatever order."""
        await until(lambda: sorted(self.done) == sorted(bodies))


@asynccontextmanager
async def consuming(
    connection: AbstractRobustConnection,
    names: Names,
    publisher: Publisher,
    handler: Handler,
    *,
    prefetch: int = 10,
    grace: float = 5.0,
    before_giving_back: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Work]:
    """Consume the queue of actions with `handler`; in the end stop and see that the consumer ended well."""
    stop = asyncio.Event()

    async def handle(message: AbstractIncomingMessage) -> None:
        await handler(message)
        work.done.append(message.body)

    async def give_back() -> None:
        if before_giving_back is not None:
            await before_giving_back()
        work.given_back.append("given back")

    consumer = Consumer(connection, names, Queue.ACTIONS, publisher, handle, prefetch=prefetch)
    work = Work(asyncio.create_task(consumer.run(stop, grace=grace, before_giving_back=give_back)), stop)
    try:
        yield work
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await work.task
