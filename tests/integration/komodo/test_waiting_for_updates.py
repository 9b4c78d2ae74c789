"""Waiting: many waits are one read per interval, and every wait has an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from demo.core.faults import Fault
from demo.core.serve import Core
from shared import clock
from shared.errors import Permanent, Transient
from shared.komodo.client import KomodoClient
from shared.komodo.types import Update
from shared.komodo.updates import UpdateWatcher
from tests.system import until

INTERVAL = 0.05
LONG = timedelta(seconds=20)


@pytest.fixture
async def watcher(komodo: KomodoClient) -> AsyncIterator[UpdateWatcher]:
    """A watcher at work."""
    watcher, stop = UpdateWatcher(komodo, interval=INTERVAL), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run(stop))
        yield watcher
        stop.set()


async def wait(watcher: UpdateWatcher, update_id: str, within: timedelta = LONG) -> Update | None:
    return await watcher.wait(update_id, until=clock.now() + within)


def started(core: Core, count: int) -> list[str]:
    """Updates of ours that nobody is at work on."""
    account = next(account for account in core.state.accounts.values() if account.username == "kgw")
    return [core.state.start_update("DeployStack", account, core.state.stack("web")).id for _ in range(count)]


def finish(core: Core, ids: list[str]) -> None:
    for update_id in ids:
        core.state.finish_update(core.state.updates.by_id[update_id])


async def reads(core: Core, further: int) -> None:
    """Until Core was asked that often more."""
    goal = core.history.asked("read", "ListUpdates") + further

    async def were_made() -> bool:
        return core.history.asked("read", "ListUpdates") >= goal

    await until(were_made, f"{further} more reads", seconds=15)


async def test_a_deploy_is_waited_for(core: Core, komodo: KomodoClient, watcher: UpdateWatcher) -> None:
    begun = await komodo.execute("DeployStack", stack="web")

    update = await wait(watcher, begun.id)

    assert update is not None
    assert (update.id, update.is_complete, update.success) == (begun.id, True, True)


async def test_i6_success_is_not_believed_while_it_is_in_progress(
    core: Core, komodo: KomodoClient, watcher: UpdateWatcher
) -> None:
    core.state.hold("web")
    begun = await komodo.execute("DeployStack", stack="web")
    waiting = asyncio.create_task(wait(watcher, begun.id))
    await reads(core, 3)

    assert begun.success
    assert not waiting.done()
    core.state.release("web")
    assert await waiting is not None


async def test_many_waits_are_one_read_per_interval(core: Core, watcher: UpdateWatcher) -> None:
    ids = started(core, 90)
    waiting = [asyncio.create_task(wait(watcher, update_id)) for update_id in ids]
    await reads(core, 4)

    finish(core, ids)
    updates = await asyncio.gather(*waiting)

    assert [update.id for update in updates if update] == ids
    assert core.history.asked("read", "ListUpdates") <= 7
    assert core.history.asked("read", "GetUpdate") == 0


async def test_while_nobody_waits_nothing_is_read(core: Core, watcher: UpdateWatcher) -> None:
    (update_id,) = started(core, 1)
    finish(core, [update_id])
    await wait(watcher, update_id)
    asked = core.history.asked("read", "ListUpdates")

    await asyncio.sleep(4 * INTERVAL)

    assert core.history.asked("read", "ListUpdates") == asked


async def test_a_failed_update_comes_with_its_logs(core: Core, komodo: KomodoClient, watcher: UpdateWatcher) -> None:
    core.knobs.failing_deploys["web"] = "Error: port is already allocated"
    begun = await komodo.execute("DeployStack", stack="web")

    update = await wait(watcher, begun.id)

    assert update is not None
    assert not update.success
    assert "port is already allocated" in "".join(log.stderr for log in update.logs)


async def test_logs_that_can_not_be_read_are_no_success(
    core: Core, komodo: KomodoClient, watcher: UpdateWatcher
) -> None:
    core.knobs.failing_deploys["web"] = "Error"
    core.knobs.faults.append(Fault(variant="GetUpdate", times=None))
    begun = await komodo.execute("DeployStack", stack="web")

    with pytest.raises(Transient):
        await wait(watcher, begun.id)


async def test_core_may_be_away_during_the_wait(core: Core, watcher: UpdateWatcher) -> None:
    (update_id,) = started(core, 1)
    waiting = asyncio.create_task(wait(watcher, update_id))
    await reads(core, 1)

    core.knobs.down = True
    await reads(core, 4)
    core.knobs.down = False
    finish(core, [update_id])

    update = await waiting
    assert update is not None
    assert update.success


async def test_an_update_that_never_completes_is_none_at_the_deadline(core: Core, watcher: UpdateWatcher) -> None:
    (update_id,) = started(core, 1)

    async with asyncio.timeout(5):
        assert await wait(watcher, update_id, timedelta(seconds=0.3)) is None


async def test_a_deadline_that_has_passed_is_none_at_once(core: Core, watcher: UpdateWatcher) -> None:
    (update_id,) = started(core, 1)

    assert await wait(watcher, update_id, timedelta(seconds=-1)) is None


async def test_an_update_that_komodo_no_longer_knows_ends_the_wait(core: Core, watcher: UpdateWatcher) -> None:
    with pytest.raises(Permanent, match="no longer knows the update"):
        await wait(watcher, "f" * 24)


async def test_a_wait_that_ended_is_no_longer_read_for(core: Core, watcher: UpdateWatcher) -> None:
    given_up, kept = started(core, 2)
    waiting = asyncio.create_task(wait(watcher, kept))
    assert await wait(watcher, given_up, timedelta(seconds=0.2)) is None

    finish(core, [given_up])
    finish(core, [kept])

    assert await waiting is not None
    assert await wait(watcher, given_up) is not None


async def test_two_may_wait_for_the_same_update(core: Core, watcher: UpdateWatcher) -> None:
    (update_id,) = started(core, 1)
    short = asyncio.create_task(wait(watcher, update_id, timedelta(seconds=0.2)))
    long = asyncio.create_task(wait(watcher, update_id))
    assert await short is None

    finish(core, [update_id])

    async with asyncio.timeout(5):
        assert await long is not None


async def test_a_watcher_stops_with_waits_open_and_they_end_at_their_deadline(core: Core, komodo: KomodoClient) -> None:
    (update_id,) = started(core, 1)
    watcher, stop = UpdateWatcher(komodo, interval=INTERVAL), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run(stop))
        waiting = group.create_task(wait(watcher, update_id, timedelta(seconds=0.5)))
        await reads(core, 2)
        stop.set()

    assert waiting.result() is None


async def test_a_watcher_that_was_never_needed_stops(komodo: KomodoClient) -> None:
    stop = asyncio.Event()
    stop.set()

    async with asyncio.timeout(5):
        await UpdateWatcher(komodo, interval=INTERVAL).run(stop)
