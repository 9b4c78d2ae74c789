"""
The relay: from the spool to the broker, in order, many at once, and out of the spool only when the broker has confirmed.

It may be killed at any line: what it had published and not yet taken out is published again with the same ids, and workers know it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from pydantic import ValidationError

from ingress.spool import Record, Spool
from shared import logs, metrics
from shared.broker.topology import Queue
from shared.errors import Unavailable
from shared.event import WebhookEvent

log = logs.get_logger()

BATCH_EVENTS = 256
BATCH_BYTES = 8 * 1024 * 1024
# Longer than a delivery is held up for: a copy that has not been confirmed yet is better waited for than sent again.
CONFIRM_SECONDS = 30.0
RETRY_SECONDS = 1.0
STRIKES = 3

_GRACE_SECONDS = 2.0
_GROWTH = 4
_WITNESSES = 10
_TRIES_TO_DRAIN = 5


class Publisher(Protocol):
    """The way to the broker."""

    async def publish_event(self, event: WebhookEvent) -> None:
        """Return once the broker has confirmed; raises `Unavailable`."""

    async def count_ready(self, queue: Queue) -> int:
        """Raises `Unavailable` when the broker does not answer."""


class Relay:
    """
    Empties one spool. `is_flowing` says whether the last that was heard of the broker was good.

    After a failure it goes on with one event at a time, and asks the broker for an answer before each.
    """

    def __init__(self, spool: Spool, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self.is_flowing = False
        self._spool = spool
        self._retry_seconds = retry_seconds
        self._turn: asyncio.Future[None] | None = None
        self._confirmed: list[Record] = []
        self._width = BATCH_EVENTS
        self._is_in_doubt = False
        self._strikes: dict[int, int] = {}

    @property
    def turn(self) -> asyncio.Future[None] | None:
        """Done when the batch in hand is over; None when there is none, or nobody knows how long it will take."""
        return self._turn if self.is_flowing else None

    async def run(self, publisher: Publisher, stop: asyncio.Event) -> None:
        """Relay whatever comes into the spool until `stop` is set; what is in it then stays there."""
        self.is_flowing = True
        async with asyncio.TaskGroup() as group:
            relaying = group.create_task(self._relay(publisher, stop), name="relay")
            await stop.wait()
            await asyncio.wait({relaying}, timeout=_GRACE_SECONDS)
            relaying.cancel()

    async def drain(self, publisher: Publisher) -> None:
        """Relay what is in the spool now; raises `Unavailable` when the broker takes nothing more."""
        failures = 0
        while before := self._spool.size.events:
            failure = await self._take_turn(publisher)
            failures = 0 if self._spool.size.events < before else failures + 1
            if failure and failures == _TRIES_TO_DRAIN:
                raise Unavailable(failure)
            if failure:
                await asyncio.sleep(self._retry_seconds)
        await self._shrink()

    async def _relay(self, publisher: Publisher, stop: asyncio.Event) -> None:
        relayed, told = 0, ""
        while await _first_of(self._spool.filled, stop) and not stop.is_set():
            before = self._spool.size.events
            failure = await self._take_turn(publisher)
            relayed += max(0, before - self._spool.size.events)
            if failure is not None and failure != told:
                log.warning("relay_held_up", reason=failure, spooled=self._spool.size.events)
                await self._remember(failure)
            told = failure or ""
            if failure is not None:
                await _pause(self._retry_seconds, stop)
            elif not self._spool.holds_any:
                log.info("spool_drained")
                await self._shrink()

    async def _take_turn(self, publisher: Publisher) -> str | None:
        """One batch; why it was not all confirmed, or None."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turn = turn
        try:
            await self._take_out()
            if self._is_in_doubt:
                await self._ask(publisher)
            failure = await self._publish_batch(publisher)
        except Unavailable as error:
            failure = error.reason
        finally:
            self._turn = None
            turn.set_result(None)
        return failure

    async def _publish_batch(self, publisher: Publisher) -> str | None:
        records = await self._spool.read(self._width, BATCH_BYTES)
        events = await self._parse(records)
        failures = await asyncio.gather(*(_publish(publisher, event) for _, event in events))
        self._confirmed = [record for (record, _), failure in zip(events, failures, strict=True) if failure is None]
        await self._take_out()
        failed = [(record, why) for (record, _), why in zip(events, failures, strict=True) if why is not None]
        if not failed:
            self.is_flowing = True
            self._is_in_doubt = False
            self._width = min(self._width * _GROWTH, BATCH_EVENTS)
            return None
        record, why = failed[0]
        was_in_doubt = self._is_in_doubt
        self.is_flowing, self._is_in_doubt, self._width = False, True, 1
        if was_in_doubt:  # the broker has just answered, so that it may be the event
            await self._suspect(publisher, record, why)
        return why

    async def _suspect(self, publisher: Publisher, record: Record, why: str) -> None:
        """Set an event aside that the broker refuses time and again while it takes one of the next."""
        for other, event in await self._parse(await self._spool.read(_WITNESSES, BATCH_BYTES, after=record.seq)):
            await asyncio.sleep(self._retry_seconds)  # a refusal costs the channel, which comes back by itself
            await self._ask(publisher)
            if await _publish(publisher, event) is None:
                self._confirmed = [other]
                await self._take_out()
                await self._strike(record, why)
                return

    async def _strike(self, record: Record, why: str) -> None:
        self._strikes[record.seq] = self._strikes.get(record.seq, 0) + 1
        if self._strikes[record.seq] >= STRIKES:
            await self._spool.set_aside(record, why)
            self._strikes.clear()

    async def _ask(self, publisher: Publisher) -> None:
        try:
            await publisher.count_ready(Queue.EVENTS)
        except Unavailable:
            self.is_flowing = False
            raise

    async def _parse(self, records: Sequence[Record]) -> list[tuple[Record, WebhookEvent]]:
        """The events among the records; what is none is set aside."""
        found = []
        for record in records:
            try:
                found.append((record, WebhookEvent.from_bytes(record.body)))
            except ValidationError as error:
                problem = error.errors(include_input=False, include_url=False)[0]
                await self._spool.set_aside(record, f"not an event: {problem['msg']}")
        return found

    async def _take_out(self) -> None:
        # Kept in mind until it is out: a disk that refuses must not have the same events published again and again.
        if self._confirmed:
            await self._spool.remove(self._confirmed)
            metrics.RELAYED.inc(len(self._confirmed))
            self._confirmed = []

    async def _remember(self, failure: str) -> None:
        try:
            await self._spool.note_failure(failure)
        except Unavailable as error:
            log.warning("relay_failure_not_noted", reason=error.reason)

    async def _shrink(self) -> None:
        try:
            while not self._spool.holds_any and await self._spool.shrink():
                pass
        except Unavailable as error:
            log.warning("spool_not_shrunk", reason=error.reason)


async def _publish(publisher: Publisher, event: WebhookEvent) -> str | None:
    """Why it was not confirmed, or None."""
    try:
        await publisher.publish_event(event)
    except Unavailable as error:
        return error.reason
    except Exception as error:  # whatever is wrong with one event must not stop the others
        log.exception("relay_failed", event_id=event.id)
        return f"it can not be published: {type(error).__name__}"
    return None


async def _first_of(*events: asyncio.Event) -> bool:
    """Return when one of them is set."""
    if not any(event.is_set() for event in events):
        waiting = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
    return True


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
