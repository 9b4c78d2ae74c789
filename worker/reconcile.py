"""
The reconciler: the safety net under everything that was committed but never published.

One worker at a time does it, by a lease like any other. It publishes what the store says is open and nobody moves: queued actions that the
broker has lost, attempts whose worker is gone, runs between two stages, results that were not told. One message too many is harmless.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from shared import clock, logs
from shared.broker.topology import Queue
from shared.errors import KgwError
from shared.store import actions, leases, results, runs
from shared.store.leases import Lease
from worker.tools import Tools
from worker.work import Work

log = logs.get_logger()

LEASE = "reconciler"
LIMIT = 500


async def run(tools: Tools, stop: asyncio.Event) -> None:
    """Reconcile every `reconcile_interval` seconds until `stop` is set."""
    while not stop.is_set():
        try:
            await reconcile(tools)
        except KgwError as error:
            log.warning("not_reconciled", reason=error.reason)
        try:
            async with asyncio.timeout(tools.settings.reconcile_interval):
                await stop.wait()
        except TimeoutError:
            continue


async def reconcile(tools: Tools) -> int:
    """
    Look once, if it is this worker's turn; the number of things put back on their way.
    """
    now = clock.now()
    interval = timedelta(seconds=tools.settings.reconcile_interval)
    if not await _is_my_turn(tools, now, interval):
        return 0
    async with tools.store.read() as db:
        lost = await actions.lost(db, before=now - interval, limit=LIMIT)
        stalled = await runs.stalled(db, before=now - interval, limit=LIMIT)
        untold = await results.forgotten(db, before=now - interval, limit=LIMIT)
    if lost and await tools.publisher.count_ready(Queue.ACTIONS):
        # They may well be in the queue: it is only long. What the broker has lost shows when the queue is empty.
        lost = []
    if lost:
        async with tools.store.begin() as db:
            await actions.postpone_rescue(db, [due.action_id for due in lost], until=now + 4 * interval)
    for due in lost:
        await tools.publisher.publish_action(Work.for_action(due).to_message())
    for run_id in stalled:
        await tools.publisher.publish_action(Work(run_id=run_id).to_message())
    tools.telling.about(*untold)
    if lost or stalled or untold:
        log.info("reconciled", actions=len(lost), runs=len(stalled), results=len(untold))
    return len(lost) + len(stalled) + len(untold)


async def _is_my_turn(tools: Tools, now: datetime, interval: timedelta) -> bool:
    mine = Lease(LEASE, LEASE, tools.id, now + 2 * interval)
    async with tools.store.begin() as db:
        return await leases.take(db, mine) or await leases.take_over(db, mine, now=now) is None
