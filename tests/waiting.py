"""Awaiting a condition with a limit, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import text

from shared.store.engine import Store

LIMIT_SECONDS = 15.0


async def until(condition: Callable[[], Awaitable[bool] | bool], *, seconds: float = LIMIT_SECONDS) -> None:
    """Return when the condition holds; raises `TimeoutError` when it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.02)


async def until_blocked(store: Store, *, transactions: int = 1) -> None:
    """Return when that many transactions of this PostgreSQL database wait for another one's lock."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    async def are_blocked() -> bool:
        async with store.read() as db:
            return int((await db.execute(query)).scalar_one()) >= transactions

    await until(are_blocked)
