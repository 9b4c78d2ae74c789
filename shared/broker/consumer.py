"""
Consuming: one handler per queue, one task per message, ack after the handler has returned.

The handler's error decides what becomes of the message: `Poison` goes to `webhook.dead` with its reason, everything that may pass goes through a
delay queue with its number of tries, and a message is acked only when its successor is confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from aio_pika.exceptions import AMQPError

from shared import logs, metrics
from shared.broker.framing import Outgoing
from shared.broker.publisher import QUEUE_HEADER, REASON_HEADER, TRIES_HEADER, Publisher
from shared.broker.topology import Names, Queue, declare
from shared.errors import KgwError, Permanent, Poison, Transient, Unavailable

log = logs.get_logger()

Handler = Callable[[AbstractIncomingMessage], Awaitable[None]]

MAX_TRIES_AFTER_DEFECT = 5
AGAIN_SECONDS = 1.0
LEAVING_SECONDS = 5.0
_WAITS = (1.0, 5.0, 15.0, 60.0)


@dataclass(frozen=True)
class _Bury:
    """To `webhook.dead`, for a person."""

    reason: str


@dataclass(frozen=True)
class _Postpone:
    """To a delay queue, as the try of that number, for so many seconds."""

    tries: int
    seconds: float
    reason: str


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
        self._is_stopping = False

    async def run(
        self, stop: asyncio.Event, *, grace: float, before_giving_back: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """
        Consume until `stop` is set, then give what is in hand `grace` seconds; the rest goes back to the queue, after `before_giving_back`.
        """
        channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = (await declare(channel, self._names))[self._queue]
        tag = await queue.consume(self._take)
        await stop.wait()
        self._is_stopping = True
        await _quietly(queue.cancel(tag))
        try:
            async with asyncio.timeout(grace):
                while self._in_hand:
                    await asyncio.wait(self._in_hand)
        except TimeoutError:
            log.info("work_left_behind", queue=self._queue, messages=len(self._in_hand))
        left = list(self._in_hand)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if before_giving_back is not None:
            await before_giving_back()
        await _quietly(channel.close())

    async def _take(self, message: AbstractIncomingMessage) -> None:
        if self._is_stopping:
            return  # it goes back with the channel
        # A task of our own: aiormq cancels its callbacks when the connection is lost, and half an action is worse than a whole one
        # whose ack fails.
        task = asyncio.create_task(self._handle(message), name=f"{self._queue}-{message.delivery_tag}")
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        verdict = await self._try(message)
        try:
            if verdict is None or await self._carry_out(message, verdict):
                await message.ack()
        except (AMQPError, OSError, RuntimeError) as error:
            log.info("ack_failed", queue=self._queue, error=type(error).__name__)

    async def _try(self, message: AbstractIncomingMessage) -> _Bury | _Postpone | None:
        try:
            await self._handler(message)
        except (Poison, Permanent) as error:
            return _Bury(error.reason)
        except KgwError as error:
            return _postpone(message, error)
        except Exception as error:
            # A defect of ours must neither stop the worker nor lose the message.
            log.exception("message_failed", queue=self._queue)
            if tries_of(message) + 1 >= MAX_TRIES_AFTER_DEFECT:
                return _Bury(f"failed {MAX_TRIES_AFTER_DEFECT} times, last with {type(error).__name__}")
            return _postpone(message, Transient(f"unexpected {type(error).__name__}"))
        return None

    async def _carry_out(self, message: AbstractIncomingMessage, verdict: _Bury | _Postpone) -> bool:
        """
        Publish what follows the message; False when the connection was lost over it, so that the broker delivers the message anew.

        While the connection lives nobody else would give the message back: a broker that takes nothing (a disk alarm, a missing queue) is asked
        again until it does.
        """
        while not message.channel.is_closed:
            try:
                await self._publish(message, verdict)
            except Unavailable as error:
                log.warning("broker_takes_nothing", queue=self._queue, reason=error.reason)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return True
        return False

    async def _publish(self, message: AbstractIncomingMessage, verdict: _Bury | _Postpone) -> None:
        if isinstance(verdict, _Postpone):
            await self._publisher.publish_later(self._queue, _again(message, verdict.tries), seconds=verdict.seconds)
            log.info("message_postponed", queue=self._queue, tries=verdict.tries, reason=verdict.reason)
            return
        headers = {**dict(message.headers), REASON_HEADER: verdict.reason[:500], QUEUE_HEADER: str(self._queue)}
        await self._publisher.publish_dead(
            Outgoing(message.body, message.message_id, message.content_type or "application/octet-stream", headers)
        )
        log.error("message_dead", queue=self._queue, reason=verdict.reason)
        metrics.DEAD.labels(queue=str(self._queue)).inc()


def tries_of(message: AbstractIncomingMessage) -> int:
    """How often the message has already been postponed by us."""
    tries = message.headers.get(TRIES_HEADER)
    return tries if isinstance(tries, int) and tries >= 0 else 0


def _postpone(message: AbstractIncomingMessage, error: KgwError) -> _Postpone:
    tries = tries_of(message) + 1
    wait = getattr(error, "retry_after", None) or _WAITS[min(tries, len(_WAITS)) - 1]
    return _Postpone(tries, wait, error.reason)


def _again(message: AbstractIncomingMessage, tries: int) -> Outgoing:
    return Outgoing(message.body, message.message_id, message.content_type or "application/json", {TRIES_HEADER: tries})


async def _quietly(leaving: Awaitable[object]) -> None:
    # A broker that is away needs no good-bye.
    try:
        async with asyncio.timeout(LEAVING_SECONDS):
            await leaving
    except (TimeoutError, AMQPError, OSError, RuntimeError) as error:
        log.debug("not_left_in_good_order", error=type(error).__name__)
