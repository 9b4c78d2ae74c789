"""Actions: compare-and-set on state and attempt, who is superseded, who waits, and who was lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from shared.results import ResultType
from shared.states import ACTION, ActionState, Happening
from shared.store import actions, leases, results
from shared.store.actions import Action, Due
from shared.store.engine import Connection, Store
from shared.store.leases import NOBODY, Lease
from tests.builders import an_action, at, new_id, store_action, store_run
from tests.waiting import until_blocked


async def lease_to(db: Connection, action: Action, *, holder: str = "worker", until: float = 30) -> None:
    assert await leases.take(db, Lease(action.resource, action.id, holder, at(until)))


async def test_an_action_comes_back_as_it_was_added(store: Store) -> None:
    async with store.begin() as db:
        action = await store_action(
            db,
            policy={"retry": {"attempts": 3}, "timeout": 60.0},
            params={"stack": "ü"},
            outcome={"hash": "abc"},
            attempt=2,
            failures=1,
            delays=4,
            started_at=at(1),
            ended_at=at(2.5),
            due_at=at(0.000001),
        )
        await actions.add(db, [])

    async with store.read() as db:
        assert await actions.get(db, action.id) == action
        assert await actions.of_run(db, action.run_id) == [action]
        assert await actions.get(db, new_id()) is None


@pytest.mark.parametrize("state", ActionState)
async def test_every_row_of_the_table_moves_once_and_nothing_else_moves(store: Store, state: ActionState) -> None:
    for happening in Happening:
        async with store.begin() as db:
            action = await store_action(db, state=state)
        if (state, happening) not in ACTION:
            with pytest.raises(KeyError):
                await _move(store, action, happening)
            assert (await _get(store, action)).state is state
            continue

        assert await _move(store, action, happening, reason="why") is True
        assert await _move(store, action, happening, reason="again") is False
        assert await _get(store, action) == replace(action, state=ACTION[state, happening], reason="why")


async def test_only_the_attempt_that_was_seen_is_moved(store: Store) -> None:
    async with store.begin() as db:
        action = await store_action(db, state=ActionState.RUNNING, attempt=2)

    for attempt in (1, 3):
        assert await _move(store, replace(action, attempt=attempt), Happening.FAIL) is False
    assert await _get(store, action) == action


async def test_only_the_state_that_was_seen_is_moved(store: Store) -> None:
    async with store.begin() as db:
        action = await store_action(db, state=ActionState.RUNNING)

    for seen, happening in ACTION:
        if seen is not ActionState.RUNNING:
            assert await _move(store, replace(action, state=seen), happening) is False
    assert await _get(store, action) == action


async def test_of_many_who_move_an_action_at_once_one_does(store: Store) -> None:
    async with store.begin() as db:
        action = await store_action(db)

    moved = await asyncio.gather(
        *(_move(store, action, happening) for happening in [Happening.START, Happening.SKIP] * 5)
    )

    assert moved.count(True) == 1


async def test_a_locked_action_is_changed_by_nobody_else(postgres_store: Store) -> None:
    async with postgres_store.begin() as db:
        action = await store_action(db)

    async with postgres_store.begin() as db:
        await actions.get(db, action.id, lock=True)
        moving = asyncio.create_task(_move(postgres_store, action, Happening.START))
        await until_blocked(postgres_store)
        assert await actions.move(db, action, Happening.CANCEL)

    assert await moving is False


async def _move(store: Store, action: Action, happening: Happening, **values: Any) -> bool:
    async with store.begin() as db:
        return await actions.move(db, action, happening, **values)


async def _get(store: Store, action: Action) -> Action:
    async with store.read() as db:
        found = await actions.get(db, action.id)
    assert found is not None
    return found


# What supersedes an action (I5): the other action as a change of it, and whether it does.
OTHERS: dict[str, tuple[dict[str, Any], bool]] = {
    "received later": ({"received_at": at(1)}, True),
    "received later by a microsecond": ({"received_at": at(0.000001)}, True),
    "received earlier, planned later": ({"received_at": at(-1), "queued_at": at(99)}, False),
    "another resource": ({"received_at": at(1), "resource": "Stack:db"}, False),
    "another effect": ({"received_at": at(1), "effect": "pull"}, False),
    "cancelled": ({"received_at": at(1), "state": ActionState.CANCELLED}, False),
    "skipped": ({"received_at": at(1), "state": ActionState.SKIPPED}, False),
    "waiting": ({"received_at": at(1), "state": ActionState.WAITING}, True),
    "running": ({"received_at": at(1), "state": ActionState.RUNNING}, True),
    "done": ({"received_at": at(1), "state": ActionState.SUCCEEDED}, True),
    "itself superseded": ({"received_at": at(1), "state": ActionState.SUPERSEDED}, True),
}


@pytest.mark.parametrize(("other", "supersedes"), OTHERS.values(), ids=OTHERS)
async def test_an_action_is_superseded_by_the_same_effect_of_a_run_received_later(
    store: Store, other: dict[str, Any], supersedes: bool
) -> None:
    async with store.begin() as db:
        action = await store_action(db, received_at=at(0))
        await store_action(db, **other)

    async with store.read() as db:
        assert await actions.is_superseded(db, action) is supersedes


async def test_an_action_of_the_same_run_supersedes_nothing(store: Store) -> None:
    """Two stages of one procedure may deploy the same stack."""
    async with store.begin() as db:
        run = await store_run(db)
        first = await store_action(db, run=run, stage=0, received_at=at(0))
        await store_action(db, run=run, stage=1, received_at=at(5))

    async with store.read() as db:
        assert await actions.is_superseded(db, first) is False


async def test_whatever_order_they_are_planned_in_only_the_one_received_last_is_left(store: Store) -> None:
    for number, order in enumerate(permutations(range(4))):
        async with store.begin() as db:
            planned = [await store_action(db, received_at=at(each), resource=str(number)) for each in order]
            left = [action for action in planned if not await actions.is_superseded(db, action)]

        assert [action.received_at for action in left] == [at(3)]


async def test_of_actions_received_in_the_same_instant_exactly_one_is_left(store: Store) -> None:
    async with store.begin() as db:
        same = [await store_action(db, received_at=at(0)) for _ in range(4)]

    async with store.read() as db:
        superseded = [await actions.is_superseded(db, action) for action in same]
    assert superseded == [True, True, True, False]


@pytest.mark.parametrize(("other", "supersedes"), OTHERS.values(), ids=OTHERS)
async def test_what_is_superseded_is_not_started(store: Store, other: dict[str, Any], supersedes: bool) -> None:
    async with store.begin() as db:
        action = await store_action(db, received_at=at(0))
        await store_action(db, **other)

    async with store.begin() as db:
        started = await actions.start_if_free(db, action.id, action.attempt, now=at(9))
    assert (started is None) is supersedes


async def test_a_queued_action_is_started_once(store: Store) -> None:
    async with store.begin() as db:
        action = await store_action(db)

    async with store.begin() as db:
        started = await actions.start_if_free(db, action.id, 1, now=at(9))
        again = await actions.start_if_free(db, action.id, 1, now=at(9))
    async with store.read() as db:
        assert await actions.get(db, action.id) == started
    assert started == replace(action, state=ActionState.RUNNING, started_at=at(9))
    assert again is None


async def test_a_later_attempt_leaves_it_at_when_the_action_began(store: Store) -> None:
    async with store.begin() as db:
        action = await store_action(db, attempt=2, started_at=at(1))
        assert await actions.start_if_free(db, action.id, 1, now=at(9)) is None
        started = await actions.start_if_free(db, action.id, 2, now=at(9))

    assert started is not None
    assert started.started_at == at(1)


@pytest.mark.parametrize("state", sorted(set(ActionState) - {ActionState.QUEUED}))
async def test_only_what_is_queued_is_started(store: Store, state: ActionState) -> None:
    async with store.begin() as db:
        action = await store_action(db, state=state)
        assert await actions.start_if_free(db, action.id, action.attempt, now=at(9)) is None


async def test_nothing_is_started_on_a_resource_that_another_has(store: Store) -> None:
    async with store.begin() as db:
        action = await store_action(db)
        await leases.take(db, Lease(action.resource, new_id(), new_id(), at(30)))
        assert await actions.start_if_free(db, action.id, action.attempt, now=at(9)) is None


async def test_of_two_who_end_a_stages_last_actions_at_once_one_sees_that_none_is_open(postgres_store: Store) -> None:
    async with postgres_store.begin() as db:
        run = await store_run(db)
        both = [await store_action(db, run=run, state=ActionState.RUNNING, resource=name) for name in ("a", "b")]
    have_ended = asyncio.Barrier(2)

    async def end(action: Action) -> bool:
        async with postgres_store.begin() as db:
            await actions.move(db, action, Happening.SUCCEED, ended_at=at(9))
            await have_ended.wait()
            await results.tell_run(db, run.id, [(ResultType.ACTION_SUCCEEDED, {})], now=at(9))
            return await actions.is_stage_open(db, run.id, 0)

    assert sorted(await asyncio.gather(*map(end, both))) == [False, True]


async def test_who_waits_is_woken_in_the_order_of_receiving(store: Store) -> None:
    async with store.begin() as db:
        third = await store_action(db, state=ActionState.WAITING, received_at=at(3))
        first = await store_action(db, state=ActionState.WAITING, received_at=at(1))
        await store_action(db, state=ActionState.WAITING, received_at=at(0), resource="Stack:db")
        await store_action(db, state=ActionState.QUEUED, received_at=at(0))

    async with store.begin() as db:
        assert await actions.waiting_for(db, "Stack:web") == [first, third]


async def test_who_is_just_being_looked_at_is_not_waited_for(postgres_store: Store) -> None:
    """Waiting for that row would be a circle: its worker may be waiting for the lease that we are about to give back."""
    async with postgres_store.begin() as db:
        looked_at = await store_action(db, state=ActionState.WAITING, received_at=at(1))
        other = await store_action(db, state=ActionState.WAITING, received_at=at(2))

    async with postgres_store.begin() as db, postgres_store.begin() as waking:
        await actions.get(db, looked_at.id, lock=True)

        async with asyncio.timeout(5):
            assert await actions.waiting_for(waking, "Stack:web") == [other]


async def test_states_are_counted_by_stage(store: Store) -> None:
    async with store.begin() as db:
        run = await store_run(db)
        for stage, state in [
            (0, ActionState.FAILED),
            (0, ActionState.FAILED),
            (0, ActionState.RUNNING),
            (1, ActionState.QUEUED),
        ]:
            await store_action(db, run=run, stage=stage, state=state)
        await store_action(db)

    async with store.read() as db:
        assert await actions.count_states(db, run.id) == {
            0: {ActionState.FAILED: 2, ActionState.RUNNING: 1},
            1: {ActionState.QUEUED: 1},
        }
        assert await actions.is_stage_open(db, run.id, 0) is True
        assert await actions.is_stage_open(db, run.id, 2) is False
        assert await actions.count_states(db, new_id()) == {}


@pytest.mark.parametrize("state", ActionState)
async def test_a_stage_is_open_while_one_of_its_actions_is(store: Store, state: ActionState) -> None:
    async with store.begin() as db:
        run = await store_run(db)
        await store_action(db, run=run, state=ActionState.SUCCEEDED)
        await store_action(db, run=run, state=state)

    async with store.read() as db:
        is_open = await actions.is_stage_open(db, run.id, 0)
    assert is_open is (state in (ActionState.QUEUED, ActionState.WAITING, ActionState.RUNNING))


async def test_a_runs_queued_actions_are_told_with_their_attempt(store: Store) -> None:
    async with store.begin() as db:
        run = await store_run(db)
        queued = await store_action(db, run=run, attempt=3)
        await store_action(db, run=run, state=ActionState.WAITING)
        await store_action(db)

    async with store.read() as db:
        assert await actions.queued_of_run(db, run.id) == [Due(queued.id, run.id, 3)]


# Who was lost at second 20: the action's change, its lease's (action, end), and whether the reconciler has to publish it.
MINE, ANOTHERS = "mine", "another's"
LOST: dict[str, tuple[ActionState, float, tuple[str, float] | None, bool]] = {
    "queued and due": (ActionState.QUEUED, 10, None, True),
    "queued, due later": (ActionState.QUEUED, 30, None, False),
    "queued and due, its resource in use": (ActionState.QUEUED, 10, (ANOTHERS, 99), True),
    "running with a lease": (ActionState.RUNNING, 10, (MINE, 99), False),
    "running, its lease run out": (ActionState.RUNNING, 10, (MINE, 15), True),
    "running without a lease": (ActionState.RUNNING, 10, None, True),
    "running, looked at before": (ActionState.RUNNING, 30, (MINE, 15), False),
    "running, another's lease run out": (ActionState.RUNNING, 10, (ANOTHERS, 15), False),
    "waiting for a living lease": (ActionState.WAITING, 10, (ANOTHERS, 99), False),
    "waiting for a lease that has run out": (ActionState.WAITING, 10, (ANOTHERS, 15), False),
    "waiting for nobody": (ActionState.WAITING, 10, None, True),
    "ended": (ActionState.SUCCEEDED, 10, None, False),
    "ended without giving back": (ActionState.FAILED, 10, (MINE, 15), False),
    "superseded": (ActionState.SUPERSEDED, 10, None, False),
}


@pytest.mark.parametrize(("state", "due", "lease", "is_lost"), LOST.values(), ids=LOST)
async def test_an_action_is_lost_when_nobody_is_going_to_move_it(
    store: Store, state: ActionState, due: float, lease: tuple[str, float] | None, is_lost: bool
) -> None:
    async with store.begin() as db:
        action = await store_action(db, state=state, due_at=at(due), attempt=2)
        if lease is not None:
            owner, end = lease
            await lease_to(db, action if owner is MINE else an_action(resource=action.resource), until=end)

    async with store.read() as db:
        lost = await actions.lost(db, before=at(20), limit=10)
    assert lost == ([Due(action.id, action.run_id, 2)] if is_lost else [])


async def test_a_lease_that_was_handed_over_is_found_when_it_runs_out(store: Store) -> None:
    """The message that takes it over may be lost with the broker."""
    async with store.begin() as db:
        action = await store_action(db, state=ActionState.RUNNING)
        await lease_to(db, action, holder="gone", until=15)
        await leases.hand_over_all(db, "gone")
        found = await leases.find(db, action.resource)

    assert found is not None
    assert found.holder == NOBODY
    async with store.read() as db:
        assert await actions.lost(db, before=at(10), limit=10) == []
        assert [due.action_id for due in await actions.lost(db, before=at(20), limit=10)] == [action.id]


async def test_the_longest_lost_come_first_and_not_too_many(store: Store) -> None:
    async with store.begin() as db:
        late = await store_action(db, due_at=at(5))
        early = await store_action(db, due_at=at(1))

    async with store.read() as db:
        assert [due.action_id for due in await actions.lost(db, before=at(20), limit=10)] == [early.id, late.id]
        assert [due.action_id for due in await actions.lost(db, before=at(20), limit=1)] == [early.id]


async def test_a_rescued_action_is_not_lost_again_before_its_time(store: Store) -> None:
    async with store.begin() as db:
        queued = await store_action(db)
        ended = await store_action(db, state=ActionState.SUCCEEDED)
        await actions.postpone_rescue(db, [queued.id, ended.id], until=at(60))
        await actions.postpone_rescue(db, [], until=at(60))

    async with store.read() as db:
        assert await actions.lost(db, before=at(20), limit=10) == []
        assert len(await actions.lost(db, before=at(61), limit=10)) == 1
    assert await _get(store, ended) == ended
