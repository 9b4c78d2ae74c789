"""
Consuming: one handler per queue, one task per message, ack after the handler has returned.

The handler's error decides what becomes of the message: `Poison` goes to `webhook.dead` with its reason, everything that may pass goes through a
delay queue with its number of tries, and a message is acked only when its successor is confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from aio_pika.exceptions import AMQPError

from shared import metrics
from shared.broker.publisher import QUEUE_HEADER, REASON_HEADER, TRIES_HEADER, Outgoing, Publisher
from shared.broker.topology import Names, Queue, declare
from shared.errors import KgwError, Poison, Transient, Unavailable

log = structlog.get_logger()

Handler = Callable[[AbstractIncomingMessage], Awaitable[None]]

MAX_TRIES_AFTER_DEFECT = 5
_WAITS = (1.0, 5.0, 15.0, 60.0)


class Consumer:
    """
    Consumes one queue until told to stop. Up to `prefetch` messages are in hand at once.

    After a lost connection aio-pika declares the topology and consumes again by itself; the broker then delivers anew what was not acked.
    """

    def __init__(
        self,
        connection: AbstractRobustConnection,
        names: Names,
        queue: Queue,
        publisher: Publisher,
        handler: Handler,
        *,
        prefetch: int,
    ) -> None:
        self._connection = connection
        self._names = names
        self._queue = queue
        self._publisher = publisher
        self._handler = handler
        self._prefetch = prefetch
        self._in_hand: set[asyncio.Task[None]] = set()

    async def run(
        self, stop: asyncio.Event, *, grace: float, before_giving_back: Callable[[], Awaitable[None]]
    ) -> None:
        """
        Consume until `stop` is set, then give what is in hand `grace` seconds; the rest goes back to the queue, after `before_giving_back`.
        """
        channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = (await declare(channel, self._names))[self._queue]
        tag = await queue.consume(self._take)
        await stop.wait()
        try:
            async with asyncio.timeout(grace):
                await queue.cancel(tag)
                while self._in_hand:
                    await asyncio.wait(self._in_hand)
        except (TimeoutError, AMQPError, OSError, RuntimeError):
            log.info("work_left_behind", queue=self._queue, messages=len(self._in_hand))
        for task in self._in_hand:
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)
        await before_giving_back()
        await _close_quietly(channel.close())

    async def _take(self, message: AbstractIncomingMessage) -> None:
        # A task of our own: aiormq cancels its callbacks when the connection is lost, and half an action is worse than a whole one
        # whose ack fails.
        task = asyncio.create_task(self._handle(message), name=f"{self._queue}-{message.delivery_tag}")
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        try:
            try:
                await self._handler(message)
            except Poison as error:
                await self._bury(message, error.reason)
            except KgwError as error:
                await self._postpone(message, error)
            except Exception as error:
                await self._survive(message, error)
            await message.ack()
        except Unavailable as error:
            # Not acked: the broker delivers it again once it is back.
            log.warning("broker_away", queue=self._queue, reason=error.reason)
        except (AMQPError, OSError, RuntimeError) as error:
            log.info("ack_failed", queue=self._queue, error=type(error).__name__)

    async def _postpone(self, message: AbstractIncomingMessage, error: KgwError) -> None:
        tries = tries_of(message) + 1
        wait = getattr(error, "retry_after", None) or _WAITS[min(tries, len(_WAITS)) - 1]
        log.info("message_postponed", queue=self._queue, tries=tries, seconds=wait, reason=error.reason)
        await self._publisher.publish_later(self._queue, _again(message, tries), seconds=wait)

    async def _survive(self, message: AbstractIncomingMessage, error: Exception) -> None:
        # A defect of ours must neither stop the worker nor lose the message.
        log.exception("message_failed", queue=self._queue)
        if tries_of(message) + 1 >= MAX_TRIES_AFTER_DEFECT:
            await self._bury(message, f"failed {MAX_TRIES_AFTER_DEFECT} times, last with {type(error).__name__}")
            return
        await self._postpone(message, Transient(f"unexpected {type(error).__name__}"))

    async def _bury(self, message: AbstractIncomingMessage, reason: str) -> None:
        log.error("message_dead", queue=self._queue, reason=reason)
        metrics.DEAD.labels(queue=str(self._queue)).inc()
        headers = {**dict(message.headers), REASON_HEADER: reason[:500], QUEUE_HEADER: str(self._queue)}
        await self._publisher.publish_dead(
            Outgoing(message.body, message.message_id, message.content_type or "application/octet-stream", headers)
        )


def tries_of(message: AbstractIncomingMessage) -> int:
    """How often the message has already been postponed by us."""
    tries = message.headers.get(TRIES_HEADER)
    return tries if isinstance(tries, int) and tries >= 0 else 0


def _again(message: AbstractIncomingMessage, tries: int) -> Outgoing:
    return Outgoing(message.body, message.message_id, message.content_type or "application/json", {TRIES_HEADER: tries})


async def _close_quietly(closing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(5):
            await closing
    except (TimeoutError, AMQPError, OSError, RuntimeError) as error:
        log.debug("channel_close_failed", error=type(error).__name__)
