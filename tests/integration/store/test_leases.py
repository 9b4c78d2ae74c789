"""Leases: one action at a time per resource (I3), whoever asks and however many at once."""

from __future__ import annotations

import asyncio

import pytest

from shared.states import ActionState, Happening
from shared.store import actions, leases
from shared.store.actions import Action
from shared.store.engine import Store
from shared.store.leases import NOBODY, Lease
from tests.builders import at, store_action
from tests.waiting import until_blocked


def lease(action: str = "action", holder: str = "worker", *, until: float = 30, resource: str = "Stack:web") -> Lease:
    return Lease(resource, action, holder, at(until))


async def given(store: Store, *existing: Lease) -> None:
    async with store.begin() as db:
        for each in existing:
            assert await leases.take(db, each)


async def find(store: Store, resource: str = "Stack:web") -> Lease | None:
    async with store.read() as db:
        return await leases.find(db, resource)


async def take(store: Store, wanted: Lease) -> bool:
    async with store.begin() as db:
        return await leases.take(db, wanted)


async def test_a_free_resource_is_taken(store: Store) -> None:
    assert await take(store, lease()) is True

    assert await find(store) == lease()
    assert await find(store, "Stack:db") is None


@pytest.mark.parametrize(
    "wanted", [lease("other", "other"), lease("action", "other"), lease("action", "worker", until=99)]
)
async def test_a_taken_resource_is_not_taken_again_and_stays_as_it_is(store: Store, wanted: Lease) -> None:
    await given(store, lease())

    assert await take(store, wanted) is False
    assert await find(store) == lease()


async def test_an_expired_lease_still_ties_the_resource_to_its_action(store: Store) -> None:
    """What its worker has begun at Komodo may be going on."""
    await given(store, lease("action", "dead", until=-60))

    assert await take(store, lease("other", "other")) is False


async def test_of_many_who_take_at_once_one_does(store: Store) -> None:
    taken = await asyncio.gather(*(take(store, lease(f"a{number}", f"w{number}")) for number in range(12)))

    assert taken.count(True) == 1


# Who goes on with the running action "action" at noon: the lease in the way, and whether worker "heir" gets it.
IN_THE_WAY: dict[str, tuple[Lease | None, bool]] = {
    "no lease": (None, True),
    "one's own": (lease("action", "heir"), True),
    "one's own, run out": (lease("action", "heir", until=-1), True),
    "a living worker's": (lease("action", "worker", until=0.000001), False),
    "a dead worker's": (lease("action", "worker", until=-1), True),
    "one that ends right now": (lease("action", "worker", until=0), True),
    "one that was handed over": (lease("action", NOBODY, until=30), True),
    "another action's": (lease("other", "worker"), False),
    "another action's, run out": (lease("other", "worker", until=-1), False),
    "another action's, handed over": (lease("other", NOBODY), False),
    "one's own of another action": (lease("other", "heir"), False),
}


@pytest.mark.parametrize(("existing", "is_taken_over"), IN_THE_WAY.values(), ids=IN_THE_WAY)
async def test_an_action_is_taken_over_only_from_who_has_left_it(
    store: Store, existing: Lease | None, is_taken_over: bool
) -> None:
    if existing is not None:
        await given(store, existing)
    wanted = lease("action", "heir", until=60)

    async with store.begin() as db:
        in_the_way = await leases.take_over(db, wanted, now=at(0))

    assert in_the_way == (None if is_taken_over else existing)
    assert await find(store) == (wanted if is_taken_over else existing)


@pytest.mark.parametrize("existing", [None, lease("action", "dead", until=-1), lease("action", NOBODY)])
async def test_of_many_who_take_over_at_once_one_does(store: Store, existing: Lease | None) -> None:
    if existing is not None:
        await given(store, existing)

    async def take_over(number: int) -> Lease | None:
        async with store.begin() as db:
            return await leases.take_over(db, lease("action", f"w{number}"), now=at(0))

    in_the_way = await asyncio.gather(*(take_over(number) for number in range(8)))

    assert in_the_way.count(None) == 1
    winner = in_the_way.index(None)
    assert {each.holder for each in in_the_way if each is not None} == {f"w{winner}"}


async def test_taking_over_without_a_lease_loses_against_another_action_that_was_faster(postgres_store: Store) -> None:
    async with postgres_store.begin() as db:
        await leases.take(db, lease("other", "other"))

        async def take_over() -> Lease | None:
            async with postgres_store.begin() as mine:
                return await leases.take_over(mine, lease("action", "heir"), now=at(0))

        taking_over = asyncio.create_task(take_over())
        await until_blocked(postgres_store)

    assert await taking_over == lease("other", "other")


async def test_renewing_moves_the_end_of_all_that_one_has_and_tells_which(store: Store) -> None:
    await given(
        store,
        lease("a", "me", resource="Stack:a"),
        lease("b", "me", resource="Stack:b", until=-5),
        lease("c", "other", resource="Stack:c"),
        lease("d", NOBODY, resource="Stack:d"),
    )

    async with store.begin() as db:
        assert await leases.renew(db, "me", until=at(99)) == {"a", "b"}
        assert await leases.renew(db, "nobody special", until=at(99)) == set()

    ends = [found.expires_at for name in "abcd" if (found := await find(store, f"Stack:{name}"))]
    assert ends == [at(99), at(99), at(30), at(30)]


@pytest.mark.parametrize(
    ("resource", "action", "holder"),
    [("Stack:web", "action", "other"), ("Stack:web", "other", "worker"), ("Stack:db", "action", "worker")],
)
async def test_who_does_not_hold_it_neither_releases_nor_hands_over(
    store: Store, resource: str, action: str, holder: str
) -> None:
    await given(store, lease())

    async with store.begin() as db:
        assert await leases.release(db, resource, action, holder) is False
        assert await leases.hand_over(db, resource, action, holder) is False
        await leases.hand_over_all(db, "other")

    assert await find(store) == lease()


async def test_releasing_frees_the_resource_once(store: Store) -> None:
    await given(store, lease())

    async with store.begin() as db:
        assert await leases.release(db, "Stack:web", "action", "worker") is True
        assert await leases.release(db, "Stack:web", "action", "worker") is False

    assert await take(store, lease("other", "other")) is True


async def test_handing_over_leaves_the_action_to_whoever_comes_next(store: Store) -> None:
    await given(store, lease())

    async with store.begin() as db:
        assert await leases.hand_over(db, "Stack:web", "action", "worker") is True
        assert await leases.hand_over(db, "Stack:web", "action", "worker") is False
        assert await leases.renew(db, "worker", until=at(99)) == set()

    assert await find(store) == lease("action", NOBODY)


async def test_a_worker_that_stops_hands_over_all_that_it_has_and_nothing_else(store: Store) -> None:
    others = lease("c", "other", resource="Stack:c")
    await given(store, lease("a", "me", resource="Stack:a"), lease("b", "me", resource="Stack:b"), others)

    async with store.begin() as db:
        await leases.hand_over_all(db, "me")

    assert await find(store, "Stack:a") == lease("a", NOBODY, resource="Stack:a")
    assert await find(store, "Stack:b") == lease("b", NOBODY, resource="Stack:b")
    assert await find(store, "Stack:c") == others


# The race in which a waiting action could be forgotten: B finds the resource taken and goes to wait while A gives it back.


async def go_to_wait_or_start(store: Store, action: Action, looked: asyncio.Event, go_on: asyncio.Event) -> str:
    async with store.begin() as db:
        await actions.get(db, action.id, lock=True)
        if await leases.take(db, lease(action.id, "worker-b", resource=action.resource)):
            return "started"
        looked.set()
        await go_on.wait()
        assert await actions.move(db, action, Happening.WAIT)
        return "waits"


async def give_back(store: Store, action: Action) -> list[str]:
    async with store.begin() as db:
        assert await actions.move(db, action, Happening.SUCCEED)
        assert await leases.release(db, action.resource, action.id, "worker-a")
        return [waiting.id for waiting in await actions.waiting_for(db, action.resource)]


async def a_running_and_a_queued_action(store: Store, resource: str = "Stack:web") -> tuple[Action, Action]:
    async with store.begin() as db:
        running = await store_action(db, state=ActionState.RUNNING, resource=resource)
        queued = await store_action(db, resource=resource)
        await leases.take(db, lease(running.id, "worker-a", resource=resource))
    return running, queued


async def test_who_gives_back_waits_for_one_that_is_going_to_wait_and_then_sees_it(postgres_store: Store) -> None:
    running, queued = await a_running_and_a_queued_action(postgres_store)
    looked, go_on = asyncio.Event(), asyncio.Event()

    coming = asyncio.create_task(go_to_wait_or_start(postgres_store, queued, looked, go_on))
    await looked.wait()
    giving_back = asyncio.create_task(give_back(postgres_store, running))
    await until_blocked(postgres_store)
    go_on.set()

    assert await coming == "waits"
    assert await giving_back == [queued.id]


async def test_who_comes_while_the_resource_is_given_back_waits_for_that_and_then_starts(postgres_store: Store) -> None:
    running, queued = await a_running_and_a_queued_action(postgres_store)
    looked, go_on = asyncio.Event(), asyncio.Event()

    async with postgres_store.begin() as db:
        assert await leases.release(db, running.resource, running.id, "worker-a")
        assert await actions.waiting_for(db, running.resource) == []
        coming = asyncio.create_task(go_to_wait_or_start(postgres_store, queued, looked, go_on))
        await until_blocked(postgres_store)

    assert await coming == "started"


async def test_whoever_is_faster_the_queued_action_starts_or_is_woken(store: Store) -> None:
    for number in range(15):
        running, queued = await a_running_and_a_queued_action(store, f"Stack:{number}")
        go_on = asyncio.Event()
        go_on.set()

        how, woken = await asyncio.gather(
            go_to_wait_or_start(store, queued, asyncio.Event(), go_on), give_back(store, running)
        )

        assert (how, woken) in [("started", []), ("waits", [queued.id])]
