"""How far the service is with what it was given, read from its store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy import func, select

from shared.states import ActionState, RunState
from shared.store.engine import Store
from shared.store.tables import actions, results, runs

LIMIT_SECONDS = 120.0
LOOK_SECONDS = 0.2


class NotDone(Exception):
    """The service did not do what it was given, or not in time; the message says what is missing."""


async def ended_runs(store: Store, since: datetime, *, count: int) -> datetime:
    """
    Wait until `count` runs of deliveries received from `since` on have succeeded and all their results are told; when the last of them ended.

    Raises `NotDone`.
    """

    async def look() -> dict[str, int]:
        async with store.read() as db:
            rows = await db.execute(
                select(runs.c.state, func.count().label("number"))
                .where(runs.c.received_at >= since)
                .group_by(runs.c.state)
            )
            found = {str(row.state): int(row.number) for row in rows}
            untold = (await db.execute(select(func.count()).where(~results.c.published))).scalar_one()
        return found | ({"results untold": untold} if untold else {})

    await _until(look, {str(RunState.SUCCEEDED): count})
    async with store.read() as db:
        end = (await db.execute(select(func.max(runs.c.ended_at)).where(runs.c.received_at >= since))).scalar_one()
    assert isinstance(end, datetime)
    return end


async def ended_actions(store: Store, since: datetime, *, kind: str, run_count: int, action_count: int) -> datetime:
    """
    Wait until the runs since then have succeeded and check that they had so many actions of the execution type `kind`, all of them successful.

    Returns when the last action ended; raises `NotDone`.
    """
    await ended_runs(store, since, count=run_count)
    return await _last_action(store, since, kind, action_count)


async def _last_action(store: Store, since: datetime, kind: str, count: int) -> datetime:
    of_these = (actions.c.received_at >= since, actions.c.type == kind, actions.c.state == ActionState.SUCCEEDED)
    async with store.read() as db:
        query = select(func.count().label("number"), func.max(actions.c.ended_at).label("end")).where(*of_these)
        found = (await db.execute(query)).one()
    if found.number != count:
        raise NotDone(f"{found.number} of {count} actions {kind} succeeded")
    assert isinstance(found.end, datetime)
    return found.end


async def _until(look: Callable[[], Awaitable[dict[str, int]]], wanted: dict[str, int]) -> None:
    found: dict[str, int] = {}
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            # Other processes write what is looked at here.
            while (found := await look()) != wanted:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise NotDone(f"after {LIMIT_SECONDS:.0f} s there is {found} instead of {wanted}") from None
