"""Reads are tried again for seconds, an execution never; no call waits without end."""

from __future__ import annotations

import asyncio

import pytest

from demo.core.faults import Fault
from demo.core.serve import Core
from shared.errors import RateLimited, Transient, Unknown
from shared.komodo import client
from shared.komodo.client import TRIES, KomodoClient

LOCKED_OUT = '{"error": "Too many attempts | Try again in 1s", "trace": []}'


async def test_a_read_survives_two_answers_of_a_proxy(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(Fault(status=502, times=2))

    assert (await komodo.stack("web")).name == "web"
    assert [request.status for request in core.history.requests] == [502, 502, 200]


@pytest.mark.parametrize("fault", [Fault(kind="reset"), Fault(kind="reset", after=True)], ids=["before", "after"])
async def test_a_read_survives_a_dropped_connection(core: Core, komodo: KomodoClient, fault: Fault) -> None:
    core.knobs.faults.append(fault)

    assert (await komodo.stack("web")).name == "web"


async def test_a_refresh_is_tried_again_like_a_read(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(Fault(area="write", kind="reset", after=True))

    assert await komodo.write("RefreshStackCache", stack="web") == {}
    assert core.history.asked("write", "RefreshStackCache") == 2


async def test_a_read_is_given_up_after_its_tries(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(Fault(status=503, times=None))

    with pytest.raises(Transient):
        await komodo.stack("web")

    assert core.history.asked("read", "GetStack") == TRIES


async def test_a_refusal_is_not_tried_again(core: Core, komodo: KomodoClient) -> None:
    with pytest.raises(Exception, match="Did not find any Stack matching nobody"):
        await komodo.stack("nobody")

    assert core.history.asked("read", "GetStack") == 1


async def test_a_lock_out_is_waited_for_as_long_as_core_says(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(Fault(status=429, body=LOCKED_OUT, content_type="application/json"))

    began = asyncio.get_running_loop().time()
    await komodo.stack("web")

    assert asyncio.get_running_loop().time() - began >= 1.0


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, "<html>", 7.0),
        ({"Retry-After": "7"}, LOCKED_OUT, 7.0),
        ({}, LOCKED_OUT, 1.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "<html>", None),
        ({}, "<html>", None),
    ],
)
async def test_a_locked_out_execution_says_when_to_come_back(
    core: Core, komodo: KomodoClient, headers: dict[str, str], body: str, seconds: float | None
) -> None:
    core.knobs.faults.append(Fault(status=429, body=body, headers=headers))

    with pytest.raises(RateLimited) as caught:
        await komodo.execute("DeployStack", stack="web")

    assert caught.value.retry_after == seconds


async def test_i2_an_execution_whose_answer_is_lost_is_unknown_and_was_asked_for_once(
    core: Core, komodo: KomodoClient
) -> None:
    core.knobs.faults.append(Fault(kind="reset", area="execute", after=True))

    with pytest.raises(Unknown):
        await komodo.execute("DeployStack", stack="web")

    await core.state.settled()
    assert core.history.asked("execute", "DeployStack") == 1
    assert core.history.ran("web", "DeployStack") == 1


async def test_i2_an_execution_on_a_connection_that_core_has_closed_is_not_sent_twice(
    core: Core, komodo: KomodoClient
) -> None:
    await komodo.stack("web")
    core.knobs.down = True

    with pytest.raises(Unknown):
        await komodo.execute("DeployStack", stack="web")

    assert core.history.asked("execute", "DeployStack") == 1


async def test_a_call_that_is_never_answered_ends(
    core: Core, komodo: KomodoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REQUEST_SECONDS", 0.1)
    core.knobs.faults.append(Fault(kind="hang", times=None))

    async with asyncio.timeout(10):
        with pytest.raises(Transient, match="did not answer in full"):
            await komodo.stack("web")

    assert core.history.asked("read", "GetStack") == TRIES


async def test_an_execution_that_is_never_answered_is_unknown_after_its_own_time(core: Core) -> None:
    core.knobs.faults.append(Fault(kind="hang"))

    async with KomodoClient.connect(core.url, core.key, core.secret, execute_seconds=0.2) as komodo:
        async with asyncio.timeout(5):
            with pytest.raises(Unknown):
                await komodo.execute("DeployStack", stack="web")


async def test_many_calls_at_once_are_all_answered(core: Core, komodo: KomodoClient) -> None:
    core.knobs.latency = (0.001, 0.01)

    stacks = await asyncio.gather(*(komodo.stack("web") for _ in range(200)))

    assert {stack.name for stack in stacks} == {"web"}
