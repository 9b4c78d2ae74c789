"""
Deliveries reach the broker in the order in which they were answered, whenever it comes and goes, and each leaves the spool only when it is there.

The broker here is a list that can be made to refuse, to be silent or to be gone; the real one is in `tests/integration/ingress` and the drills.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from ingress.keeper import Door, Keeper
from ingress.relay import BATCH_EVENTS, STRIKES, Relay
from ingress.spool import Spool, opened, summarize
from shared.broker.publisher import Publisher
from shared.broker.topology import Queue
from shared.errors import Unavailable
from shared.event import WebhookEvent
from tests.builders import an_event
from tests.waiting import until

ROOM = 10 * 1024 * 1024


class Broker:
    """What has arrived, in order. `is_up` False is a lost connection, `is_silent` takes without confirming, `refused` are ids."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.refused: set[str] = set()
        self.is_up = True
        self.is_silent = False
        self.patience = 0.05
        self.in_flight = 0
        self.most_in_flight = 0

    async def publish_event(self, event: WebhookEvent) -> None:
        """As the publisher does."""
        if not self.is_up or event.id in self.refused:
            await asyncio.sleep(0)
            raise Unavailable("the broker did not confirm")
        self.arrived.append(event.id)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.patience if self.is_silent else 0.001)
        self.in_flight -= 1
        if self.is_silent or not self.is_up:
            raise Unavailable("the broker did not confirm")

    async def count_ready(self, queue: Queue) -> int:
        """As the publisher does."""
        await asyncio.sleep(0)
        if not self.is_up:
            raise Unavailable("the broker did not answer")
        return 0

    @property
    def first_sights(self) -> list[str]:
        """Each id once, where it was first seen."""
        return list(dict.fromkeys(self.arrived))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the spool is."""
    return tmp_path / "spool.db"


@pytest.fixture
async def spool(path: Path) -> AsyncIterator[Spool]:
    """An empty spool."""
    async with opened(path, max_bytes=ROOM) as spool:
        yield spool


@pytest.fixture
def broker() -> Broker:
    """One that is there."""
    return Broker()


@asynccontextmanager
async def relaying(relay: Relay, broker: Broker) -> AsyncIterator[None]:
    """The relay runs in the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(relay.run(broker, stop))
        try:
            yield
        finally:
            stop.set()


async def spooled(spool: Spool, many: int) -> list[str]:
    """That many events in the spool; their ids in order."""
    events = [an_event() for _ in range(many)]
    await asyncio.gather(*(spool.append(event.to_bytes()) for event in events))
    return [event.id for event in events]


def emptied(spool: Spool) -> bool:
    return not spool.holds_any


async def test_what_is_in_the_spool_goes_to_the_broker_in_order_and_many_at_once(spool: Spool, broker: Broker) -> None:
    ids = await spooled(spool, 3 * BATCH_EVENTS)
    async with relaying(Relay(spool), broker):
        await until(lambda: emptied(spool))

    assert broker.arrived == ids
    assert broker.most_in_flight == BATCH_EVENTS


async def test_a_corrupt_record_is_set_aside_and_the_others_go_on(spool: Spool, broker: Broker, path: Path) -> None:
    before = await spooled(spool, 2)
    await spool.append(b'{"schema_version": 1, "half": ')
    await spool.append(b'{"schema_version": 2}')
    after = await spooled(spool, 2)
    async with relaying(Relay(spool), broker):
        await until(lambda: emptied(spool))

    assert broker.arrived == before + after
    reasons = [one.reason for one in summarize(path).aside]
    assert len(reasons) == 2
    assert all(reason.startswith("not an event: ") for reason in reasons)


async def test_an_event_that_the_broker_refuses_time_and_again_does_not_block_the_others(
    spool: Spool, broker: Broker, path: Path
) -> None:
    ids = await spooled(spool, 6)
    broker.refused = set(ids[2:4])
    async with relaying(Relay(spool, retry_seconds=0.01), broker):
        await until(lambda: spool.size.events == 2)
        later = await spooled(spool, 2 * STRIKES)
        await until(lambda: emptied(spool))

    assert broker.first_sights == ids[:2] + ids[4:] + later
    assert [one.reason for one in summarize(path).aside] == ["the broker did not confirm"] * 2


async def test_a_broker_that_is_away_costs_no_event_its_place(spool: Spool, broker: Broker, path: Path) -> None:
    broker.is_up = False
    ids = await spooled(spool, 50)
    async with relaying(Relay(spool, retry_seconds=0.01), broker):
        await until(lambda: summarize(path).failure is not None)
        assert broker.arrived == []
        broker.is_up = True
        await until(lambda: emptied(spool))

    assert broker.arrived == ids
    assert summarize(path).aside == ()
    assert summarize(path).failure is None


async def test_a_silent_broker_gets_one_copy_at_a_time(spool: Spool, broker: Broker) -> None:
    broker.is_silent = True
    ids = await spooled(spool, 5)
    async with relaying(Relay(spool, retry_seconds=0.01), broker):
        await until(lambda: len(broker.arrived) >= 8)
        assert set(broker.arrived[5:]) == {ids[0]} | set(broker.arrived[6:])
        broker.is_silent = False
        await until(lambda: emptied(spool))

    assert broker.first_sights == ids


async def test_what_was_confirmed_is_not_published_again_while_the_disk_refuses(
    spool: Spool, broker: Broker, path: Path
) -> None:
    ids = await spooled(spool, 3)
    await spool._call(lambda db: db.execute("PRAGMA query_only = 1").fetchone())
    async with relaying(Relay(spool, retry_seconds=0.01), broker):
        await until(lambda: len(broker.arrived) == 3)
        await asyncio.sleep(0.1)
        assert broker.arrived == ids
        await spool._call(lambda db: db.execute("PRAGMA query_only = 0").fetchone())
        await until(lambda: emptied(spool))

    assert broker.arrived == ids


async def test_a_relay_that_is_asked_to_stop_leaves_the_rest_in_the_spool(spool: Spool, broker: Broker) -> None:
    broker.is_up = False
    ids = await spooled(spool, 3)
    async with relaying(Relay(spool), broker):
        await asyncio.sleep(0)

    assert spool.size.events == len(ids)


async def test_draining_says_why_it_does_not_end(spool: Spool, broker: Broker) -> None:
    ids = await spooled(spool, BATCH_EVENTS + 1)
    broker.is_up = False
    with pytest.raises(Unavailable, match="the broker did not"):
        await Relay(spool, retry_seconds=0.01).drain(broker)
    broker.is_up = True
    await Relay(spool).drain(broker)

    assert broker.arrived == ids
    assert not spool.holds_any


# The keeper


def keeper_of(broker: Broker, spool: Spool, relay: Relay, *, is_open: bool = True) -> Keeper:
    """A keeper in front of the broker."""
    door = Door()
    if is_open:
        door.open(cast(Publisher, broker))
    return Keeper(door, spool, relay, patience=0.2)


async def test_a_delivery_goes_straight_to_a_broker_that_is_there(spool: Spool, broker: Broker, path: Path) -> None:
    keeper, event = keeper_of(broker, spool, Relay(spool)), an_event()
    await keeper.publish_event(event)

    assert broker.arrived == [event.id]
    assert summarize(path).size.events == 0


async def test_a_delivery_is_kept_before_the_broker_has_answered_for_the_first_time(spool: Spool) -> None:
    relay, event = Relay(spool), an_event()
    await keeper_of(Broker(), spool, relay, is_open=False).publish_event(event)

    (record,) = await spool.read(10, ROOM)
    assert WebhookEvent.from_bytes(record.body) == event


async def test_those_in_flight_when_the_broker_goes_silent_are_spooled_before_those_that_come_later(
    spool: Spool, broker: Broker
) -> None:
    broker.is_silent = True
    keeper, events = keeper_of(broker, spool, Relay(spool)), [an_event() for _ in range(30)]
    async with asyncio.TaskGroup() as group:
        for event in events:
            group.create_task(keeper.publish_event(event))
            await asyncio.sleep(broker.patience / 10)

    records = await spool.read(100, ROOM)
    assert [WebhookEvent.from_bytes(record.body).id for record in records] == [event.id for event in events]


async def test_a_spool_without_room_is_passed_while_the_relay_gets_through(path: Path, broker: Broker) -> None:
    async with opened(path, max_bytes=ROOM, max_events=1) as spool:
        relay = Relay(spool)
        keeper, event = keeper_of(broker, spool, relay), an_event()
        await spooled(spool, 1)
        with pytest.raises(Unavailable, match="the spool is full"):
            await keeper.publish_event(event)
        relay.is_flowing = True
        await keeper.publish_event(event)

    assert broker.arrived == [event.id]


async def test_it_is_well_while_either_takes_an_event(path: Path, broker: Broker) -> None:
    async with opened(path, max_bytes=ROOM, max_events=1) as spool:
        keeper = keeper_of(broker, spool, Relay(spool))
        broker.is_up = False
        assert await keeper.check() == "0 events, 0 bytes"
        await spooled(spool, 1)
        with pytest.raises(Unavailable):
            await keeper.check()
        broker.is_up = True
        assert "takes no more: the spool is full: 1 events" in await keeper.check()


@pytest.mark.parametrize("seed", range(12))
async def test_no_delivery_is_lost_or_overtaken_by_one_that_came_after_it_was_answered(
    spool: Spool, broker: Broker, seed: int
) -> None:
    """A broker that comes and goes under many senders."""
    chance = random.Random(seed)
    relay = Relay(spool, retry_seconds=0.005)
    keeper = keeper_of(broker, spool, relay)
    began: dict[str, int] = {}
    answered: dict[str, int] = {}
    is_over = False

    async def sender(many: int) -> None:
        for _ in range(many):
            event = an_event()
            began[event.id] = len(began) + len(answered)
            await keeper.publish_event(event)
            answered[event.id] = len(began) + len(answered)
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.004]))

    async def weather() -> None:
        while not is_over:
            broker.is_up, broker.is_silent = chance.choice([(True, False), (True, False), (False, False), (True, True)])
            await asyncio.sleep(chance.uniform(0.002, 0.03))
        broker.is_up, broker.is_silent = True, False

    async with relaying(relay, broker):
        async with asyncio.TaskGroup() as group:
            blowing = group.create_task(weather())
            async with asyncio.TaskGroup() as senders:
                for _ in range(8):
                    senders.create_task(sender(40))
            is_over = True
            await blowing
        await until(lambda: emptied(spool))
        last = an_event()
        await keeper.publish_event(last)

    seen = broker.first_sights
    assert set(seen) == {*began, last.id}
    assert seen[-1] == last.id
    assert not overtaken(seen[:-1], began, answered)


def overtaken(seen: list[str], began: dict[str, int], answered: dict[str, int]) -> list[tuple[str, str]]:
    """Those that were answered before another began, and yet were seen after it."""
    found, newest = [], ("", -1)
    for one in seen:
        if answered[one] <= newest[1]:
            found.append((one, newest[0]))
        newest = max(newest, (one, began[one]), key=lambda pair: pair[1])
    return found
