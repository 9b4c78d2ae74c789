"""
Results in, fan-out to whoever follows a run or a delivery.

The console is a subscriber like any other: one exclusive queue on `webhook.results`, declared anew after each reconnect. A follower that does
not keep up is let go; it comes back with the id of the last event that it saw, and the store has the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import structlog
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from pydantic import ValidationError

from shared.broker.topology import Exchange, Names, declare
from shared.results import Result

log = structlog.get_logger()

BUFFERED = 1_000
PREFETCH = 200


class Follower:
    """One open stream: the results that have come and are not sent yet."""

    def __init__(self) -> None:
        self.results: asyncio.Queue[Result] = asyncio.Queue(BUFFERED)
        self.fell_behind = asyncio.Event()

    def offer(self, result: Result) -> None:
        """Add a result, or give up on the follower when its buffer is full."""
        try:
            self.results.put_nowait(result)
        except asyncio.QueueFull:
            self.fell_behind.set()


class Following:
    """Everyone who follows something, by the id of the run or delivery."""

    def __init__(self) -> None:
        self._followers: dict[str, set[Follower]] = {}

    @contextmanager
    def follow(self, subject: str) -> Iterator[Follower]:
        """Hear of every result about the run or delivery until the end of the block."""
        follower = Follower()
        self._followers.setdefault(subject, set()).add(follower)
        try:
            yield follower
        finally:
            others = self._followers[subject]
            others.discard(follower)
            if not others:
                del self._followers[subject]

    def tell(self, result: Result) -> None:
        """Hand the result to whoever follows its run or its delivery."""
        for subject in {result.delivery_id, result.run_id}:
            if subject is not None:
                for follower in self._followers.get(subject, ()):
                    follower.offer(result)

    async def consume(self, connection: AbstractRobustConnection, names: Names) -> None:
        """Begin to hear; aio-pika declares queue and binding again after a reconnect."""
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        await declare(channel, names)
        queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(names.exchange(Exchange.RESULTS), routing_key="#")
        await queue.consume(self._take, no_ack=True)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        try:
            self.tell(Result.from_cloudevent(orjson.loads(message.body)))
        except (orjson.JSONDecodeError, ValidationError, KeyError, ValueError, TypeError) as error:
            log.warning("not_a_result", error=type(error).__name__)
