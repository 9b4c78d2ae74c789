"""
Results in, fan-out to whoever follows a run or a delivery.

The console is a subscriber like any other: one exclusive queue on `webhook.results`, declared anew after each reconnect. Nothing here grows without
bound: a follower that does not keep up is let go, and the queue drops its oldest; the store has what was missed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustConnection
from pydantic import ValidationError
from uuid_utils import uuid7

from shared import logs
from shared.broker.topology import Exchange, Names, declare
from shared.results import Result

log = logs.get_logger()

BUFFERED = 1_000
MAX_FOLLOWERS = 500
QUEUED = 50_000


class Follower:
    """One open stream: the results that have come and are not sent yet."""

    def __init__(self) -> None:
        self.has_ended = False
        self._waiting: deque[Result] = deque()
        self._news = asyncio.Event()

    def offer(self, result: Result) -> None:
        """Add a result, or give up on the follower when its buffer is full."""
        if len(self._waiting) >= BUFFERED:
            self.end()
        elif not self.has_ended:
            self._waiting.append(result)
            self._news.set()

    def end(self) -> None:
        """Let the follower go; it comes back with the id of the last event that it saw."""
        self.has_ended = True
        self._waiting.clear()
        self._news.set()

    async def next(self) -> Result | None:
        """The next result; None when the follower is let go."""
        while not (self._waiting or self.has_ended):
            self._news.clear()
            await self._news.wait()
        return None if self.has_ended else self._waiting.popleft()


class Following:
    """Everyone who follows something, by the id of the run or delivery."""

    def __init__(self) -> None:
        self._followers: dict[str, set[Follower]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return sum(map(len, self._followers.values()))

    @property
    def is_full(self) -> bool:
        """Whether there are as many followers as one console takes."""
        return len(self) >= MAX_FOLLOWERS

    @contextmanager
    def follow(self, subject: str) -> Iterator[Follower]:
        """Hear of every result about the run or delivery until the end of the block."""
        follower = Follower()
        if self._is_closed:
            follower.end()
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

    def close(self) -> None:
        """Let everyone go, and whoever still comes."""
        self._is_closed = True
        for followers in self._followers.values():
            for follower in followers:
                follower.end()

    async def consume(self, connection: AbstractRobustConnection, names: Names) -> AbstractRobustChannel:
        """Begin to hear; the channel is `ready()` again when aio-pika has declared queue and binding anew after a reconnect."""
        channel = await connection.channel()
        assert isinstance(channel, AbstractRobustChannel)  # noqa: S101  narrows the type of a robust connection's channel
        await declare(channel, names)
        # A name of our own: one that the broker made up can not be declared again after a reconnect (AMQP 0-9-1 reserves "amq.").
        name = f"{names.prefix}console.{uuid7()}"
        queue = await channel.declare_queue(
            name, exclusive=True, auto_delete=True, arguments={"x-max-length": QUEUED, "x-overflow": "drop-head"}
        )
        await queue.bind(names.exchange(Exchange.RESULTS), routing_key="#")
        await queue.consume(self._take, no_ack=True)
        return channel

    async def _take(self, message: AbstractIncomingMessage) -> None:
        try:
            self.tell(Result.from_cloudevent(orjson.loads(message.body)))
        except (orjson.JSONDecodeError, ValidationError, KeyError, ValueError, TypeError, AttributeError) as error:
            log.warning("not_a_result", error=type(error).__name__)
