"""
Catching up again and again, by one worker at a time: who has the lease does it when it gets it, and then at each interval.

The lease has a holder of its own and is renewed here, because an interval may be long and what was missed while all workers were gone should
not wait for it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from uuid_utils import uuid7

from shared import clock, logs
from shared.errors import KgwError
from shared.store import leases
from shared.store.heads import Branch
from shared.store.leases import Lease
from worker.catchup.catching_up import OFF, Plan, Report, catch_up
from worker.catchup.missed import Finding
from worker.tools import Tools

log = logs.get_logger()

LEASE = "catch-up"
RENEWALS_PER_LEASE = 3


async def run(tools: Tools, stop: asyncio.Event) -> None:
    """
    Catch up every `catch_up_interval` seconds until `stop` is set; where it is off, say so and return.

    A turn may take minutes and can be done again, so `stop` breaks it off.
    """
    interval = tools.settings.catch_up_interval
    if not interval or not tools.settings.provider_api:
        log.info("catch_up_off", reason=OFF if interval else "KGW_CATCH_UP_INTERVAL is 0")
        return
    holder, mine = str(uuid7()), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        loops = [
            group.create_task(_hold(tools, holder, mine), name="catch-up-lease"),
            group.create_task(_repeat(tools, mine), name="catch-up"),
        ]
        await stop.wait()
        for loop in loops:
            loop.cancel()
    await _let_go(tools, holder)


async def _hold(tools: Tools, holder: str, mine: asyncio.Event) -> None:
    """Take the lease as soon as it is free, and keep it."""
    while True:
        try:
            has_it = await _take(tools, holder)
        except KgwError as error:
            log.warning("catch_up_lease_unknown", reason=error.reason)
            has_it = False
        if has_it:
            mine.set()
        else:
            mine.clear()
        await asyncio.sleep(tools.settings.lease_seconds / RENEWALS_PER_LEASE)


async def _take(tools: Tools, holder: str) -> bool:
    now = clock.now()
    wanted = Lease(LEASE, LEASE, holder, now + timedelta(seconds=tools.settings.lease_seconds))
    async with tools.store.begin() as db:
        return await leases.take(db, wanted) or await leases.take_over(db, wanted, now=now) is None


async def _let_go(tools: Tools, holder: str) -> None:
    try:
        async with tools.store.begin() as db:
            await leases.release(db, LEASE, LEASE, holder)
    except KgwError as error:
        log.warning("catch_up_lease_kept", reason=error.reason)


async def _repeat(tools: Tools, mine: asyncio.Event) -> None:
    known: dict[Branch, str] = {}
    while True:
        await mine.wait()
        try:
            plan = Plan(tools.settings.provider_api, tools.publisher.publish_event, known=known)
            _tell(await catch_up(tools.store, await tools.stacks.get(), plan))
        except KgwError as error:
            log.warning("not_caught_up", reason=error.reason)
        await asyncio.sleep(tools.settings.catch_up_interval)


def _tell(report: Report) -> None:
    for problem in report.problems:
        log.warning("not_caught_up", where=problem.where, reason=problem.reason)
    for looked in report.looked:
        if looked.finding in (Finding.MISSED, Finding.FIRST_SEEN):
            log.info(
                "branch_caught_up",
                repository=looked.repository,
                branch=looked.branch,
                finding=looked.finding,
                before=looked.last,
                after=looked.head,
            )
    log.info(
        "caught_up",
        branches=len(report.looked),
        missed=report.count(Finding.MISSED),
        redeliveries=len(report.redeliveries),
        problems=len(report.problems),
        unreachable=len(report.unreachable),
    )
