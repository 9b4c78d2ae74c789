"""
Server-sent events of a run or a delivery: first what the store has, then what comes, without a gap and without a second copy.

The follower listens before the store is read, and what was already sent is dropped by stream and sequence. An event's id is `{stream}:{sequence}` of
every stream seen so far, so that `Last-Event-ID` says exactly what is still missing, also of a delivery with several runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson

from console.follow import Follower, Following
from shared.errors import Transient
from shared.results import ENDS_DELIVERY, ENDS_RUN, Result, ResultType
from shared.store import results
from shared.store.engine import Connection, Store

# What a broker has lost for us is still in the store: look there now and then, and tell that the stream is alive.
RESYNC_SECONDS = 5.0
MAX_ID = 4_000
# Told as a comment, so that a client knows an end from a lost connection.
OVER = b": over\n\n"

Read = Callable[[Connection], Awaitable[list[Result]]]


class Progress:
    """What has been sent of each stream, and whether all of it has ended."""

    def __init__(self, last_event_id: str = "") -> None:
        self._sent: dict[str, int] = {}
        for part in last_event_id[:MAX_ID].split(","):
            stream, _, sequence = part.rpartition(":")
            if stream and sequence.isdigit():
                self._sent[stream] = int(sequence)
        self._decided: dict[str, int] = {}
        self._ended: set[str] = set()

    def is_new(self, result: Result) -> bool:
        """Whether it was not sent yet; what comes out of order waits for the store to be read again."""
        return result.sequence == self._sent.get(result.stream, 0) + 1

    def note(self, result: Result) -> None:
        """It has been sent, or had been before."""
        self._sent[result.stream] = max(result.sequence, self._sent.get(result.stream, 0))
        if result.type is ResultType.DELIVERY_ACCEPTED:
            self._decided[result.id] = len(result.data.get("procedures", ()))
        if result.type in ENDS_DELIVERY:
            self._decided[result.id] = 0
        if result.type in ENDS_RUN and result.run_id:
            self._ended.add(result.run_id)

    @property
    def event_id(self) -> str:
        """The id that says all that was sent."""
        return ",".join(f"{stream}:{sequence}" for stream, sequence in self._sent.items())

    def is_over(self, subject: str) -> bool:
        """Whether the run, or every run of the delivery, has ended."""
        if subject in self._ended:
            return True
        return bool(self._decided) and len(self._ended) >= sum(self._decided.values())


async def stream(
    store: Store, following: Following, subject: str, read: Read, *, last_event_id: str, stop: asyncio.Event
) -> AsyncIterator[bytes]:
    """The events of one subject until it is over, the follower falls behind, or the console stops."""
    progress = Progress(last_event_id)
    with following.follow(subject) as follower:
        while not (stop.is_set() or follower.fell_behind.is_set()):
            async for chunk in _from_store(store, read, progress):
                yield chunk
            if progress.is_over(subject):
                yield OVER
                return
            async for chunk in _live(follower, progress, stop):
                yield chunk
                if progress.is_over(subject):
                    yield OVER
                    return
            yield b": still here\n\n"


async def _from_store(store: Store, read: Read, progress: Progress) -> AsyncIterator[bytes]:
    try:
        async with store.read() as db:
            found = await read(db)
    except Transient:
        return
    for result in found:
        is_new = progress.is_new(result)
        progress.note(result)
        if is_new:
            yield _event(result, progress)


async def _live(follower: Follower, progress: Progress, stop: asyncio.Event) -> AsyncIterator[bytes]:
    """What comes within the time after which the store is looked at again."""
    deadline = asyncio.get_running_loop().time() + RESYNC_SECONDS
    while not (stop.is_set() or follower.fell_behind.is_set()):
        try:
            async with asyncio.timeout_at(deadline):
                result = await follower.results.get()
        except TimeoutError:
            return
        if progress.is_new(result):
            progress.note(result)
            yield _event(result, progress)
        elif result.sequence > 1:
            return  # something before it is missing, or it is known: the store decides


def _event(result: Result, progress: Progress) -> bytes:
    data = orjson.dumps(result.to_cloudevent())
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (progress.event_id.encode(), result.type.value.encode(), data)


def of_run(run_id: str) -> Read:
    """All results of one run."""

    async def read(db: Connection) -> list[Result]:
        return await results.of_stream(db, run_id)

    return read


def of_delivery(delivery_id: str) -> Read:
    """All results of a delivery and its runs."""

    async def read(db: Connection) -> list[Result]:
        return await results.of_delivery(db, delivery_id)

    return read
