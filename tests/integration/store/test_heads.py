"""What stored pushes say of branches: the last commit, and whether one was brought at all."""

from __future__ import annotations

from typing import Any

import pytest

from shared.event import Kind, Repository, WebhookEvent
from shared.store import heads
from shared.store.engine import Store
from shared.store.heads import Branch, Seen
from tests.builders import an_event, at, new_id, store_event

A, B, C = "a" * 40, "b" * 40, "c" * 40
MAIN = Branch("github.com/acme/homelab", "main")


async def stored(store: Store, commit: str, seconds: float = 0, **more: Any) -> WebhookEvent:
    async with store.begin() as db:
        return await store_event(db, an_event(after=commit, received_at=at(seconds), **more))


async def seen(store: Store, commit: str, branch: Branch = MAIN) -> Seen:
    return (await heads.look(store, {branch: commit}))[branch]


async def test_nothing_is_known_of_a_branch_that_nobody_pushed_to(store: Store) -> None:
    await stored(store, A, branch="next", ref="refs/heads/next")

    assert await seen(store, A) == Seen()


async def test_the_push_that_was_received_last_counts_whenever_it_was_recorded(store: Store) -> None:
    await stored(store, B, 20)
    await stored(store, A, 10)

    assert await seen(store, C) == Seen(last=B)
    assert await seen(store, B) == Seen(B, has_brought=True)


async def test_a_commit_that_an_earlier_push_has_brought_is_brought(store: Store) -> None:
    await stored(store, A, 10)
    await stored(store, B, 20)

    assert await seen(store, A) == Seen(B, has_brought=True)


async def test_a_repository_is_known_by_every_address_that_its_push_had(store: Store) -> None:
    repository = Repository(
        full_name="Acme/App", urls=("https://git.example.com/Acme/App.git", "git@ssh.example.com:acme/app")
    )
    await stored(store, A, repository=repository)

    for key in ("git.example.com/acme/app", "ssh.example.com/acme/app"):
        assert await seen(store, A, Branch(key, "main")) == Seen(A, has_brought=True)


@pytest.mark.parametrize(
    "different",
    [
        pytest.param({"kind": Kind.CI}, id="no push"),
        pytest.param({"kind": Kind.TAG, "tag": "main"}, id="a tag"),
        pytest.param({"branch": "Main"}, id="a branch in other letters"),
        pytest.param({"ignored": "this hook may not speak for it"}, id="refused"),
        pytest.param({"repository": None}, id="no repository"),
        pytest.param({"repository": Repository(key="github.com/acme/other", full_name="acme/other")}, id="another one"),
    ],
)
async def test_what_is_no_push_to_that_branch_brings_nothing(store: Store, different: dict[str, Any]) -> None:
    await stored(store, A, **different)

    assert await seen(store, A) == Seen()


async def test_what_a_catch_up_only_noted_is_known(store: Store) -> None:
    await stored(store, A, source="catch-up", ignored="first sight")

    assert await seen(store, A) == Seen(A, has_brought=True)


async def test_payloads_of_any_kind_are_no_hindrance(store: Store) -> None:
    await stored(
        store, A, payload={"text": 'ü\u0000 \\ud800 {"after": 1}', "nested": [{"branch": "x"}]}, message="q'\""
    )

    assert await seen(store, A) == Seen(A, has_brought=True)


async def test_many_pages_are_read_and_many_branches_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "PAGE", 3)
    names = [f"b{number}" for number in range(8)]
    for position, name in enumerate(names):
        await stored(store, A, position, branch=name)
        await stored(store, B, position, branch=name)
    wanted = {Branch(MAIN.repository, name): (A if name == "b0" else C) for name in [*names, "none"]}

    found = await heads.look(store, wanted)

    assert found[Branch(MAIN.repository, "b0")].has_brought
    assert found[Branch(MAIN.repository, "none")] == Seen()
    assert {found[Branch(MAIN.repository, name)].has_brought for name in names[1:]} == {False}
    assert all(found[Branch(MAIN.repository, name)].last in (A, B) for name in names)


async def test_an_empty_question_reads_nothing(store: Store) -> None:
    assert await heads.look(store, {}) == {}


async def test_the_push_that_brought_a_commit_is_found_by_its_id(store: Store) -> None:
    push = await stored(store, A, 10)
    async with store.read() as db:
        found = await heads.event_that_brought(db, MAIN, A, since=at(0), but=new_id())
        too_old = await heads.event_that_brought(db, MAIN, A, since=at(11), but=new_id())
        itself = await heads.event_that_brought(db, MAIN, A, since=at(0), but=push.id)
        another = await heads.event_that_brought(db, MAIN, B, since=at(0), but=new_id())
        elsewhere = await heads.event_that_brought(db, Branch("github.com/x/y", "main"), A, since=at(0), but=new_id())

    assert (found, too_old, itself, another, elsewhere) == (push.id, None, None, None, None)


async def test_any_of_some_ids_is_found(store: Store) -> None:
    push = await stored(store, A)
    async with store.read() as db:
        assert await heads.find_any(db, [new_id(), push.id]) == push.id
        assert await heads.find_any(db, [new_id()]) is None
