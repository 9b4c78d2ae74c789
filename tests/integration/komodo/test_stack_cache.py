"""Komodo's stacks, asked for once however many ask."""

from __future__ import annotations

import asyncio

import pytest

from demo.core.faults import Fault
from demo.core.serve import Core, serving
from demo.core.world import SERVICE_USER, World
from shared.errors import Transient
from shared.komodo.client import KomodoClient
from shared.komodo.stacks import StackCache


def asked(core: Core) -> int:
    return core.history.asked("read", "ListStacks")


async def test_however_many_ask_at_once_komodo_is_asked_once(core: Core, komodo: KomodoClient) -> None:
    core.knobs.latency = (0.02, 0.02)
    cache = StackCache(komodo, seconds=60)

    answers = await asyncio.gather(*(cache.get() for _ in range(50)))

    assert {tuple(stack.name for stack in stacks) for stacks in answers} == {("db", "web", "wiki")}
    assert asked(core) == 1


async def test_what_was_read_is_kept_for_its_time(core: Core, komodo: KomodoClient) -> None:
    cache = StackCache(komodo, seconds=60)

    await cache.get()
    await cache.get()

    assert asked(core) == 1


async def test_without_a_time_every_answer_is_fresh(core: Core, komodo: KomodoClient) -> None:
    cache = StackCache(komodo, seconds=0)

    await cache.get()
    await cache.get()

    assert asked(core) == 2


async def test_what_is_no_longer_true_is_read_again(core: Core, komodo: KomodoClient) -> None:
    cache = StackCache(komodo, seconds=60)
    await cache.get()
    core.state.stack("web").state = "stopped"

    cache.invalidate()
    stacks = await cache.get()

    assert {stack.name: stack.state for stack in stacks}["web"] == "stopped"
    assert asked(core) == 2


async def test_an_error_reaches_everyone_who_asked_and_is_not_kept(core: Core, komodo: KomodoClient) -> None:
    cache = StackCache(komodo, seconds=60)
    core.knobs.faults.append(Fault(variant="ListStacks", times=3))

    answers = await asyncio.gather(*(cache.get() for _ in range(5)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {Transient}
    assert len(await cache.get()) == 3


async def test_one_who_gives_up_does_not_spoil_it_for_the_others(core: Core, komodo: KomodoClient) -> None:
    core.knobs.latency = (0.05, 0.05)
    cache = StackCache(komodo, seconds=60)
    first, second = asyncio.create_task(cache.get()), asyncio.create_task(cache.get())
    await asyncio.sleep(0)

    first.cancel()

    assert len(await second) == 3
    assert asked(core) == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_stack_is_found_by_its_id(core: Core, komodo: KomodoClient) -> None:
    cache = StackCache(komodo, seconds=60)
    wanted = core.state.stack("web").id

    found = await cache.find(wanted)

    assert found is not None
    assert (found.id, found.name) == (wanted, "web")
    assert await cache.find("f" * 24) is None


async def test_more_stacks_than_a_page_are_all_there_templates_included() -> None:
    world = World.monorepo(*(f"stack-{number:03}" for number in range(120)))
    world.stack[7].template = True
    async with (
        serving(world) as core,
        KomodoClient.connect(core.url, core.key, core.secret) as komodo,
    ):
        stacks = await StackCache(komodo, seconds=60).get()

    assert len(stacks) == 120
    assert [stack.name for stack in stacks if stack.template] == ["stack-007"]


async def test_a_stack_that_only_one_of_the_two_reads_has_is_left_out(core: Core, komodo: KomodoClient) -> None:
    cache = StackCache(komodo, seconds=0)
    core.knobs.faults.append(Fault(variant="ListFullStacks", status=200, body="[]", content_type="application/json"))

    assert len(await cache.get()) == 0
    assert len(await cache.get()) == 3


async def test_no_secret_of_a_stack_stays_in_memory(core: Core, komodo: KomodoClient) -> None:
    config = core.state.stack("web").config
    config.update(environment="PASSWORD=hunter2", webhook_secret="hunter2", file_contents="hunter2")

    stacks = await StackCache(komodo, seconds=60).get()

    assert "hunter2" not in repr(stacks)
    assert SERVICE_USER["secret"] not in repr(stacks)
