"""
Everything that exists in RabbitMQ for this service, as one table, declared idempotently by whoever starts first.

Only what RabbitMQ 3.10 and 4.x both have: quorum queues, an explicit delivery limit, a fixed TTL per delay queue, and dead-lettering that
survives a crash (`x-dead-letter-strategy = at-least-once`, which needs `x-overflow = reject-publish`).
A delay queue gives a message back to the queue that its routing key names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractQueue

from shared.event import WebhookEvent


class Exchange(StrEnum):
    """The exchanges, without the installation's prefix."""

    EVENTS = "webhook.events"
    ACTIONS = "webhook.actions"
    RESULTS = "webhook.results"
    DEAD = "webhook.dead"


class Queue(StrEnum):
    """The queues that workers consume, and the one for people."""

    EVENTS = "events"
    ACTIONS = "actions"
    DEAD = "dead"


DELIVERY_LIMIT = 50
DELAYS: tuple[tuple[str, float], ...] = (("1s", 1), ("5s", 5), ("15s", 15), ("1m", 60), ("5m", 300), ("15m", 900))
ACTION_KEY = "run"

_QUORUM = {"x-queue-type": "quorum"}


@dataclass(frozen=True)
class Names:
    """The names of one installation: the same for all its processes, prefixed so that several can share a broker."""

    prefix: str = ""

    def exchange(self, exchange: Exchange) -> str:
        """The exchange's full name."""
        return self.prefix + exchange

    def queue(self, queue: Queue) -> str:
        """The queue's full name."""
        return self.prefix + queue

    def delay(self, name: str) -> str:
        """The full name of a delay queue and of the exchange in front of it."""
        return f"{self.prefix}delay.{name}"


def delay_for(seconds: float) -> str:
    """The name of the shortest delay that is at least this long, or of the longest there is."""
    return next((name for name, length in DELAYS if length >= seconds), DELAYS[-1][0])


def routing_key(event: WebhookEvent) -> str:
    """`{provider}.{kind}.{owner}.{repo}`; dots in names become `_`, and so does a name that is not known."""
    full_name = event.repository.full_name if event.repository else ""
    owner, _, name = full_name.rpartition("/")
    words = (event.provider, event.kind, owner, name)
    # AMQP 0-9-1, section 4.2.5.3: a short string has at most 255 bytes.
    return ".".join(_word(word) for word in words).encode()[:255].decode(errors="ignore")


async def declare(channel: AbstractChannel, names: Names) -> dict[Queue, AbstractQueue]:
    """
    Declare all of it and return the queues; safe to repeat, and safe while others do the same.

    A robust channel remembers what it declared and does so again after each reconnect, so a wiped broker gets its topology back.
    """
    queues: dict[Queue, AbstractQueue] = {}
    for exchange, kind in (
        (Exchange.EVENTS, "topic"),
        (Exchange.ACTIONS, "direct"),
        (Exchange.RESULTS, "topic"),
        (Exchange.DEAD, "fanout"),
    ):
        await channel.declare_exchange(names.exchange(exchange), kind, durable=True)
    for queue, exchange, key in (
        (Queue.EVENTS, Exchange.EVENTS, "#"),
        (Queue.ACTIONS, Exchange.ACTIONS, ACTION_KEY),
        (Queue.DEAD, Exchange.DEAD, ""),
    ):
        arguments = _arguments(queue, names)
        queues[queue] = await channel.declare_queue(names.queue(queue), durable=True, arguments=arguments)
        await queues[queue].bind(names.exchange(exchange), routing_key=key)
    for name, seconds in DELAYS:
        await channel.declare_exchange(names.delay(name), "fanout", durable=True)
        waiting = {**_QUORUM, **_giving_back("", None), "x-message-ttl": int(seconds * 1000)}
        declared = await channel.declare_queue(names.delay(name), durable=True, arguments=waiting)
        await declared.bind(names.delay(name))
    return queues


def _arguments(queue: Queue, names: Names) -> dict[str, Any]:
    if queue is Queue.DEAD:
        return dict(_QUORUM)
    return {
        **_QUORUM,
        **_giving_back(names.exchange(Exchange.DEAD), queue),
        "x-delivery-limit": DELIVERY_LIMIT,
    }


def _giving_back(exchange: str, key: str | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    if key is not None:
        arguments["x-dead-letter-routing-key"] = key
    return arguments


@lru_cache(maxsize=4096)
def _word(name: str) -> str:
    cleaned = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    return cleaned or "_"
