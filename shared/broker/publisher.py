"""
Publishing: persistent, and believed only when the broker has confirmed it.

What must reach a queue is `mandatory`, so that a missing binding is an error and not a loss.
"""

from __future__ import annotations

import asyncio

from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import AMQPError, DeliveryError

from shared.broker.framing import Destination, Outgoing
from shared.broker.outbox import Outbox
from shared.broker.topology import ACTION_KEY, Exchange, Names, Queue, declare, delay_for, routing_key
from shared.errors import Unavailable
from shared.event import WebhookEvent

TRIES_HEADER = "x-kgw-tries"
REASON_HEADER = "x-kgw-reason"
QUEUE_HEADER = "x-kgw-queue"


class Publisher:
    """
    One channel with confirms. Every method raises `Unavailable` when the broker did not confirm within `timeout` seconds; the message may
    still have arrived, so receivers live with a second copy.
    """

    def __init__(self, channel: AbstractRobustChannel, names: Names, *, timeout: float) -> None:
        self._channel = channel
        self._outbox = Outbox(channel, timeout=timeout)
        self._names = names
        self._timeout = timeout

    @classmethod
    async def open(cls, connection: AbstractRobustConnection, names: Names, *, timeout: float = 10.0) -> Publisher:
        """A publisher on a channel of its own, which declares the topology now and after each reconnect."""
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        assert isinstance(channel, AbstractRobustChannel)  # noqa: S101  narrows the type of a robust connection's channel
        await declare(channel, names)
        return cls(channel, names, timeout=timeout)

    async def publish_event(self, event: WebhookEvent) -> None:
        """To `webhook.events`."""
        message = Outgoing(event.to_bytes(), message_id=event.id)
        await self._send(self._names.exchange(Exchange.EVENTS), routing_key(event), message, mandatory=True)

    async def publish_action(self, message: Outgoing) -> None:
        """To `webhook.actions`: a worker takes it at once."""
        await self._send(self._names.exchange(Exchange.ACTIONS), ACTION_KEY, message, mandatory=True)

    async def publish_later(self, queue: Queue, message: Outgoing, *, seconds: float) -> None:
        """To the delay queue of at least that many seconds, which gives it back to `queue`."""
        delay = self._names.delay(delay_for(seconds))
        await self._send(delay, self._names.queue(queue), message, mandatory=True)

    async def publish_dead(self, message: Outgoing) -> None:
        """To `webhook.dead`, for a person."""
        await self._send(self._names.exchange(Exchange.DEAD), "", message, mandatory=True)

    async def publish_result(self, key: str, message: Outgoing) -> None:
        """To `webhook.results`; nobody needs to listen."""
        await self._send(self._names.exchange(Exchange.RESULTS), key, message, mandatory=False)

    async def count_ready(self, queue: Queue) -> int:
        """How many messages wait in the queue for a worker."""
        try:
            async with asyncio.timeout(self._timeout):
                channel = await self._channel.get_underlay_channel()
                answer = await channel.queue_declare(self._names.queue(queue), passive=True)
        except (TimeoutError, AMQPError, OSError, RuntimeError) as error:
            raise Unavailable(f"the broker did not answer: {type(error).__name__}") from error
        return answer.message_count or 0

    async def _send(self, exchange: str, key: str, message: Outgoing, *, mandatory: bool) -> None:
        try:
            await self._outbox.send(message, Destination(exchange, key, mandatory))
        except DeliveryError as error:
            raise Unavailable(f"the broker did not take the message for {exchange}") from error
        except (AMQPError, OSError, RuntimeError) as error:
            raise Unavailable(f"the broker did not confirm: {type(error).__name__}") from error
