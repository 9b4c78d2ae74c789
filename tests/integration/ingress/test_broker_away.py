"""While the broker is away, silent or blocking, deliveries are accepted all the same, and planned in the end (I1, I8)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from demo.core.serve import serving
from demo.core.world import World
from dev.rabbitmq import Node
from ingress.spool import OFF, opened, summarize
from kgw.spool import drain
from shared.errors import Busy, Misconfigured
from shared.store.engine import Store
from shared.store.tables import deliveries
from tests.integration.broker.relay import relaying
from tests.system import System, until

ACCEPTED, AWAY = 202, 503
GLOBAL = "/listener/github/global"


@pytest.fixture
async def system(own_broker: Node, amqp_prefix: str, sqlite_store: Store) -> AsyncIterator[System]:
    """A service on a broker that nobody else uses."""
    async with serving(World.monorepo("web")) as core:
        yield System(own_broker.url, amqp_prefix, core, sqlite_store)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where the ingress spools."""
    return tmp_path / "spool.db"


class Sender:
    """Sends pushes that nothing follows but their record, and remembers what was answered."""

    def __init__(self, system: System, client: httpx.AsyncClient) -> None:
        self._system = system
        self._client = client
        self.accepted: list[str] = []
        self.answers: list[httpx.Response] = []

    async def send(self, many: int = 1) -> list[int]:
        """Send new pushes, one after the other; the status codes."""
        for _ in range(many):
            push = self._system.push({"README.md": f"{len(self.answers)}\n"})
            answer = await self._client.post(GLOBAL, content=push.body, headers=push.headers)
            self.answers.append(answer)
            if answer.is_success:
                self.accepted.append(answer.json()["delivery"])
        return [answer.status_code for answer in self.answers[-many:]]


async def assert_all_planned_in_order(system: System, sent: list[str]) -> None:
    async with system.worker(worker_concurrency=1):
        for delivery in sent:
            await system.ended_runs(delivery)
    async with system.store.read() as db:
        recorded = list((await db.execute(select(deliveries.c.id).order_by(deliveries.c.received_at))).scalars())
    assert [one for one in recorded if one in sent] == sent


def is_empty(spool: Path) -> bool:
    return summarize(spool).size.events == 0


async def drained(spool: Path) -> None:
    async def is_drained() -> bool:
        return await asyncio.to_thread(is_empty, spool)

    await until(is_drained, "the spool is drained")


async def reached(client: httpx.AsyncClient) -> None:
    """Await that the ingress has its broker."""

    async def is_ready() -> bool:
        return bool((await client.get("/readyz")).json()["status"] == "ready")

    await until(is_ready, "the ingress has its broker")


@asynccontextmanager
async def stopped(node: Node) -> AsyncIterator[None]:
    """The broker is away in the block."""
    await asyncio.to_thread(node.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(node.start)


@contextmanager
def alarmed(node: Node) -> Iterator[None]:
    """The broker believes that it has no memory left, and blocks all who publish."""
    alarm = "{resource_limit, memory, node()}"
    _evaluate(node, f"rabbit_alarm:set_alarm({{{alarm}, []}}).")
    try:
        yield
    finally:
        _evaluate(node, f"rabbit_alarm:clear_alarm({alarm}).")


@contextmanager
def limited(node: Node, size: int) -> Iterator[None]:
    """The broker ends the channel of whoever publishes more bytes in one message, on channels that begin in the block."""
    _evaluate(node, f"application:set_env(rabbit, max_message_size, {size}).")
    try:
        yield
    finally:
        _evaluate(node, "application:set_env(rabbit, max_message_size, 134217728).")


def _evaluate(node: Node, expression: str) -> None:
    control = node._server.parent / "rabbitmqctl"
    subprocess.run([control, "eval", expression], env=node._environment(), check=True, capture_output=True, timeout=60)


async def test_i1_deliveries_are_accepted_while_the_broker_is_away_and_planned_when_it_is_back(
    own_broker: Node, system: System, spool: Path
) -> None:
    async with system.ingress(publish_timeout=0.5, spool=str(spool)) as client:
        sender = Sender(system, client)
        await reached(client)
        assert await sender.send() == [ACCEPTED]
        async with stopped(own_broker):
            assert await sender.send(5) == [ACCEPTED] * 5
            page = await client.get("/readyz")
            metrics = (await client.get("/metrics")).text
        await drained(spool)
        assert await sender.send() == [ACCEPTED]

    told = page.json()
    assert (page.status_code, told["status"], told["dependencies"]["broker"]) == (200, "degraded", "unreachable")
    assert told["dependencies"]["spool"].startswith("5 events, ")
    assert "\nkgw_spool_events 5.0\n" in metrics
    assert is_empty(spool)
    await assert_all_planned_in_order(system, sender.accepted)


async def test_i1_a_broker_that_blocks_its_publishers_counts_as_away(
    own_broker: Node, system: System, spool: Path
) -> None:
    async with system.ingress(publish_timeout=0.5, spool=str(spool)) as client:
        sender = Sender(system, client)
        await reached(client)
        await sender.send()
        with alarmed(own_broker):
            began = asyncio.get_running_loop().time()
            assert await sender.send(20) == [ACCEPTED] * 20
            took = asyncio.get_running_loop().time() - began
        await drained(spool)
        assert await sender.send() == [ACCEPTED]

    assert 0.5 <= took < 5
    await assert_all_planned_in_order(system, sender.accepted)


async def test_i1_a_broker_that_falls_silent_counts_as_away(own_broker: Node, system: System, spool: Path) -> None:
    async with (
        relaying(own_broker.url) as way,
        system.ingress(amqp_url=SecretStr(way.url), publish_timeout=0.5, spool=str(spool)) as client,
    ):
        sender = Sender(system, client)
        await reached(client)
        await sender.send()
        way.hold()
        assert await sender.send(10) == [ACCEPTED] * 10
        way.mend()
        await drained(spool)
        assert await sender.send() == [ACCEPTED]

    await assert_all_planned_in_order(system, sender.accepted)


async def test_i1_an_event_that_the_broker_refuses_is_set_aside_and_keeps_nobody_up(
    own_broker: Node, system: System, spool: Path
) -> None:
    with limited(own_broker, 8_000):
        async with system.ingress(publish_timeout=0.5, spool=str(spool)) as client:
            sender = Sender(system, client)
            await reached(client)
            await sender.send()
            huge = system.push({f"{number:01000}": "x" for number in range(10)})
            answer = await client.post(GLOBAL, content=huge.body, headers=huge.headers)
            assert await sender.send(5) == [ACCEPTED] * 5
            await drained(spool)
            assert await sender.send() == [ACCEPTED]

    assert answer.status_code == ACCEPTED
    assert len(summarize(spool).aside) == 1
    await assert_all_planned_in_order(system, sender.accepted)


async def test_i8_an_ingress_that_starts_before_its_broker_accepts(
    own_broker: Node, system: System, spool: Path
) -> None:
    async with stopped(own_broker):
        async with system.ingress(spool=str(spool)) as client:
            first = Sender(system, client)
            assert await first.send(2) == [ACCEPTED] * 2
            page = await client.get("/readyz")
        assert summarize(spool).size.events == 2
        async with system.ingress(spool=str(spool)) as client:
            second = Sender(system, client)
            assert await second.send() == [ACCEPTED]

    assert page.json()["status"] == "degraded"
    async with system.ingress(spool=str(spool)):
        await drained(spool)
    await assert_all_planned_in_order(system, first.accepted + second.accepted)


async def test_i8_senders_are_asked_to_come_back_when_the_spool_has_no_room_either(
    own_broker: Node, system: System, spool: Path
) -> None:
    async with system.ingress(publish_timeout=0.5, spool=str(spool), spool_max_bytes=1024 * 1024) as client:
        sender = Sender(system, client)
        await reached(client)
        await sender.send()
        async with stopped(own_broker):
            await fill_up(sender)
            page = await client.get("/readyz")
            assert await sender.send() == [AWAY]
        await drained(spool)
        assert await sender.send() == [ACCEPTED]

    assert page.status_code == AWAY
    assert sender.answers[-2].headers["retry-after"] == "30"
    assert "delivery" not in sender.answers[-2].json()
    await assert_all_planned_in_order(system, sender.accepted)


async def fill_up(sender: Sender) -> None:
    """Leave no room for one more."""
    while await sender.send() == [ACCEPTED]:
        assert len(sender.answers) < 5_000


async def test_i8_without_a_spool_senders_are_asked_to_come_back(own_broker: Node, system: System) -> None:
    async with stopped(own_broker), system.ingress(awaited="/healthz", spool=OFF) as client:
        sender = Sender(system, client)
        assert await sender.send() == [AWAY]
        page = await client.get("/readyz")

    assert sender.answers[0].headers["retry-after"] == "30"
    assert page.json() == {"status": "not ready", "dependencies": {"broker": "unreachable"}}


async def test_two_ingresses_do_not_share_a_spool(own_broker: Node, system: System, spool: Path) -> None:
    async with system.ingress(spool=str(spool)):
        with pytest.raises(ExceptionGroup) as refused:
            async with system.ingress(spool=str(spool), ingress_port=0, awaited="/healthz"):
                raise AssertionError("the second one has started")

    assert refused.group_contains(Misconfigured, match="KGW_SPOOL: .* belongs to an ingress that runs")


async def test_the_command_drains_a_spool_that_no_ingress_has(own_broker: Node, system: System, spool: Path) -> None:
    settings = system.ingress_settings(spool=str(spool))
    async with stopped(own_broker), system.ingress(spool=str(spool)) as client:
        sender = Sender(system, client)
        await sender.send(3)
        with pytest.raises(Busy, match="an ingress has the spool and empties it by itself"):
            await drain(settings)

    assert await drain(settings) == 3
    assert await drain(settings) == 0
    await assert_all_planned_in_order(system, sender.accepted)


async def test_the_spool_is_given_back_when_the_ingress_ends(own_broker: Node, system: System, spool: Path) -> None:
    async with system.ingress(spool=str(spool)):
        pass
    async with opened(spool, max_bytes=1024) as again:
        assert not again.holds_any
