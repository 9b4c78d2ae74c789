"""Attempts: what whoever goes on needs to know of the one before."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError, NoResultFound

from shared.store import attempts
from shared.store.attempts import Attempt
from shared.store.engine import Connection, Store
from tests.builders import at, new_id, store_action


async def store_attempt(
    db: Connection, *, number: int = 1, resource: str = "Stack:web", started: float = 0, update_id: str | None = None
) -> Attempt:
    action = await store_action(db, resource=resource)
    attempt = Attempt(action.id, number, "worker", at(started), at(started + 60))
    await attempts.add(db, attempt)
    if update_id is not None:
        await attempts.note_update(db, action.id, number, update_id)
    return attempt


async def test_an_attempt_comes_back_as_it_was_added(store: Store) -> None:
    async with store.begin() as db:
        attempt = await store_attempt(db)

    async with store.read() as db:
        assert await attempts.get(db, attempt.action_id, 1) == attempt
        with pytest.raises(NoResultFound):
            await attempts.get(db, attempt.action_id, 2)


async def test_an_attempt_is_added_once(store: Store) -> None:
    async with store.begin() as db:
        attempt = await store_attempt(db)

    with pytest.raises(IntegrityError):
        async with store.begin() as db:
            await attempts.add(db, attempt)


async def test_what_is_noted_of_one_attempt_stays_with_it(store: Store) -> None:
    async with store.begin() as db:
        first = await store_attempt(db)
        await attempts.add(db, Attempt(first.action_id, 2, "worker", at(100), at(160)))
        await attempts.note_update(db, first.action_id, 1, "u1")
        await attempts.end(db, first.action_id, 1, outcome="busy", reason="why", now=at(50))
        await attempts.note_worker(db, first.action_id, 2, "heir")

    async with store.read() as db:
        assert await attempts.of_action(db, first.action_id) == [
            Attempt(first.action_id, 1, "worker", at(0), at(60), "u1", at(50), "busy", "why"),
            Attempt(first.action_id, 2, "heir", at(100), at(160)),
        ]
        assert await attempts.of_action(db, new_id()) == []


async def test_the_updates_that_a_resources_attempts_own_are_known(store: Store) -> None:
    async with store.begin() as db:
        await store_attempt(db, update_id="never ended")
        for ended, update_id in ((9, "ended before"), (10, "ended at the limit"), (20, "ended since")):
            attempt = await store_attempt(db, update_id=update_id)
            await attempts.end(db, attempt.action_id, attempt.number, outcome="busy", reason=None, now=at(ended))
        await store_attempt(db, update_id="another's", resource="Stack:db")
        await store_attempt(db)

    async with store.read() as db:
        known = await attempts.known_updates(db, "Stack:web", since=at(10))

    assert known == {"never ended", "ended at the limit", "ended since"}
