"""
Waiting for Komodo's updates: one batched read per interval for all that this process waits for, however many those are.

Komodo checks the secret by bcrypt on every request, so one read for all is what keeps waiting cheap. An update is over when Komodo says "Complete",
and some never are: every wait has an end.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog

from shared import clock
from shared.errors import Permanent, Transient
from shared.komodo.client import KomodoClient
from shared.komodo.types import Update

log = structlog.get_logger()

FIRST_LOOK_SECONDS = 0.1
MISSES_BEFORE_GONE = 3


class UpdateWatcher:
    """The one reader of open updates in a process. `interval` is in seconds."""

    def __init__(self, komodo: KomodoClient, *, interval: float) -> None:
        self._komodo = komodo
        self._interval = interval
        self._waiting: dict[str, asyncio.Future[Update]] = {}
        self._misses: dict[str, int] = {}
        self._news = asyncio.Event()

    async def wait(self, update_id: str, *, until: datetime) -> Update | None:
        """
        The complete update, with its logs when it was not successful; None when it is not complete by then.

        Raises `Permanent` when Komodo no longer knows it, `Transient` when its logs can not be read.
        """
        future = self._waiting.get(update_id)
        if future is None:
            future = self._waiting[update_id] = asyncio.get_running_loop().create_future()
            self._news.set()
        try:
            async with asyncio.timeout(max(0.0, (until - clock.now()).total_seconds())):
                update = await asyncio.shield(future)
        except TimeoutError:
            return None
        finally:
            self._forget(update_id)
        return update if update.success else await self._komodo.update(update_id)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set. While nobody waits nothing is read; a new wait is looked at soon, then with all others."""
        stopping = asyncio.create_task(stop.wait(), name="updates-stop")
        stopping.add_done_callback(lambda _: self._news.set())
        try:
            while not stop.is_set():
                await self._news.wait()
                self._news.clear()
                await asyncio.sleep(min(FIRST_LOOK_SECONDS, self._interval))
                await self._look_until_idle(stop)
        finally:
            stopping.cancel()

    async def _look_until_idle(self, stop: asyncio.Event) -> None:
        while self._waiting and not stop.is_set():
            await self._look()
            self._news.clear()
            if not self._waiting:
                return
            await self._pause()

    async def _pause(self) -> None:
        """An interval, cut short to a first look when there is a new wait."""
        try:
            async with asyncio.timeout(self._interval):
                await self._news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(min(FIRST_LOOK_SECONDS, self._interval))

    async def _look(self) -> None:
        asked = list(self._waiting)
        try:
            found = await self._komodo.updates(asked)
        except (Transient, Permanent) as error:
            log.warning("updates_not_read", waiting=len(asked), reason=error.reason)
            return
        for update_id in asked:
            update, future = found.get(update_id), self._waiting.get(update_id)
            if future is None or future.done():
                continue
            if update is None:
                self._miss(update_id, future)
            elif update.is_complete:
                future.set_result(update)

    def _miss(self, update_id: str, future: asyncio.Future[Update]) -> None:
        self._misses[update_id] = self._misses.get(update_id, 0) + 1
        if self._misses[update_id] >= MISSES_BEFORE_GONE:
            future.set_exception(Permanent(f"Komodo no longer knows the update {update_id}"))

    def _forget(self, update_id: str) -> None:
        future = self._waiting.pop(update_id, None)
        self._misses.pop(update_id, None)
        if future is not None and future.done() and not future.cancelled():
            future.exception()
