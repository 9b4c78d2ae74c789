"""
Publishing results after the commit that wrote them, in order per stream, and remembering what the broker has confirmed.

Whoever changes a run says so with `about`; the loop reads what is unpublished of those streams and publishes it. A crash leaves rows unpublished, and
the reconciler names their streams here again.
"""

from __future__ import annotations

import asyncio

import orjson

from shared import logs
from shared.broker.framing import Outgoing
from shared.broker.publisher import Publisher
from shared.errors import Transient, Unavailable
from shared.results import CONTENT_TYPE, Result
from shared.store import results
from shared.store.engine import Store

log = logs.get_logger()

RETRY_SECONDS = 1.0
BATCH = 500


class Telling:
    """The one publisher of this worker's results."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher
        self._streams: set[str] = set()
        self._wake = asyncio.Event()

    def about(self, *streams: str) -> None:
        """There is something new in these streams."""
        self._streams.update(streams)
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop` is set and nothing is left."""
        stopping = asyncio.create_task(stop.wait(), name="telling-stop")
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while self._streams or not stop.is_set():
                await self._wake.wait()
                self._wake.clear()
                await self._tell_all(stop)
        finally:
            stopping.cancel()

    async def _tell_all(self, stop: asyncio.Event) -> None:
        while self._streams:
            streams, self._streams = self._streams, set()
            try:
                if await self._tell(streams) == BATCH:
                    self._streams |= streams
            except (Unavailable, Transient) as error:
                log.warning("results_wait", streams=len(streams), reason=error.reason)
                if stop.is_set():
                    return
                self._streams |= streams
                await asyncio.sleep(RETRY_SECONDS)

    async def _tell(self, streams: set[str]) -> int:
        async with self._store.read() as db:
            unpublished = await results.unpublished(db, streams, limit=BATCH)
        if not unpublished:
            return 0
        # Publishing starts in order and one channel keeps it, so waiting for all confirms at once does not mix up a stream.
        answers = await asyncio.gather(*map(self._publish, unpublished), return_exceptions=True)
        confirmed = [result.id for result, answer in zip(unpublished, answers, strict=True) if answer is None]
        if confirmed:
            async with self._store.begin_one() as db:
                await results.mark_published(db, confirmed)
        for answer in answers:
            if answer is not None:
                raise answer
        return len(unpublished)

    async def _publish(self, result: Result) -> None:
        body = orjson.dumps(result.to_cloudevent())
        await self._publisher.publish_result(result.type, Outgoing(body, result.id, CONTENT_TYPE))
