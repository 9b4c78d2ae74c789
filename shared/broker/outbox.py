"""
Writing to a channel with confirms: what is published at one time leaves in one write, and each message has its own confirm.

aiormq prepares and awaits every message alone; here it keeps the connection, the confirms and the returns, and gets the frames ready-made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from aio_pika.abc import AbstractRobustChannel
from aio_pika.exceptions import AMQPError
from aiormq import Channel
from aiormq.abc import ChannelFrame

from shared.broker.framing import Destination, Outgoing, to_frames


@dataclass(eq=False, slots=True)
class _Sending:
    message: Outgoing
    destination: Destination
    confirmed: asyncio.Future[object]
    sent_as: str | None = None


class Outbox:
    """
    The only sender on its channel: the broker counts what arrives there, and so does this.

    A message that has not left when its time is up does not leave any more.
    """

    def __init__(self, channel: AbstractRobustChannel, *, timeout: float) -> None:
        self._channel = channel
        self._timeout = timeout
        self._waiting: list[_Sending] = []
        self._writer: asyncio.Task[None] | None = None
        self._underlay: Channel | None = None
        self._ids: dict[str, int] = {}

    async def send(self, message: Outgoing, destination: Destination) -> None:
        """
        Return when the broker has confirmed it.

        Raises aiormq's errors for a message that comes back or is refused, OSError for a channel that is lost, TimeoutError after `timeout`
        seconds, ValueError for names that AMQP does not allow.
        """
        loop = asyncio.get_running_loop()
        sending = _Sending(message, destination, loop.create_future())
        alarm = loop.call_later(self._timeout, _fail, (sending.confirmed,), TimeoutError("no confirm in time"))
        self._waiting.append(sending)
        if self._writer is None:
            self._writer = loop.create_task(self._write(), name="outbox")
        try:
            await sending.confirmed
        finally:
            alarm.cancel()
            if sending.sent_as is not None:
                self._ids.pop(sending.sent_as, None)

    async def _write(self) -> None:
        """Write until nothing waits; what can not be written fails for those who wait for it."""
        batch: list[_Sending] = []
        try:
            while self._waiting:
                channel = self._watched(await self._channel.get_underlay_channel())
                batch, self._waiting = self._waiting, []
                await self._write_batch(channel, [one for one in batch if not one.confirmed.done()])
        except (AMQPError, OSError, RuntimeError) as error:
            # RuntimeError is what aio-pika raises for a channel that is closed while it reconnects.
            _fail((one.confirmed for one in (*batch, *self._waiting)), error)
            self._waiting = []
        finally:
            self._writer = None

    def _watched(self, underlay: object) -> Channel:
        """The open channel, with those who wait for its confirms told when it is lost; raises ConnectionError when it is closed."""
        channel = cast(Channel, underlay)
        if channel.is_closed:
            raise ConnectionError("the channel is closed")
        if channel is not self._underlay:
            self._underlay, self._ids = channel, channel.message_id_delivery_tag
            lost = ConnectionError("the channel was lost")
            channel.closing.add_done_callback(lambda _: _fail(channel.confirmations.values(), lost))
        return channel

    async def _write_batch(self, channel: Channel, batch: Iterable[_Sending]) -> None:
        frames: list[bytes] = []
        sent: dict[str, _Sending] = {}
        for one in batch:
            message_id = one.message.message_id or uuid4().hex
            if message_id in sent or message_id in self._ids:
                # A returned message is known by its id alone, so that a second copy on its way needs one of its own.
                message_id = uuid4().hex
            try:
                frames.append(
                    to_frames(one.message, one.destination, message_id, channel.number, channel.max_content_size)
                )
            except ValueError as error:
                one.confirmed.set_exception(error)
            else:
                sent[message_id] = one
        # Nobody awaits this drain: while the broker does not read, the queue behind it fills up, and the next batch waits here.
        drained = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(self._timeout):
            await channel.write_queue.put(ChannelFrame(b"".join(frames), should_close=False, drain_future=drained))
        # Only now, and before anything else can run: what has not been put must not be counted.
        for message_id, one in sent.items():
            channel.delivery_tag += 1
            channel.confirmations[channel.delivery_tag] = one.confirmed
            self._ids[message_id] = channel.delivery_tag
            one.sent_as = message_id


def _fail(futures: Iterable[asyncio.Future[object]], error: BaseException) -> None:
    for future in list(futures):
        if not future.done():
            future.set_exception(error)
