"""Results: a stream without holes, published in order, and not forgotten."""

from __future__ import annotations

import asyncio

from shared.results import ResultType
from shared.store import results, runs
from shared.store.engine import Store
from shared.store.results import News
from tests.builders import a_run, an_event, at, new_id, store_event, store_run

NEWS = (ResultType.ACTION_STARTED, {"name": "web"})


async def test_a_runs_results_are_numbered_from_one_and_name_their_run(store: Store) -> None:
    async with store.begin() as db:
        run = await store_run(db)
        await results.tell_run(db, run.id, [(ResultType.RUN_STARTED, {"a": 1}), NEWS], now=at(1))
        await results.tell_run(db, run.id, [], now=at(1))
        await results.tell_run(db, run.id, [NEWS], now=at(2))

    async with store.read() as db:
        told = await results.of_stream(db, run.id)
        assert await results.of_stream(db, run.id, after=1, limit=1) == [told[1]]
    assert [(each.sequence, each.type, each.time) for each in told] == [
        (1, ResultType.RUN_STARTED, at(1)),
        (2, ResultType.ACTION_STARTED, at(1)),
        (3, ResultType.ACTION_STARTED, at(2)),
    ]
    assert {(each.stream, each.run_id, each.delivery_id) for each in told} == {(run.id, run.id, run.delivery_id)}
    assert told[0].data == {"procedure": "homelab", "a": 1}


async def test_a_deliverys_results_are_a_stream_of_their_own(store: Store) -> None:
    async with store.begin() as db:
        run = await store_run(db)
        await results.tell_delivery(db, run.delivery_id, [(ResultType.DELIVERY_ACCEPTED, {})], now=at(1))
        await results.tell_run(db, run.id, [NEWS], now=at(2))
        await results.tell_delivery(db, run.delivery_id, [(ResultType.DELIVERY_DUPLICATE, {})], now=at(3))
        await store_event(db)

    async with store.read() as db:
        of_delivery = await results.of_stream(db, run.delivery_id)
        everything = await results.of_delivery(db, run.delivery_id)
    assert [(each.sequence, each.run_id) for each in of_delivery] == [(1, None), (2, None)]
    assert [each.type for each in everything] == [
        ResultType.DELIVERY_ACCEPTED,
        ResultType.ACTION_STARTED,
        ResultType.DELIVERY_DUPLICATE,
    ]


async def test_results_of_several_runs_are_told_together(store: Store) -> None:
    async with store.begin() as db:
        one, other = await store_run(db), await store_run(db)
        await results.tell_run(db, other.id, [NEWS], now=at(0))
        await results.tell_runs(db, {other.id: [NEWS], one.id: [NEWS, NEWS], new_id(): []}, now=at(1))

    async with store.read() as db:
        found = [await results.of_stream(db, run.id) for run in (one, other)]
    assert [[(each.sequence, each.delivery_id) for each in told] for told in found] == [
        [(1, one.delivery_id), (2, one.delivery_id)],
        [(1, other.delivery_id), (2, other.delivery_id)],
    ]


async def test_a_new_run_is_told_of_with_its_delivery(store: Store) -> None:
    event = an_event()
    run = a_run(event)
    started: News = [(ResultType.RUN_STARTED, {})]
    accepted: News = [(ResultType.DELIVERY_ACCEPTED, {})]
    async with store.begin() as db:
        await store_event(db, event)
        await runs.add(db, run, told=len(started))
        await results.tell_delivery(db, event.delivery_id, accepted, now=at(1), started=[run], of_started=started)
        await results.tell_run(db, run.id, [NEWS], now=at(2))

    async with store.read() as db:
        assert [each.type for each in await results.of_stream(db, event.delivery_id)] == [ResultType.DELIVERY_ACCEPTED]
        told = await results.of_stream(db, run.id)
    assert [(each.sequence, each.type, each.data["procedure"]) for each in told] == [
        (1, ResultType.RUN_STARTED, run.procedure_name),
        (2, ResultType.ACTION_STARTED, run.procedure_name),
    ]


async def test_concurrent_writers_of_one_run_leave_no_hole(store: Store) -> None:
    async with store.begin() as db:
        run = await store_run(db)

    async def tell(number: int) -> None:
        async with store.begin() as db:
            await results.tell_run(db, run.id, [NEWS] * (1 + number % 3), now=at(number))
            if number % 4 == 0:
                raise LookupError("what was told is taken back with the rest")

    ends = await asyncio.gather(*(tell(number) for number in range(20)), return_exceptions=True)

    assert [type(end) for end in ends].count(LookupError) == 5
    async with store.read() as db:
        sequences = [result.sequence for result in await results.of_stream(db, run.id)]
    expected = sum(1 + number % 3 for number in range(20) if number % 4)
    assert sequences == list(range(1, expected + 1))


async def test_a_number_is_seen_only_after_all_numbers_before_it(postgres_store: Store) -> None:
    """A subscriber that asks for what comes after the last it saw must not miss one that is committed later."""
    async with postgres_store.begin() as db:
        run = await store_run(db)

    async def tell() -> None:
        async with postgres_store.begin() as db:
            await results.tell_run(db, run.id, [NEWS], now=at(0))
            await asyncio.sleep(0)

    seen: list[list[int]] = []

    async def watch(writers: asyncio.Task[object]) -> None:
        while not writers.done():
            async with postgres_store.read() as db:
                seen.append([result.sequence for result in await results.of_stream(db, run.id)])

    async def write() -> None:
        await asyncio.gather(*(tell() for _ in range(30)))

    writers = asyncio.create_task(write())
    await watch(writers)
    await writers

    assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in seen)
    assert len({len(sequences) for sequences in seen}) > 1


async def test_what_is_unpublished_comes_in_order_per_stream(store: Store) -> None:
    async with store.begin() as db:
        one, other = await store_run(db), await store_run(db)
        for number in range(3):
            await results.tell_run(db, one.id, [NEWS], now=at(number))
            await results.tell_run(db, other.id, [NEWS], now=at(number))

    async with store.read() as db:
        found = await results.unpublished(db, {one.id})
        both = await results.unpublished(db, {one.id, other.id})
        some = await results.unpublished(db, {one.id, other.id}, limit=2)
        assert await results.unpublished(db, set()) == []
    assert [result.sequence for result in found] == [1, 2, 3]
    assert [(result.stream, result.sequence) for result in both] == sorted(
        (stream, number) for stream in (one.id, other.id) for number in (1, 2, 3)
    )
    assert some == both[:2]


async def test_what_was_published_is_not_told_again(store: Store) -> None:
    async with store.begin() as db:
        run = await store_run(db)
        await results.tell_run(db, run.id, [NEWS] * 3, now=at(0))
        first, second, third = await results.unpublished(db, {run.id})
        await results.mark_published(db, [first.id, third.id])

    async with store.read() as db:
        assert await results.unpublished(db, {run.id}) == [second]


async def test_what_nobody_has_published_is_remembered(store: Store) -> None:
    async with store.begin() as db:
        old, published, new = await store_run(db), await store_run(db), await store_run(db)
        await results.tell_run(db, old.id, [NEWS, NEWS], now=at(1))
        await results.tell_run(db, published.id, [NEWS], now=at(1))
        await results.tell_run(db, new.id, [NEWS], now=at(10))
        await results.mark_published(db, [each.id for each in await results.unpublished(db, {published.id})])

    async with store.read() as db:
        assert await results.forgotten(db, before=at(10), limit=10) == [old.id]
        assert set(await results.forgotten(db, before=at(11), limit=10)) == {old.id, new.id}
        assert len(await results.forgotten(db, before=at(11), limit=1)) == 1


async def test_every_kind_of_result_and_every_text_is_kept(store: Store) -> None:
    event = an_event()
    data = {"text": "ü\u0000", "none": None}
    async with store.begin() as db:
        await store_event(db, event)
        await results.tell_delivery(db, event.delivery_id, [(kind, data) for kind in ResultType], now=at(0))

    async with store.read() as db:
        told = await results.of_stream(db, event.delivery_id)
    assert [result.type for result in told] == list(ResultType)
    assert [result.data for result in told] == [data] * len(told)
