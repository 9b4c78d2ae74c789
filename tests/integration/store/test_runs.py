"""Runs and stages: every move by compare-and-set, exactly as the tables in `shared.states` say."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
from sqlalchemy import update

from shared.states import ENDED_ACTION, RUN, STAGE, ActionState, Happening, RunState, StageState
from shared.store import runs
from shared.store.engine import Store
from shared.store.tables import runs as runs_table
from shared.store.tables import stages as stages_table
from tests.builders import a_procedure, a_stage, an_event, at, new_id, store_action, store_run

RUN_MOVES = list(product(RunState, Happening))
STAGE_MOVES = list(product(StageState, Happening))


async def put_run_in(store: Store, state: RunState) -> str:
    async with store.begin() as db:
        run = await store_run(db)
        await db.execute(update(runs_table).values(state=state))
    return run.id


async def put_stage_in(store: Store, state: StageState) -> str:
    async with store.begin() as db:
        run = await store_run(db)
        await db.execute(update(stages_table).values(state=state))
    return run.id


async def test_a_run_comes_back_with_its_snapshot_and_its_stages_pending(store: Store) -> None:
    definition = a_procedure(stages=(a_stage("one"), a_stage("two")))
    async with store.begin() as db:
        run = await store_run(db, definition=definition, procedure_id=new_id(), procedure_version=3)

    async with store.read() as db:
        assert await runs.get(db, run.id) == run
        stages = await runs.stages_of(db, run.id)
    assert [(stage.position, stage.name, stage.state) for stage in stages] == [
        (0, "one", StageState.PENDING),
        (1, "two", StageState.PENDING),
    ]


async def test_a_run_without_stages_is_a_run(store: Store) -> None:
    async with store.begin() as db:
        run = await store_run(db, definition=a_procedure(stages=()))

    async with store.read() as db:
        assert await runs.stages_of(db, run.id) == []
        assert await runs.get(db, new_id()) is None


async def test_every_row_of_the_tables_of_runs_and_stages_moves_once_and_nothing_else_moves(store: Store) -> None:
    for state, happening in RUN_MOVES:
        run_id = await put_run_in(store, state)
        await _check_run_move(store, run_id, state, happening)
    for stage_state, happening in STAGE_MOVES:
        run_id = await put_stage_in(store, stage_state)
        await _check_stage_move(store, run_id, stage_state, happening)


async def _check_run_move(store: Store, run_id: str, state: RunState, happening: Happening) -> None:
    target = RUN.get((state, happening), state)

    async def finish() -> bool:
        async with store.begin() as db:
            return await runs.finish(db, run_id, happening, "why", now=at(9))

    if (RunState.RUNNING, happening) not in RUN:
        with pytest.raises(KeyError):
            await finish()
        return
    assert await finish() is ((state, happening) in RUN), (state, happening)
    assert await finish() is False
    async with store.read() as db:
        run = await runs.get(db, run_id)
    assert run is not None
    assert run.state is target
    assert (run.reason, run.ended_at) == (("why", at(9)) if target is not state else (None, None))


async def _check_stage_move(store: Store, run_id: str, state: StageState, happening: Happening) -> None:
    async def move(source: StageState) -> bool:
        async with store.begin() as db:
            return await runs.move_stage(db, run_id, 0, source, happening, now=at(9), reason="why", trace={"a": 1})

    for source in StageState:
        if source is not state and (source, happening) in STAGE:
            assert await move(source) is False, (source, state, happening)
    if (state, happening) not in STAGE:
        with pytest.raises(KeyError):
            await move(state)
        return
    assert await move(state) is True, (state, happening)
    assert await move(state) is False, (state, happening)
    async with store.read() as db:
        (stage,) = await runs.stages_of(db, run_id, with_trace=True)
    assert (stage.state, stage.reason, stage.trace) == (STAGE[state, happening], "why", {"a": 1})
    started = stage.state is StageState.RUNNING
    assert (stage.started_at, stage.ended_at) == ((at(9), None) if started else (None, at(9)))


async def test_of_many_who_end_a_stage_at_once_one_does(store: Store) -> None:
    run_id = await put_stage_in(store, StageState.RUNNING)

    async def end(happening: Happening) -> bool:
        async with store.begin() as db:
            return await runs.move_stage(db, run_id, 0, StageState.RUNNING, happening, now=at(1))

    moved = await asyncio.gather(*(end(happening) for happening in [Happening.SUCCEED, Happening.FAIL] * 5))

    assert moved.count(True) == 1


async def test_of_many_who_finish_a_run_at_once_one_does(store: Store) -> None:
    run_id = await put_run_in(store, RunState.RUNNING)

    async def finish() -> bool:
        async with store.begin() as db:
            return await runs.finish(db, run_id, Happening.SUCCEED, None, now=at(1))

    assert (await asyncio.gather(*(finish() for _ in range(10)))).count(True) == 1


async def test_runs_are_found_by_event_delivery_and_receipt(store: Store) -> None:
    event = an_event()
    again = event.model_copy(update={"receipt_id": new_id()})
    async with store.begin() as db:
        first = await store_run(db, event=event, created_at=at(1))
        second = await store_run(db, event=again, created_at=at(2))
        await store_run(db)
        await runs.finish(db, first.id, Happening.FAIL, None, now=at(3))

    async with store.read() as db:
        assert [run.id for run in await runs.of_event(db, event.id)] == [first.id, second.id]
        assert [run.id for run in await runs.of_delivery(db, event.delivery_id)] == [first.id, second.id]
        assert await runs.open_of_receipt(db, event.receipt_id, event.id) == []
        assert await runs.open_of_receipt(db, again.receipt_id, event.id) == [second.id]


@pytest.mark.parametrize("state", ActionState)
async def test_a_run_is_stalled_when_none_of_its_actions_is_open(store: Store, state: ActionState) -> None:
    async with store.begin() as db:
        action = await store_action(db, state=state)

    expected = [action.run_id] if state in ENDED_ACTION else []
    async with store.read() as db:
        assert await runs.stalled(db, before=at(1), limit=10) == expected


async def test_only_old_open_runs_are_stalled_oldest_first(store: Store) -> None:
    async with store.begin() as db:
        late = await store_run(db, created_at=at(20))
        early = await store_run(db, created_at=at(10))
        ended = await store_run(db, created_at=at(5))
        await runs.finish(db, ended.id, Happening.SUCCEED, None, now=at(6))
        await store_run(db, created_at=at(30))

    async with store.read() as db:
        assert await runs.stalled(db, before=at(30), limit=10) == [early.id, late.id]
        assert await runs.stalled(db, before=at(30), limit=1) == [early.id]


async def test_a_run_with_one_open_action_among_ended_ones_is_not_stalled(store: Store) -> None:
    async with store.begin() as db:
        run = await store_run(db)
        await store_action(db, run=run, state=ActionState.SUCCEEDED)
        await store_action(db, run=run, state=ActionState.RUNNING)

    async with store.read() as db:
        assert await runs.stalled(db, before=at(1), limit=10) == []
