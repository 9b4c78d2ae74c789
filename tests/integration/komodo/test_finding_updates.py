"""Updates of Komodo's: read in batches, and found again by whoever goes on with an attempt (I2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from demo.core.faults import Fault
from demo.core.serve import Core
from demo.core.world import ADMIN_USER
from shared.komodo.client import KomodoClient
from shared.komodo.types import Update

DEPLOYS = ("DeployStack", "DeployStackService")


@pytest.fixture
async def admin(core: Core) -> AsyncIterator[KomodoClient]:
    """Somebody else at work."""
    async with KomodoClient.connect(core.url, ADMIN_USER["key"], ADMIN_USER["secret"]) as client:
        yield client


async def find(core: Core, komodo: KomodoClient, stack: str = "web", **overrides: Any) -> Update | None:
    """Look for a deploy of ours on the stack."""
    asked: dict[str, Any] = {"operations": DEPLOYS, "since_ms": 0, "exclude_ids": ()}
    return await komodo.find_update("Stack", core.state.stack(stack).id, **{**asked, **overrides})


async def test_nothing_is_found_where_nothing_was_begun(core: Core, komodo: KomodoClient) -> None:
    assert await find(core, komodo) is None


async def test_i2_an_execution_whose_answer_was_lost_is_found(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(Fault(kind="reset", area="execute", after=True))
    with pytest.raises(Exception, match="did not answer in full"):
        await komodo.execute("DeployStack", stack="web")

    found = await find(core, komodo)

    assert found is not None
    assert found.id == core.history.executions[-1].update_id


async def test_one_that_is_still_in_progress_is_found_too(core: Core, komodo: KomodoClient) -> None:
    core.state.hold("web")
    begun = await komodo.execute("DeployStack", stack="web")

    found = await find(core, komodo)

    assert found is not None
    assert (found.id, found.is_complete) == (begun.id, False)
    core.state.release("web")


async def test_the_oldest_that_nobody_owns_is_found(core: Core, komodo: KomodoClient) -> None:
    begun = []
    for _ in range(3):
        begun.append((await komodo.execute("DeployStack", stack="web")).id)
        await core.state.settled()

    found = await find(core, komodo, exclude_ids={begun[0]})

    assert found is not None
    assert found.id == begun[1]
    assert await find(core, komodo, exclude_ids=set(begun)) is None


async def test_what_somebody_else_has_begun_is_not_ours(core: Core, komodo: KomodoClient, admin: KomodoClient) -> None:
    await admin.execute("DeployStack", stack="web")

    assert await find(core, komodo) is None


async def test_another_operation_or_stack_is_not_it(core: Core, komodo: KomodoClient) -> None:
    await komodo.execute("RestartStack", stack="web")
    await komodo.execute("DeployStack", stack="db")

    assert await find(core, komodo) is None


async def test_a_deploy_of_one_service_has_an_operation_of_its_own(core: Core, komodo: KomodoClient) -> None:
    begun = await komodo.execute("DeployStack", stack="web", services=["app"])

    found = await find(core, komodo)

    assert found is not None
    assert (found.id, found.operation) == (begun.id, "DeployStackService")


async def test_what_was_begun_before_then_is_not_it(core: Core, komodo: KomodoClient) -> None:
    begun = await komodo.execute("DeployStack", stack="web")

    assert await find(core, komodo, since_ms=begun.start_ts) is not None
    assert await find(core, komodo, since_ms=begun.start_ts + 1) is None


async def test_many_updates_are_read_a_hundred_at_a_time(core: Core, komodo: KomodoClient) -> None:
    account = next(account for account in core.state.accounts.values() if account.username == "kgw")
    stack = core.state.stack("web")
    ids = [core.state.start_update("DeployStack", account, stack).id for _ in range(250)]

    found = await komodo.updates(ids)

    assert set(found) == set(ids)
    assert core.history.asked("read", "ListUpdates") == 3


async def test_updates_that_komodo_does_not_know_are_missing(core: Core, komodo: KomodoClient) -> None:
    begun = await komodo.execute("DeployStack", stack="web")

    assert set(await komodo.updates([begun.id, "f" * 24])) == {begun.id}
    assert await komodo.updates([]) == {}


async def test_an_update_by_itself_has_its_logs(core: Core, komodo: KomodoClient) -> None:
    begun = await komodo.execute("DeployStack", stack="web")
    await core.state.settled()

    update = await komodo.update(begun.id)

    assert update.is_complete
    assert update.success
    assert "Compose Up" in [log.stage for log in update.logs]


async def test_an_update_says_success_before_it_has_begun(core: Core, komodo: KomodoClient) -> None:
    core.state.hold("web")

    begun = await komodo.execute("DeployStack", stack="web")

    assert (begun.success, begun.is_complete) == (True, False)
    core.state.release("web")
