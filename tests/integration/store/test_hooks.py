"""Named hooks in the store: whole, by name, and changed only by who has seen the newest version."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import text

from shared.hook import SealedHook
from shared.store import hooks
from shared.store.engine import Store
from tests.builders import NOON, at
from tests.named_hooks import a_hook, sealed

HOUR = timedelta(hours=1)
FULL = a_hook(
    "homelab",
    sealed("homelab", "new"),
    sealed("homelab", "old", until=at(3600.000001)),
    provider="generic",
    repositories="acme/*\n!acme/secret",
    images="ghcr.io/acme/*",
    max_body_bytes=65_536,
    options={"ref": ["/branch"], "verify": {"way": "token"}},
    disabled=True,
)


async def given(store: Store, *existing: SealedHook) -> None:
    async with store.begin() as db:
        for hook in existing:
            assert await hooks.add(db, hook)


async def get(store: Store, name: str) -> SealedHook | None:
    async with store.read() as db:
        return await hooks.get(db, name)


async def change(store: Store, seen: SealedHook, hook: SealedHook) -> bool:
    async with store.begin() as db:
        return await hooks.change(db, seen, hook)


async def test_a_hook_comes_back_as_it_was_stored(store: Store) -> None:
    await given(store, FULL, a_hook("bare", "secret"))

    assert await get(store, "homelab") == FULL
    assert (found := await get(store, "bare")) is not None
    assert (found.provider, found.max_body_bytes, found.options, found.disabled) == (None, None, None, False)
    assert await get(store, "nobody") is None


async def test_all_hooks_come_by_name(store: Store) -> None:
    await given(store, a_hook("b", "1"), a_hook("c", "2"), a_hook("a", "3"))

    async with store.read() as db:
        assert [hook.name for hook in await hooks.every(db)] == ["a", "b", "c"]


async def test_a_name_is_taken_once(store: Store) -> None:
    first = a_hook("web", "first")
    await given(store, first)

    async with store.begin() as db:
        assert not await hooks.add(db, a_hook("web", "second"))

    assert await get(store, "web") == first


async def test_a_change_is_stored_whole(store: Store) -> None:
    hook = a_hook("homelab", "secret")
    await given(store, hook, a_hook("other", "secret"))
    changed = SealedHook.model_validate({**dict(FULL), "changed_at": at(1)})

    assert await change(store, hook, changed)

    assert await get(store, "homelab") == changed
    assert (other := await get(store, "other")) is not None
    assert other.changed_at == NOON


async def test_of_two_who_have_seen_one_version_one_changes_it(store: Store) -> None:
    hook = a_hook("web", "secret")
    await given(store, hook)
    rotations = [hook.rotated(f"new {number}", now=at(number), grace=HOUR) for number in (1, 2)]

    changed = await asyncio.gather(*(change(store, hook, rotation) for rotation in rotations))

    assert sorted(changed) == [False, True]
    assert await get(store, "web") == rotations[changed.index(True)]


async def test_what_was_deleted_is_not_changed(store: Store) -> None:
    hook = a_hook("web", "secret")
    await given(store, hook)
    async with store.begin() as db:
        assert await hooks.delete(db, "web")
        assert not await hooks.delete(db, "web")

    assert not await change(store, hook, hook.changed(now=at(1), disabled=True))
    assert await get(store, "web") is None


async def test_i9_no_secret_is_readable_in_the_store(store: Store) -> None:
    await given(store, a_hook("web", "hunter2-hunter2-hunter2"))

    async with store.read() as db:
        row = (await db.execute(text("SELECT * FROM hooks"))).one()

    assert "hunter2" not in str(row)
