"""
The knobs: answers that fail, connections that drop, slowness, and turning all that from outside.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.core.faults import Fault, FaultKind, Knobs
from demo.core.serve import Core, serving
from demo.core.world import World, compose_file
from tests.unit.demo.conftest import DEMO_WORLD, Komodo


async def test_the_next_requests_that_match_fail_as_told_and_then_no_more(komodo: Komodo) -> None:
    komodo.core.knobs.faults.append(Fault(area="read", variant="GetVersion", times=2, status=503, body="busy"))

    statuses = [(await komodo.post("read", "GetVersion")).status_code for _ in range(3)]
    other = await komodo.post("read", "GetCoreInfo")

    assert statuses == [503, 503, 200]
    assert other.status_code == 200


async def test_a_fault_finds_the_variant_of_a_request_by_type(komodo: Komodo) -> None:
    komodo.core.knobs.faults.append(Fault(variant="GetVersion"))

    response = await komodo.http.post("/read", json={"type": "GetVersion", "params": {}})

    assert response.status_code == 502
    assert response.headers["content-type"] == "text/html"
    assert "<html>" in response.text


async def test_a_fault_may_bring_headers(komodo: Komodo) -> None:
    komodo.core.knobs.faults.append(Fault(status=429, headers={"Retry-After": "7"}))

    response = await komodo.post("read", "GetVersion")

    assert (response.status_code, response.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("kind", ["answer", "reset"])
async def test_a_fault_afterwards_eats_the_answer_of_what_was_done(komodo: Komodo, kind: FaultKind) -> None:
    komodo.core.knobs.faults.append(Fault(kind=kind, area="execute", after=True))

    if kind == "reset":
        with pytest.raises(httpx.TransportError):
            await komodo.post("execute", "DeployStack", stack="cache")
    else:
        assert (await komodo.post("execute", "DeployStack", stack="cache")).status_code == 502
    await komodo.core.state.settled()

    assert komodo.core.history.ran("cache") == 1


async def test_a_reset_drops_the_connection_before_anything_is_done(komodo: Komodo) -> None:
    komodo.core.knobs.faults.append(Fault(kind="reset"))

    with pytest.raises(httpx.TransportError):
        await komodo.post("execute", "DeployStack", stack="cache")

    assert list(komodo.core.history.executions) == []
    assert (await komodo.post("read", "GetVersion")).status_code == 200


async def test_a_hang_lasts_until_the_client_gives_up(komodo: Komodo) -> None:
    komodo.core.knobs.faults.append(Fault(kind="hang"))

    with pytest.raises(httpx.ReadTimeout):
        await komodo.http.post("/read/GetVersion", json={}, timeout=0.05)


async def test_a_hanging_request_does_not_keep_core_from_ending() -> None:
    knobs = Knobs(faults=[Fault(kind="hang")])
    async with httpx.AsyncClient() as http:
        async with asyncio.timeout(5), serving(World.monorepo("web"), knobs) as core:
            hanging = asyncio.create_task(http.get(f"{core.url}/version"))
            while not core.history.requests:  # noqa: ASYNC110 - a plain deque wakes nobody
                await asyncio.sleep(0)
        (ended,) = await asyncio.gather(hanging, return_exceptions=True)

    assert isinstance(ended, httpx.TransportError | httpx.Response)


async def test_a_core_that_is_down_drops_everything(komodo: Komodo) -> None:
    komodo.core.knobs.down = True
    with pytest.raises(httpx.TransportError):
        await komodo.http.get("/version")
    komodo.core.knobs.down = False

    assert (await komodo.http.get("/version")).text == "2.3.2"


async def test_latency_and_deploy_times_are_taken(komodo: Komodo) -> None:
    komodo.core.knobs.latency = (0.05, 0.05)
    komodo.core.knobs.deploy_seconds_of["cache"] = 0.05
    began = time.monotonic()

    await komodo.run("DeployStack", stack="cache")

    assert time.monotonic() - began >= 0.15


async def test_cores_clock_may_be_off(komodo: Komodo) -> None:
    komodo.core.knobs.clock_offset = -3600

    update = await komodo.execute("DeployStack", stack="cache")

    assert abs(update["start_ts"] - (time.time() - 3600) * 1000) < 60_000
    assert int(update["_id"]["$oid"][:8], 16) == update["start_ts"] // 1000


async def test_a_stack_may_come_up_in_another_state(komodo: Komodo) -> None:
    komodo.core.knobs.stuck_states["cache"] = "unhealthy"

    update = await komodo.run("DeployStack", stack="cache")

    assert update["success"] is True
    assert (await komodo.item("cache"))["info"]["state"] == "unhealthy"


async def test_the_next_executions_may_never_complete(komodo: Komodo) -> None:
    komodo.core.knobs.never_complete_next = 1

    updates = [await komodo.run("DeployStack", stack="cache") for _ in range(2)]

    assert [update["status"] for update in updates] == ["InProgress", "Complete"]
    assert komodo.core.history.outcomes("cache") == ["lost", "ran"]


async def test_history_counts_requests_with_their_statuses(komodo: Komodo) -> None:
    await komodo.read("GetVersion")
    await komodo.post("read", "GetStack", stack="x")

    assert [tuple(request)[:3] for request in komodo.core.history.requests] == [
        ("read", "GetVersion", 200),
        ("read", "GetStack", 500),
    ]
    assert komodo.core.history.asked("read", "GetStack") == 1


# From outside the process


@pytest.fixture
async def control() -> AsyncIterator[tuple[Core, httpx.AsyncClient]]:
    world = World.monorepo("web", "api")
    async with (
        serving(world, Knobs(control=True)) as core,
        httpx.AsyncClient(base_url=core.url, headers=core.headers) as http,
    ):
        yield core, http


async def test_a_push_from_outside_is_deployed(control: tuple[Core, httpx.AsyncClient]) -> None:
    core, http = control
    body = {"files": {"stacks/web/compose.yaml": compose_file("web", "2.0"), "README.md": None, "new": "x"}}

    pushed = (await http.post("/_sim/push", json=body)).json()
    await http.post("/execute/DeployStackIfChanged", json={"stack": "web"})
    await core.state.settled()
    history = (await http.get("/_sim/history")).json()

    assert len(pushed["sha"]) == 40
    assert (pushed["added"], pushed["modified"], pushed["removed"]) == (
        ["new"],
        ["stacks/web/compose.yaml"],
        ["README.md"],
    )
    assert [deploy["sha"] for deploy in history["deploys"]] == [pushed["sha"]]
    assert history["executions"][0]["outcome"] == "ran"


async def test_knobs_are_turned_from_outside(control: tuple[Core, httpx.AsyncClient]) -> None:
    core, http = control

    turned = await http.post("/_sim/knobs", json={"deploy_seconds": 2, "busy": ["web"], "faults": [{"status": 503}]})
    wrong = await http.post("/_sim/knobs", json={"deploy_secs": 2})
    bad = await http.post("/_sim/knobs", json={"deploy_seconds": "soon"})

    assert turned.json()["deploy_seconds"] == 2
    assert core.knobs.busy == {"web"}
    assert core.knobs.faults == [Fault(status=503)]
    assert (wrong.status_code, bad.status_code) == (400, 400)


CONTROL: list[tuple[str, Any, int]] = [
    ("push", {"files": {"a": "b"}, "repo": "acme/none"}, 409),
    ("push", {"file": {}}, 400),
    ("tag", {"name": "v2"}, 200),
    ("delete-branch", {"branch": "none"}, 409),
    ("restart", {}, 200),
    ("nothing", {}, 404),
]


@pytest.mark.parametrize(("name", "body", "status"), CONTROL)
async def test_the_control_api_refuses_what_it_can_not_do(
    control: tuple[Core, httpx.AsyncClient], name: str, body: Any, status: int
) -> None:
    _, http = control

    assert (await http.post(f"/_sim/{name}", json=body)).status_code == status


def test_the_world_of_the_demo_shows_every_kind_of_stack() -> None:
    world = World.load(Path(DEMO_WORLD))

    stacks = {stack.name: stack for stack in world.stack}
    assert any(stack.config.linked_repo for stack in stacks.values())
    assert any(stack.config.files_on_host for stack in stacks.values())
    assert any(stack.config.file_contents for stack in stacks.values())
    assert any(stack.config.commit for stack in stacks.values())
    assert any(stack.template for stack in stacks.values())
    assert any(not stack.config.webhook_enabled for stack in stacks.values())
    assert any(stack.state == "stopped" for stack in stacks.values())
    assert world.user[0].username == "kgw"
    assert world.user[0].all["Stack"] == "Execute"


async def test_the_same_world_has_the_same_ids_and_commits_each_time() -> None:
    seen = []
    for _ in range(2):
        async with serving(World.load(DEMO_WORLD)) as core:
            pushed = core.state.push(files={"README.md": "x"})
            seen.append((core.state.stack("web").id, pushed.sha, pushed.parents))

    assert seen[0] == seen[1]


async def test_it_runs_as_a_process_of_its_own_and_says_where(unused_tcp_port: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.core", "--port", str(unused_tcp_port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            ready = (await process.stdout.readline()).decode()
            async with httpx.AsyncClient() as http:
                version = await http.get(f"http://127.0.0.1:{unused_tcp_port}/version")
    finally:
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert ready == f"simulated Komodo Core 2.3.2 at http://127.0.0.1:{unused_tcp_port}\n"
    assert version.text == "2.3.2"
    assert code == 0
