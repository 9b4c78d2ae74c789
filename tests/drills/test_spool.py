"""Broker and ingress are killed while deliveries arrive: what was answered 2xx is recorded, and the broker alone costs no answer (I1, I8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
from sqlalchemy import select

from demo.processes import Service, running
from demo.sender import signed_headers
from dev.rabbitmq import Node
from ingress.spool import summarize
from shared.store.tables import deliveries
from tests.drills import broker
from tests.drills.ground import Ground, environment
from tests.system import SECRET, System, until

GLOBAL = "/listener/github/global"
BURST = 2_000
SENDERS = 32
SECONDS = 120.0


class Crowd:
    """Senders that send new deliveries, each one after the other, and remember what they were answered."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.statuses: list[int] = []
        self.unanswered = 0

    async def send(self, url: str, many: int) -> None:
        """Send that many, from many senders at once; a sender whose connection ends gives up."""
        numbers = iter(range(many))
        limits = httpx.Limits(max_connections=SENDERS, max_keepalive_connections=SENDERS)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client, asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send_some(client, numbers))

    async def answered(self, many: int) -> None:
        """Await that many answers."""

        async def enough() -> bool:
            return len(self.statuses) >= many

        await until(enough, f"{many} answers")

    async def _send_some(self, client: httpx.AsyncClient, numbers: Iterator[int]) -> None:
        for number in numbers:
            body = orjson.dumps({"number": number})
            headers = signed_headers(body, SECRET, event="star", delivery=str(uuid4()))
            try:
                answer = await client.post(GLOBAL, content=body, headers=headers)
            except httpx.TransportError:
                self.unanswered += 1
                return
            self.statuses.append(answer.status_code)
            if answer.is_success:
                self.accepted.append(answer.json()["delivery"])


@asynccontextmanager
async def ingress_process(system: System, folder: Path) -> AsyncIterator[Service]:
    """An ingress with its spool in the folder, until the end of the block."""
    settings = environment(system.ingress_settings(publish_timeout=0.5, spool=str(folder / "spool.db")))
    del settings["KGW_INGRESS_PORT"]
    async with running(
        "ingress", "ingress", port_key="KGW_INGRESS_PORT", environment=settings, folder=folder
    ) as service:
        yield service


async def killed(service: Service) -> None:
    service.process.kill()
    await service.process.wait()


async def spooled(folder: Path) -> int:
    return (await asyncio.to_thread(summarize, folder / "spool.db")).size.events


async def until_spooled(folder: Path, holds: Callable[[int], bool], what: str) -> None:
    async def does_hold() -> bool:
        return holds(await spooled(folder))

    await until(does_hold, what, seconds=SECONDS)


async def until_recorded(system: System, accepted: Collection[str]) -> None:
    """Await that each of them has its record in the store."""

    async def all_recorded() -> bool:
        async with system.store.read() as db:
            found = set((await db.execute(select(deliveries.c.id))).scalars())
        return found >= set(accepted)

    await until(all_recorded, "every accepted delivery is recorded", seconds=SECONDS)


async def during(work: Coroutine[Any, Any, None], blow: Callable[[], Awaitable[None]]) -> None:
    """Strike while the work goes on."""
    async with asyncio.TaskGroup() as group:
        group.create_task(work)
        await blow()


async def test_i1_i8_a_burst_through_a_broker_that_is_killed_in_the_middle_costs_nobody_an_answer(
    shaky_ground: Ground, own_broker: Node
) -> None:
    crowd = Crowd()
    async with (
        shaky_ground.system() as system,
        ingress_process(system, shaky_ground.folder) as ingress,
        system.worker(),
    ):
        await broker.settled(own_broker, system.prefix)

        async def restart() -> None:
            await crowd.answered(BURST // 4)
            await broker.kill(own_broker)
            await crowd.answered(BURST // 2)
            await broker.start(own_broker)

        await during(crowd.send(ingress.url, BURST), restart)
        await until_spooled(shaky_ground.folder, lambda events: events == 0, "the spool is drained")
        await until_recorded(system, crowd.accepted)

    assert crowd.statuses == [202] * BURST
    assert len(set(crowd.accepted)) == BURST


async def test_i1_an_ingress_killed_while_it_spools_and_while_it_relays_loses_nothing(
    shaky_ground: Ground, own_broker: Node
) -> None:
    crowd, folder = Crowd(), shaky_ground.folder
    async with shaky_ground.system() as system:
        async with ingress_process(system, folder) as ingress:
            await crowd.send(ingress.url, SENDERS)
            await broker.settled(own_broker, system.prefix)
        await broker.kill(own_broker)
        try:
            for _ in range(3):
                before = len(crowd.statuses)
                async with ingress_process(system, folder) as ingress:

                    async def die(ingress: Service = ingress, before: int = before) -> None:
                        await crowd.answered(before + 500)
                        await killed(ingress)

                    await during(crowd.send(ingress.url, BURST), die)
            full = await spooled(folder)
        finally:
            await broker.start(own_broker)
        left = [full]
        while left[-1]:
            async with ingress_process(system, folder) as ingress:
                await until_spooled(folder, lambda events: events < left[-1] or not events, "the relay goes on")
                await killed(ingress)
            left.append(await spooled(folder))
        async with system.worker():
            await until_recorded(system, crowd.accepted)

    assert set(crowd.statuses) == {202}
    assert len(set(crowd.accepted)) == len(crowd.accepted) >= full > BURST // 2
    assert crowd.unanswered
    assert len(left) > 2, "no relay was killed with work left"
