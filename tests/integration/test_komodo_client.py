"""Our side of Komodo where something stands in between, answers in Komodo's place, or changes while we read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from demo.core.faults import Fault
from demo.core.serve import Core, serving
from demo.core.world import World
from shared import clock
from shared.errors import KgwError, Misconfigured, Permanent, Transient, Unknown
from shared.komodo import client
from shared.komodo.client import CONNECTIONS, KomodoClient
from shared.komodo.stacks import StackCache
from shared.komodo.types import Update
from shared.komodo.updates import UpdateWatcher

SECONDS = timedelta(seconds=20)


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with serving(World.monorepo("web", "db")) as core:
        yield core


@pytest.fixture
async def komodo(core: Core) -> AsyncIterator[KomodoClient]:
    async with KomodoClient.connect(core.url, core.key, core.secret) as client:
        yield client


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        # Core's history is a plain list that nobody can wait for.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def says(status: int, error: str, times: int | None = None) -> Fault:
    body = '{"error": "' + error + '", "trace": []}'
    return Fault(status=status, body=body, content_type="application/json", times=times)


async def test_an_address_with_a_password_is_refused_because_it_would_replace_the_api_key() -> None:
    with pytest.raises(Misconfigured, match="KOMODO_ADDRESS") as caught:
        async with KomodoClient.connect("https://ops:hunter2@komodo.example.com", "key", "secret"):
            pass

    assert "hunter2" not in caught.value.reason


async def test_an_address_that_can_not_be_read_is_not_repeated() -> None:
    with pytest.raises(Misconfigured) as caught:
        async with KomodoClient.connect("https://ops:hunter2@komodo:port", "key", "secret"):
            pass

    assert "hunter2" not in f"{caught.value!r}"


STAYS: list[tuple[int, str, str]] = [
    (500, "Invalid user credentials", "refuses the API key"),
    (401, "invalid IP address syntax", "X-Forwarded-For"),
    (500, "Request headers have X-API-KEY but missing X-API-SECRET", "missing X-API-SECRET"),
    (500, "unknown variant `GetStakc`, expected one of", "unknown variant"),
    (500, "No tag found matching name or id: x", "No tag found"),
    (500, "Wildcard matching string invalid", "matching string invalid"),
]


@pytest.mark.parametrize(("status", "error", "text"), STAYS)
async def test_what_only_a_person_can_mend_is_said_once(
    core: Core, komodo: KomodoClient, status: int, error: str, text: str
) -> None:
    core.knobs.faults.append(says(status, error))

    with pytest.raises(Permanent, match=text):
        await komodo.stack("web")

    assert core.history.asked("read", "GetStack") == 1


async def test_a_maintenance_page_in_json_is_not_a_stack(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(
        Fault(status=200, body='{"status": "maintenance"}', content_type="application/json", times=None)
    )

    with pytest.raises(Transient, match="something else"):
        await komodo.stack("web")
    with pytest.raises(Transient, match="something else"):
        await komodo.updates(["68a0c7f0a1d2b3c4d5e6f708"])
    with pytest.raises(Transient, match="something else"):
        await komodo.user_id()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_i2_an_execution_that_a_proxy_gave_up_on_may_have_begun(
    core: Core, komodo: KomodoClient, status: int
) -> None:
    core.knobs.faults.append(says(status, "upstream request timeout"))

    with pytest.raises(Unknown):
        await komodo.execute("DeployStack", stack="web")


async def test_an_execution_that_found_no_free_connection_has_certainly_not_begun(core: Core) -> None:
    core.knobs.faults.append(Fault(kind="hang", area="read", times=None))
    async with KomodoClient.connect(core.url, core.key, core.secret, execute_seconds=0.2) as komodo:
        reads = [asyncio.create_task(komodo.stack("web")) for _ in range(CONNECTIONS)]
        await until(lambda: core.history.asked("read", "GetStack") == CONNECTIONS)

        with pytest.raises(KgwError) as caught:
            await komodo.execute("DeployStack", stack="web")
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    assert type(caught.value) is Transient
    assert core.history.asked("execute", "DeployStack") == 0


async def test_an_answer_without_an_end_is_not_read_to_its_end(
    core: Core, komodo: KomodoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER", 1_000)
    core.knobs.faults.append(Fault(status=200, body="x" * 2_000, times=None))

    with pytest.raises(Transient, match="DecodingError"):
        await komodo.stack("web")


async def test_stacks_that_were_read_before_they_were_invalidated_are_not_kept(
    core: Core, komodo: KomodoClient
) -> None:
    core.knobs.latency = (0.05, 0.05)
    cache = StackCache(komodo, seconds=60)
    reading = asyncio.create_task(cache.get())
    await until(lambda: core.history.asked("read", "ListStacks") == 1)

    cache.invalidate()
    later = await cache.get()

    assert list(await reading) == list(later)
    assert core.history.asked("read", "ListStacks") == 2
    assert await cache.get() == later
    assert core.history.asked("read", "ListStacks") == 2


async def test_a_list_of_stacks_that_is_none_is_not_kept(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(
        Fault(variant="ListStacks", status=200, body='[{"id": 1}]', content_type="application/json")
    )
    core.knobs.faults.append(
        Fault(variant="ListFullStacks", status=200, body='[{"id": 1}]', content_type="application/json")
    )
    cache = StackCache(komodo, seconds=60)

    with pytest.raises(Transient):
        await cache.get()

    assert [stack.name for stack in await cache.get()] == ["db", "web"]


def started(core: Core) -> str:
    """An update of ours that nobody is at work on."""
    account = next(account for account in core.state.accounts.values() if account.username == "kgw")
    return core.state.start_update("DeployStack", account, core.state.stack("web")).id


def finish(core: Core, update_id: str) -> None:
    core.state.finish_update(core.state.updates.by_id[update_id])


def looks(core: Core) -> int:
    return core.history.asked("read", "ListUpdates")


async def waited(watcher: UpdateWatcher, update_id: str, within: timedelta = SECONDS) -> Update | None:
    return await watcher.wait(update_id, until=clock.now() + within)


async def test_one_whose_time_is_over_does_not_end_the_wait_of_another(core: Core, komodo: KomodoClient) -> None:
    watcher, stop, update_id = UpdateWatcher(komodo, interval=0.05), asyncio.Event(), started(core)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run(stop))
        patient = group.create_task(waited(watcher, update_id))

        assert await waited(watcher, update_id, timedelta(seconds=0.2)) is None
        finish(core, update_id)
        update = await patient
        stop.set()

    assert update is not None
    assert update.is_complete


async def test_a_wait_that_is_woken_does_not_wait_for_the_next_look(core: Core, komodo: KomodoClient) -> None:
    watcher, stop, update_id = UpdateWatcher(komodo, interval=60), asyncio.Event(), started(core)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run(stop))
        waiting = group.create_task(waited(watcher, update_id))
        await until(lambda: looks(core) == 1)

        finish(core, update_id)
        watcher.wake(update_id)
        async with asyncio.timeout(10):
            update = await waiting
        stop.set()

    assert update is not None
    assert update.success


async def test_waking_for_an_update_that_nobody_waits_for_asks_nothing(core: Core, komodo: KomodoClient) -> None:
    watcher, stop, update_id = UpdateWatcher(komodo, interval=0.02), asyncio.Event(), started(core)
    finish(core, update_id)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run(stop))
        watcher.wake("68a0c7f0a1d2b3c4d5e6f708")
        assert await waited(watcher, update_id) is not None
        stop.set()

    assert looks(core) == 1


async def test_a_core_that_refuses_is_asked_less_and_less_often(core: Core, komodo: KomodoClient) -> None:
    """Each refusal of a key counts towards locking out everyone behind our address."""
    core.knobs.faults.append(says(401, "Invalid user credentials", times=4))
    watcher, stop, update_id = UpdateWatcher(komodo, interval=0.05), asyncio.Event(), started(core)
    finish(core, update_id)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run(stop))
        update = await waited(watcher, update_id)
        stop.set()

    times = [request.at_ms for request in core.history.requests if request.variant == "ListUpdates"]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert update is not None
    assert len(gaps) == 4
    assert all(gap >= expected for gap, expected in zip(gaps, (95, 195, 395, 795), strict=True))
