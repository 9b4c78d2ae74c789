"""
Takeover: find what a worker that is gone had started at Komodo, before anything is executed again (I2).

By the update that the attempt has noted, else among the recent updates of that resource by our own user. Komodo's clock may be off ours by
`CLOCK_MARGIN`; updates that other attempts own are left out.
"""

from __future__ import annotations

from datetime import timedelta

from shared import clock
from shared.procedure.executions import EXECUTIONS
from shared.store import attempts
from worker.running import Running, to_be_looked_up

CLOCK_MARGIN = timedelta(seconds=60)


async def find_update(running: Running) -> str | None:
    """
    The id of the update that this attempt has begun, or None when it has begun nothing.

    Raises `Unknown` when store or Komodo can not tell.
    """
    with to_be_looked_up():
        return await _find_update(running)


async def _find_update(running: Running) -> str | None:
    if running.attempt.update_id is not None:
        return running.attempt.update_id
    kind = EXECUTIONS[running.action.type]
    if not kind.operations:
        return None
    since = running.attempt.started_at - CLOCK_MARGIN
    async with running.tools.store.read() as db:
        known = await attempts.known_updates(db, running.action.resource, since=since - CLOCK_MARGIN)
    update = await running.tools.komodo.find_update(
        kind.resource,
        await _target_id(running, kind.resource, kind.param),
        operations=kind.operations,
        since_ms=clock.to_ms(since),
        exclude_ids=known,
    )
    if update is None:
        return None
    await running.note_update(update.id)
    return update.id


async def _target_id(running: Running, resource: str, param: str) -> str:
    name = str(running.action.params[param])
    if resource == "Stack" and running.action.resource == f"Stack:{name}" and len(name) == 24:
        return name
    found = await running.tools.komodo.read(f"Get{resource}", **{param: name})
    return str(found["_id"]["$oid"])
