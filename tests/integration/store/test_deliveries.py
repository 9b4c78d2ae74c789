"""Deliveries, events and receipts: recorded once, planned one receipt after the other."""

from __future__ import annotations

import asyncio

from shared.event import Kind, WebhookEvent
from shared.store import deliveries
from shared.store.deliveries import Delivery, Receipt, ReceiptOutcome
from shared.store.engine import Store
from tests.builders import an_event, at, new_id, store_run
from tests.waiting import until_blocked


async def plan_receipt(store: Store, event: WebhookEvent) -> bool:
    """What planning does with a receipt, without the plan: whether this call was the first to see it."""
    async with store.begin() as db:
        await deliveries.record(db, event)
        if await deliveries.find_receipt(db, event.receipt_id, event.id):
            return False
        await deliveries.add_receipt(db, event, ReceiptOutcome.MATCHED, None, received_at=event.received_at)
        return True


async def test_an_event_comes_back_as_it_was_recorded(store: Store) -> None:
    event = an_event(
        payload={"nested": [1, 2.5, None, "ü\u0000"]}, provider_delivery_id="abc-1", received_at=at(0.123456)
    )
    async with store.begin() as db:
        run = await store_run(db, event=event)

    async with store.read() as db:
        assert await deliveries.event_of_run(db, run.id) == event
        assert await deliveries.get(db, event.delivery_id) == Delivery(
            event.delivery_id, "global", "github", "abc-1", at(0.123456)
        )


async def test_recording_again_keeps_the_first(store: Store) -> None:
    event = an_event()
    again = event.model_copy(update={"receipt_id": new_id(), "received_at": at(60)})
    async with store.begin() as db:
        await deliveries.record(db, event)
        await deliveries.record(db, again)

    async with store.read() as db:
        assert await deliveries.events_of(db, event.delivery_id) == [event]


async def test_a_delivery_may_hold_several_events(store: Store) -> None:
    first = an_event()
    second = an_event(delivery_id=first.delivery_id, receipt_id=first.receipt_id, kind=Kind.TAG, tag="v1")
    async with store.begin() as db:
        for event in (first, second):
            await deliveries.record(db, event)
            await deliveries.add_receipt(db, event, ReceiptOutcome.UNMATCHED, {"why": event.kind}, received_at=at(0))

    async with store.read() as db:
        assert {event.id for event in await deliveries.events_of(db, first.delivery_id)} == {first.id, second.id}
        receipts = await deliveries.receipts_of(db, first.delivery_id)
    assert {receipt.trace["why"] for receipt in receipts} == {"push", "tag"}


async def test_what_is_not_there_is_none(store: Store) -> None:
    async with store.read() as db:
        assert await deliveries.get(db, new_id()) is None
        assert await deliveries.find_receipt(db, new_id(), new_id()) is None
        assert await deliveries.receipts_of(db, new_id()) == []
        assert await deliveries.events_of(db, new_id()) == []


async def test_a_receipt_is_of_one_event(store: Store) -> None:
    event = an_event()
    await plan_receipt(store, event)

    async with store.read() as db:
        known = await deliveries.find_receipt(db, event.receipt_id, event.id)
        assert known == Receipt(event.receipt_id, event.id, event.received_at, ReceiptOutcome.MATCHED)
        assert await deliveries.find_receipt(db, event.receipt_id, new_id()) is None


async def test_receipts_are_told_oldest_first(store: Store) -> None:
    event = an_event()
    async with store.begin() as db:
        await deliveries.record(db, event)
        for seconds in (30, 10, 20):
            again = event.model_copy(update={"receipt_id": new_id()})
            await deliveries.add_receipt(db, again, ReceiptOutcome.DUPLICATE, None, received_at=at(seconds))

    async with store.read() as db:
        receipts = await deliveries.receipts_of(db, event.delivery_id)
    assert [receipt.received_at for receipt in receipts] == [at(10), at(20), at(30)]


async def test_of_many_workers_with_one_message_only_one_plans_it(store: Store) -> None:
    event = an_event()

    planned = await asyncio.gather(*(plan_receipt(store, event) for _ in range(10)))

    assert planned.count(True) == 1


async def test_the_second_of_two_receipts_waits_for_the_first_and_then_sees_it(postgres_store: Store) -> None:
    """Both are new to the store: neither has a row that it could have locked before."""
    event = an_event()
    again = event.model_copy(update={"receipt_id": new_id()})

    async with postgres_store.begin() as db:
        await deliveries.record(db, event)
        second = asyncio.create_task(receipts_seen(postgres_store, again))
        await until_blocked(postgres_store)
        await deliveries.add_receipt(db, event, ReceiptOutcome.MATCHED, None, received_at=at(0))

    assert await second == [event.receipt_id]


async def test_the_next_receipt_of_a_known_event_waits_too(postgres_store: Store) -> None:
    event = an_event()
    await plan_receipt(postgres_store, event)
    again = event.model_copy(update={"receipt_id": new_id()})

    async with postgres_store.begin() as db:
        await deliveries.record(db, again)
        third = asyncio.create_task(receipts_seen(postgres_store, event))
        await until_blocked(postgres_store)
        await deliveries.add_receipt(db, again, ReceiptOutcome.DUPLICATE, None, received_at=at(1))

    assert await third == [event.receipt_id, again.receipt_id]


async def test_events_of_other_deliveries_do_not_wait(postgres_store: Store) -> None:
    async with postgres_store.begin() as db:
        await deliveries.record(db, an_event())

        async with asyncio.timeout(5):
            assert await plan_receipt(postgres_store, an_event())


async def receipts_seen(store: Store, event: WebhookEvent) -> list[str]:
    async with store.begin() as db:
        await deliveries.record(db, event)
        return [receipt.id for receipt in await deliveries.receipts_of(db, event.delivery_id)]
