"""What holds after every crash, by the store and by what the simulated Core really did, never by logs."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from sqlalchemy import select

from shared.store import attempts, results, tables
from shared.store.attempts import Attempt
from tests.drills.ground import Subscriber
from tests.system import System, until


async def all_attempts(system: System) -> list[Attempt]:
    """Every attempt in the store."""
    async with system.store.read() as db:
        ids = list((await db.execute(select(tables.actions.c.id))).scalars())
        return [attempt for action_id in ids for attempt in await attempts.of_action(db, action_id)]


async def assert_one_effect(system: System) -> None:
    """I2: what Komodo was told to execute and what the attempts own are the same, one to one."""
    executed = Counter(record.update_id for record in system.core.history.executions if record.variant == "DeployStack")
    owned = Counter(attempt.update_id for attempt in await all_attempts(system) if attempt.update_id)
    assert executed == owned
    assert not [update for update, many in executed.items() if many > 1]


def assert_one_at_a_time(system: System) -> None:
    """I3: no stack was ever busy when it was told to deploy, and no two of its updates overlap."""
    assert "busy" not in [record.outcome for record in system.core.history.executions]
    by_target: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for update in system.core.state.updates.by_id.values():
        assert update.end_ts is not None
        by_target[update.target_id].append((update.start_ts, update.end_ts))
    for spans in by_target.values():
        ordered = sorted(spans)
        assert all(before[1] <= after[0] for before, after in pairwise(ordered)), ordered


async def all_told(system: System, subscriber: Subscriber) -> None:
    """Await that the broker has confirmed every result, and that the subscriber saw each stream whole and in order."""

    async def nothing_unpublished() -> bool:
        async with system.store.read() as db:
            query = select(tables.results.c.id).where(tables.results.c.published.is_(False)).limit(1)
            return (await db.execute(query)).first() is None

    await until(nothing_unpublished, "every result is published")
    async with system.store.read() as db:
        streams = set((await db.execute(select(tables.results.c.stream))).scalars())
        told = {stream: [one.sequence for one in await results.of_stream(db, stream)] for stream in streams}
    assert told == {stream: list(range(1, len(sequences) + 1)) for stream, sequences in told.items()}

    async def all_seen() -> bool:
        return told.keys() <= (seen := subscriber.first_sights()).keys() and all(
            len(seen[stream]) == len(sequences) for stream, sequences in told.items()
        )

    await until(all_seen, "the subscriber has seen every result")
    assert subscriber.first_sights() == told


async def nothing_held(system: System) -> None:
    """Await that no resource is leased; the reconciler's turn is none."""

    async def free() -> bool:
        async with system.store.read() as db:
            query = select(tables.leases.c.resource).where(tables.leases.c.resource != "reconciler")
            return (await db.execute(query)).first() is None

    await until(free, "every lease is given back")
