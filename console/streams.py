"""
Server-sent events of a run or a delivery: first what the store has, then what comes, without a gap and without a second copy.

The follower listens before the store is read, and what was already sent is dropped by stream and sequence. An event's id is `{stream}:{sequence}`,
for every stream sent so far and joined by commas, so that `Last-Event-ID` says exactly what is still missing, also of a delivery with several runs.
A comment tells why a stream ends: `over`, `unknown`, or `again` when the client is to come back for the rest.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import orjson

from console.follow import Follower, Following
from shared import logs
from shared.errors import Transient
from shared.results import ENDS_DELIVERY, ENDS_RUN, Result, ResultType
from shared.store import results
from shared.store.engine import Connection, Store

log = logs.get_logger()

# What a broker has lost for us is still in the store: look there now and then, and tell that the stream is alive.
RESYNC_SECONDS = 5.0
# The sender gets the delivery's id before a worker has planned it.
UNKNOWN_SECONDS = 60.0
PAGE = 1_000
MAX_ID = 16_000

RETRY = b"retry: 1000\n\n"
ALIVE = b": still here\n\n"
OVER = b": over\n\n"
UNKNOWN = b": unknown\n\n"
AGAIN = b": again\n\n"

_SEEN = re.compile(r"([0-9a-f-]{36}):([0-9]{1,9})")

Read = Callable[[Connection, Mapping[str, int]], Awaitable[list[Result]]]
"""At most `PAGE` results that come after those sequences of each stream; those of one stream in order and without a hole."""


class Progress:
    """How far each stream is known and sent, and whether all that is to come has come."""

    def __init__(self, subject: str, last_event_id: str = "") -> None:
        self.known: dict[str, int] = {}
        self._subject = subject
        self._sent = {stream: int(sequence) for stream, sequence in _SEEN.findall(last_event_id[:MAX_ID])}
        self._expected: int | None = None
        self._ended: set[str] = set()

    def position(self, result: Result) -> int:
        """0 for the next of its stream, negative for one that is known, positive when something before it is missing."""
        return result.sequence - self.known.get(result.stream, 0) - 1

    def take(self, result: Result) -> bool:
        """The next of its stream is known from here on; False when the client has it already."""
        self.known[result.stream] = result.sequence
        if result.type is ResultType.DELIVERY_ACCEPTED:
            self._expected = (self._expected or 0) + len(result.data.get("procedures", ()))
        if result.type in ENDS_DELIVERY:
            self._expected = self._expected or 0
        if result.type in ENDS_RUN:
            self._ended.add(result.stream)
        if result.sequence <= self._sent.get(result.stream, 0):
            return False
        self._sent[result.stream] = result.sequence
        return True

    @property
    def event_id(self) -> str:
        """The id that says all that was sent."""
        return ",".join(f"{stream}:{sequence}" for stream, sequence in self._sent.items())

    @property
    def is_over(self) -> bool:
        """Whether the run, or every run of the delivery, has ended."""
        if self._subject in self._ended:
            return True
        return self._expected is not None and len(self._ended) >= self._expected


async def stream(
    store: Store,
    following: Following,
    subject: str,
    read: Read,
    *,
    last_event_id: str = "",
    unknown_seconds: float = UNKNOWN_SECONDS,
) -> AsyncIterator[bytes]:
    """The events of one subject until it is over, or the follower is let go, or nobody has heard of it in `unknown_seconds`."""
    progress = Progress(subject, last_event_id)
    give_up_at = asyncio.get_running_loop().time() + unknown_seconds
    yield RETRY
    with following.follow(subject) as follower:
        while not follower.has_ended:
            async for event in _stored(store, read, progress):
                yield event
            if progress.is_over:
                yield OVER
                return
            if not progress.known and asyncio.get_running_loop().time() >= give_up_at:
                yield UNKNOWN
                return
            yield ALIVE
            async for event in _live(follower, progress):
                yield event
    yield AGAIN


def of_run(run_id: str) -> Read:
    """The results of one run."""

    async def read(db: Connection, after: Mapping[str, int]) -> list[Result]:
        return await results.of_stream(db, run_id, after=after.get(run_id, 0), limit=PAGE)

    return read


def of_delivery(delivery_id: str) -> Read:
    """The results of a delivery and of all its runs."""

    async def read(db: Connection, after: Mapping[str, int]) -> list[Result]:
        found: list[Result] = []
        for name, length in (await results.lengths_of(db, delivery_id)).items():
            known = after.get(name, 0)
            if known < length and len(found) < PAGE:
                found += await results.of_stream(db, name, after=known, limit=PAGE - len(found))
        return found

    return read


async def _stored(store: Store, read: Read, progress: Progress) -> AsyncIterator[bytes]:
    found: list[Result] | None = None
    while found is None or len(found) == PAGE:
        try:
            async with store.read() as db:
                found = await read(db, progress.known)
        except Transient as error:
            log.warning("store_not_read", reason=error.reason)  # it is read again before long
            return
        for result in found:
            if progress.take(result):
                yield _event(result, progress)


async def _live(follower: Follower, progress: Progress) -> AsyncIterator[bytes]:
    """What comes, until the store is to be looked at again or all has come."""
    deadline = asyncio.get_running_loop().time() + RESYNC_SECONDS
    while not progress.is_over:
        try:
            async with asyncio.timeout_at(deadline):
                result = await follower.next()
        except TimeoutError:
            return
        if result is None or progress.position(result) > 0:
            return
        if progress.position(result) == 0 and progress.take(result):
            yield _event(result, progress)


def _event(result: Result, progress: Progress) -> bytes:
    data = orjson.dumps(result.to_cloudevent())
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (progress.event_id.encode(), result.type.value.encode(), data)
