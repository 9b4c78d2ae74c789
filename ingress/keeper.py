"""
Keeping a delivery: in the broker while it answers, else in the spool, and in the order in which deliveries came.

While the spool holds anything, what comes later goes there too. A delivery goes to the broker itself again when the spool is empty and nobody stands
in line for it.
"""

from __future__ import annotations

import asyncio

from ingress.relay import Relay
from ingress.spool import Spool
from shared import logs
from shared.broker.publisher import Publisher
from shared.broker.topology import Queue
from shared.errors import Unavailable
from shared.event import WebhookEvent

log = logs.get_logger()


class Door:
    """The way to the broker, shut until the broker has answered for the first time."""

    def __init__(self) -> None:
        self._publisher: Publisher | None = None

    @property
    def is_open(self) -> bool:
        """Whether the broker has ever answered."""
        return self._publisher is not None

    def open(self, publisher: Publisher) -> None:
        """From here on events get through."""
        self._publisher = publisher

    async def publish_event(self, event: WebhookEvent) -> None:
        """Publish, confirmed; raises `Unavailable`."""
        await self._open_publisher().publish_event(event)

    async def check(self) -> None:
        """Raises `Unavailable` when an event would not get through."""
        await self._open_publisher().count_ready(Queue.EVENTS)

    def _open_publisher(self) -> Publisher:
        if self._publisher is None:
            raise Unavailable("the broker has not answered yet")
        return self._publisher


class Keeper:
    """
    Broker first, else spool. `patience` is how many seconds a delivery waits for the relay's batch in hand, which may empty the spool.

    That wait also lets the relay win: however many deliveries come, each has to see a batch leave before it is added.
    """

    def __init__(self, door: Door, spool: Spool, relay: Relay, *, patience: float) -> None:
        self._door = door
        self._spool = spool
        self._relay = relay
        self._patience = patience
        self._line = asyncio.Lock()
        self._in_line = 0
        self._direct = 0
        self._none_direct = asyncio.Event()
        self._none_direct.set()

    async def publish_event(self, event: WebhookEvent) -> None:
        """Keep it; raises `Unavailable` when neither broker nor spool takes it."""
        # From each decision to the call that acts on it there is no await, so that nobody comes in between.
        if (self._is_clear() or await self._is_clear_in_the_end()) and await self._is_published(event):
            return
        if not self._spool.holds_any:
            log.warning("spooling", reason="the broker does not take deliveries")
        try:
            await self._spool.append(event.to_bytes())
        except Unavailable:
            # Before a delivery is given up, its place in the order is.
            if not self._relay.is_flowing:
                raise
            await self._door.publish_event(event)

    async def check(self) -> str:
        """How full the spool is; raises `Unavailable` when neither spool nor broker would take an event."""
        size = self._spool.size
        told = f"{size.events} events, {size.bytes} bytes"
        try:
            await self._spool.check()
        except Unavailable as error:
            await self._door.check()
            return f"{told}, takes no more: {error.reason}"
        return told

    def _is_clear(self) -> bool:
        return self._door.is_open and not self._in_line and not self._spool.holds_any

    async def _is_clear_in_the_end(self) -> bool:
        """Wait until it is this delivery's turn; whether the way to the broker is clear by then."""
        deadline = asyncio.get_running_loop().time() + self._patience
        turn = self._relay.turn
        self._in_line += 1
        try:
            async with self._line:
                if turn is not None:
                    await self._batch_over(turn, deadline)
                if self._door.is_open and not self._spool.holds_any:
                    return True
                # Those who went before are in the broker by then, or in the spool.
                await self._none_direct.wait()
                return False
        finally:
            self._in_line -= 1

    async def _batch_over(self, turn: asyncio.Future[None], deadline: float) -> None:
        await asyncio.wait({turn}, timeout=deadline - asyncio.get_running_loop().time())
        if not turn.done():
            self._relay.is_flowing = False

    async def _is_published(self, event: WebhookEvent) -> bool:
        self._direct += 1
        self._none_direct.clear()
        try:
            await self._door.publish_event(event)
        except Unavailable:
            self._relay.is_flowing = False
            return False
        finally:
            self._direct -= 1
            if not self._direct:
                self._none_direct.set()
        return True
