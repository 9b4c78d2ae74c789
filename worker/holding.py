"""
What this worker is working on right now, and until when its leases last.

The renewal loop moves the ends in one statement for all. Before a call that must not be made twice, `is_held` says whether this process may
still make it: a worker that was stopped for longer than its lease finds that somebody else has gone on (I2).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from shared import clock, logs
from shared.errors import Transient
from shared.komodo.client import REQUEST_SECONDS
from shared.store import leases
from shared.store.engine import Store

log = logs.get_logger()

RENEWALS_PER_LEASE = 3


def execute_seconds(lease_seconds: float) -> float:
    """How long a call may take that must be over before anyone else can have the lease: less than is left after a late renewal."""
    return min(REQUEST_SECONDS, lease_seconds / RENEWALS_PER_LEASE)


class Holding:
    """Actions in hand, by id, with the monotonic end of their lease."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._doors: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def alone(self, action_id: str) -> AsyncIterator[None]:
        """
        Let one message at a time work on an action in this process.

        After a lost connection the broker delivers a message again while its first copy is still at work here.
        """
        door = self._doors.setdefault(action_id, asyncio.Lock())
        try:
            async with door:
                yield
        finally:
            if not door.locked():
                self._doors.pop(action_id, None)

    def begin(self, action_id: str, *, until: float) -> None:
        """The lease is ours until then, by the monotonic clock."""
        self._ends[action_id] = until

    def end(self, action_id: str) -> None:
        """The lease is given back or lost."""
        self._ends.pop(action_id, None)

    def is_held(self, action_id: str, *, for_seconds: float) -> bool:
        """Whether the lease lasts at least `for_seconds` more."""
        return self._ends.get(action_id, 0.0) >= time.monotonic() + for_seconds

    async def renew(self, store: Store, holder: str, *, lease_seconds: float, stop: asyncio.Event) -> None:
        """Renew all that is in hand, several times per lease, until `stop` is set and nothing is in hand."""
        while not (stop.is_set() and not self._ends):
            await _pause(lease_seconds / RENEWALS_PER_LEASE, stop)
            if not self._ends:
                continue
            asked = set(self._ends)
            until = time.monotonic() + lease_seconds
            try:
                async with store.begin_one() as db:
                    held = await leases.renew(db, holder, until=clock.now() + timedelta(seconds=lease_seconds))
            except Transient as error:
                log.warning("leases_not_renewed", reason=error.reason)
                continue
            for action_id in asked & set(self._ends):
                if action_id in held:
                    self._ends[action_id] = until
                else:
                    log.warning("lease_lost", action_id=action_id)
                    self.end(action_id)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    """Cut short when `stop` is set meanwhile; what is in hand after that is renewed at the same pace."""
    if stop.is_set():
        await asyncio.sleep(seconds)
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
