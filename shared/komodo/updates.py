"""
Waiting for Komodo's updates: one batched read per interval for all that this process waits for, however many those are.

Komodo checks the secret by bcrypt on every request, so one read for all is what keeps waiting cheap. An update is over when Komodo says "Complete",
and some never are: every wait has an end.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import datetime

from shared import clock, logs
from shared.errors import KgwError, Permanent, RateLimited
from shared.komodo.client import KomodoClient
from shared.komodo.types import Update

log = logs.get_logger()

FIRST_LOOK_SECONDS = 0.1
LOOKS_PER_INTERVAL = 2
MAX_BACKOFF_SECONDS = 5.0
MAX_LOCKOUT_SECONDS = 60.0
MISSES_BEFORE_GONE = 3


class UpdateWatcher:
    """The one reader of open updates in a process. `interval` is in seconds."""

    def __init__(self, komodo: KomodoClient, *, interval: float) -> None:
        self._komodo = komodo
        self._interval = interval
        self._waits: defaultdict[str, set[asyncio.Future[Update]]] = defaultdict(set)
        self._misses: dict[str, int] = {}
        self._failures = 0
        self._due = float("inf")
        self._looked_at = float("-inf")
        self._backed_off_until = float("-inf")
        self._news = asyncio.Event()

    async def wait(self, update_id: str, *, until: datetime) -> Update | None:
        """
        The complete update, with its logs when it was not successful; None when it is not complete by then.

        Raises `Permanent` when Komodo no longer knows it, `Transient` when its logs can not be read. Komodo being away does not end a wait.
        """
        future: asyncio.Future[Update] = asyncio.get_running_loop().create_future()
        self._waits[update_id].add(future)
        self._look_in(FIRST_LOOK_SECONDS, apart=self._interval / LOOKS_PER_INTERVAL)
        try:
            async with asyncio.timeout(max(0.0, (until - clock.now()).total_seconds())):
                update = await future
        except TimeoutError:
            return None
        finally:
            self._forget(update_id, future)
        return update if update.success else await self._komodo.update(update_id)

    def wake(self, update_id: str) -> None:
        """Something was heard about this update: look at once, if anyone waits for it."""
        if update_id in self._waits:
            self._look_in(0.0, apart=FIRST_LOOK_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set. While nobody waits nothing is read; a new wait is looked at soon, with all others."""
        stopping = asyncio.create_task(stop.wait(), name="updates-stop")
        stopping.add_done_callback(lambda _: self._news.set())
        try:
            while not stop.is_set():
                if await self._is_due():
                    await self._look()
        finally:
            stopping.cancel()

    def _look_in(self, seconds: float, *, apart: float) -> None:
        """Have the next look earlier, but `apart` from the last one, so that many who ask for it do not make many looks."""
        earliest = max(self._backed_off_until, self._looked_at + apart)
        self._due = min(self._due, max(time.monotonic() + seconds, earliest))
        self._news.set()

    async def _is_due(self) -> bool:
        """Wait for the time of the next look, or for news that may have moved it."""
        remaining = self._due - time.monotonic()
        if remaining <= 0:
            return True
        try:
            async with asyncio.timeout(remaining if self._waits else None):
                await self._news.wait()
        except TimeoutError:
            return True
        self._news.clear()
        return False

    async def _look(self) -> None:
        asked, self._due = list(self._waits), float("inf")
        if not asked:
            return
        try:
            found = await self._komodo.updates(asked)
        except KgwError as error:
            self._back_off(error, waiting=len(asked))
            return
        self._failures, self._looked_at = 0, time.monotonic()
        self._due = min(self._due, self._looked_at + self._interval)
        for update_id in asked:
            self._settle(update_id, found.get(update_id))

    def _back_off(self, error: KgwError, *, waiting: int) -> None:
        """A Core that is away, or has locked us out, is asked less and less often: each refusal of a key counts against our address."""
        self._failures += 1
        asked_for = error.retry_after if isinstance(error, RateLimited) else None
        pause = max(
            min(MAX_LOCKOUT_SECONDS, asked_for or 0.0),
            min(MAX_BACKOFF_SECONDS, self._interval * 2.0 ** min(self._failures, 10)),
        )
        self._backed_off_until = self._due = time.monotonic() + pause
        log.warning("updates_not_read", waiting=waiting, reason=error.reason, again_in=pause)

    def _settle(self, update_id: str, update: Update | None) -> None:
        futures = [future for future in self._waits.get(update_id, ()) if not future.done()]
        if update is None:
            self._miss(update_id, futures)
            return
        self._misses.pop(update_id, None)
        if update.is_complete:
            for future in futures:
                future.set_result(update)

    def _miss(self, update_id: str, futures: list[asyncio.Future[Update]]) -> None:
        if not futures:
            return
        self._misses[update_id] = self._misses.get(update_id, 0) + 1
        if self._misses[update_id] < MISSES_BEFORE_GONE:
            return
        for future in futures:
            future.set_exception(
                Permanent(
                    f"Komodo no longer knows the update {update_id}: it was deleted, or we may not read it any more"
                )
            )

    def _forget(self, update_id: str, future: asyncio.Future[Update]) -> None:
        if future.done() and not future.cancelled():
            future.exception()
        others = self._waits[update_id]
        others.discard(future)
        if not others:
            del self._waits[update_id]
            self._misses.pop(update_id, None)
