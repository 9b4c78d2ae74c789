"""The command as processes of its own: everything in one, from a push to its end, through Ctrl-C and a console that comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from demo.core.serve import Core, serving
from demo.core.world import World, compose_file
from demo.processes import free_port
from demo.sender import push_body
from shared.broker.topology import Names
from shared.results import ResultType
from shared.store.engine import Store
from tests.builders import an_event, store_run
from tests.integration.following import TOKEN, running_console
from tests.waiting import until

REPO = "acme/infra"
SECRET = "Zy0Qn4f2ReZcJq1rQ9mSTu7b"
STARTED, QUEUED = ResultType.RUN_STARTED, ResultType.ACTION_QUEUED


@asynccontextmanager
async def kgw(*arguments: str, **variables: str) -> AsyncIterator[Process]:
    """`kgw …` as a process, which the block may leave running."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kgw", *arguments, env={**os.environ, **variables}, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def ended(process: Process) -> tuple[int, list[dict[str, object]], str]:
    """Exit code, what was printed as JSON lines, and standard error."""
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [orjson.loads(line) for line in out.splitlines()], err.decode()


@pytest.fixture
async def installation(amqp_url: str, names: Names, tmp_path: Path) -> AsyncIterator[tuple[Core, Mapping[str, str]]]:
    """A simulated Komodo, and the environment of an installation on a store that does not exist yet."""
    ingress, console = free_port(), free_port()
    async with serving(World.monorepo("web", "db")) as core:
        values = {
            "KGW_AMQP_URL": amqp_url,
            "KGW_AMQP_PREFIX": names.prefix,
            "KGW_DATABASE_URL": f"sqlite:///{tmp_path / 'new' / 'kgw.db'}",
            "KOMODO_ADDRESS": core.url,
            "KOMODO_API_KEY": core.key,
            "KOMODO_API_SECRET": core.secret,
            "KOMODO_WEBHOOK_SECRET": SECRET,
            "KGW_API_TOKEN": TOKEN,
            "KGW_INGRESS_PORT": str(ingress),
            "KGW_SPOOL": str(tmp_path / "spool.db"),
            "KGW_WORKER_PORT": "0",
            "KGW_CONSOLE_PORT": str(console),
            "KGW_INGRESS_URL": f"http://127.0.0.1:{ingress}",
            "KGW_CONSOLE_URL": f"http://127.0.0.1:{console}",
        }
        yield core, values


def pushed(core: Core, stack: str) -> bytes:
    """A new version of the stack in the simulated repository, and the body that GitHub would send."""
    before = core.state.git.find("github.com", REPO).head("main")
    files = {f"stacks/{stack}/compose.yaml": compose_file(stack, "2.0")}
    return push_body(REPO, "main", core.state.push(repo=REPO, branch="main", files=files), before.sha)


async def test_all_in_one_process_takes_a_push_to_its_end(
    installation: tuple[Core, Mapping[str, str]], tmp_path: Path
) -> None:
    core, values = installation
    payload = tmp_path / "push.json"
    async with kgw("all", **values) as service, httpx.AsyncClient() as http:
        await until(lambda: _is_ready(http, values["KGW_INGRESS_URL"], service), seconds=40)
        await until(lambda: _is_ready(http, values["KGW_CONSOLE_URL"], service), seconds=40)
        payload.write_bytes(pushed(core, "web"))
        async with kgw("send", str(payload), "--follow", "-f", "json", **values) as sending:
            code, events, _ = await ended(sending)
        service.send_signal(signal.SIGTERM)
        service_code, printed, _ = await ended(service)

    assert code == 0
    assert [deploy.stack for deploy in core.history.deploys] == ["web"]
    assert events[-1]["type"] == "komodo.webhook.run.succeeded"
    assert (service_code, printed) == (0, [])


async def test_ctrl_c_ends_a_tail_with_130_and_without_a_traceback(
    amqp_url: str, names: Names, sqlite_store: Store
) -> None:
    async with running_console(amqp_url, names, sqlite_store) as console:
        run = await console.teller.new_run()
        await console.teller.run(run, STARTED)
        variables = {"KGW_CONSOLE_URL": console.url, "KGW_API_TOKEN": TOKEN}
        async with kgw("tail", run.id, "-f", "json", **variables) as tail:
            assert tail.stdout is not None
            assert b"run.started" in await tail.stdout.readline()
            tail.send_signal(signal.SIGINT)
            code, _, err = await ended(tail)

    assert code == 130
    assert "Traceback" not in err


async def test_a_tail_goes_on_where_it_was_when_the_console_comes_back(
    amqp_url: str, names: Names, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr("tests.integration.following.free_port", lambda: port)
    async with running_console(amqp_url, names, sqlite_store) as console:
        run = await console.teller.new_run()
        await console.teller.run(run, STARTED)
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as until_stopped:
        await until_stopped.enter_async_context(running_console(amqp_url, names, sqlite_store))
        async with kgw("tail", run.id, "-f", "json", KGW_CONSOLE_URL=url, KGW_API_TOKEN=TOKEN) as tail:
            assert tail.stdout is not None
            first = orjson.loads(await tail.stdout.readline())
            await until_stopped.aclose()
            async with running_console(amqp_url, names, sqlite_store) as console:
                await console.teller.run(run, QUEUED, ResultType.RUN_SUCCEEDED)
                code, rest, _ = await ended(tail)

    assert code == 0
    assert [int(str(event["sequence"])) for event in (first, *rest)] == [1, 2, 3]


async def test_a_delivery_that_succeeded_when_it_was_sent_again_ends_with_0(
    amqp_url: str, names: Names, sqlite_store: Store
) -> None:
    async with running_console(amqp_url, names, sqlite_store) as console:
        event = an_event()
        for ending in (ResultType.RUN_FAILED, ResultType.RUN_SUCCEEDED):
            async with sqlite_store.begin() as db:
                run = await store_run(db, event=event)
            await console.teller.delivery(event.delivery_id, ResultType.DELIVERY_ACCEPTED, procedures=["homelab"])
            await console.teller.run(run, STARTED, QUEUED, ending)
        async with kgw(
            "tail", event.delivery_id, KGW_CONSOLE_URL=console.url, KGW_API_TOKEN=TOKEN, NO_COLOR="1"
        ) as tail:
            async with asyncio.timeout(30):
                out, _ = await tail.communicate()

    assert tail.returncode == 0
    assert b"run.failed" in out
    assert b"\x1b" not in out


async def _is_ready(http: httpx.AsyncClient, url: str, service: Process) -> bool:
    assert service.returncode is None, "the service has ended"
    try:
        return (await http.get(f"{url}/readyz")).is_success
    except httpx.TransportError:
        return False
