"""The ingress is killed while deliveries arrive: what it has answered with 2xx is there, and what it has not the sender sends again (I1)."""

from __future__ import annotations

import asyncio

import httpx

from demo.processes import free_port, running
from shared.store.deliveries import ReceiptOutcome
from tests.drills.ground import Ground, environment
from tests.system import Push, System

BURST = 60
ANSWERS_BEFORE_DEATH = 20


async def test_i1_every_delivery_that_a_killed_ingress_has_accepted_is_recorded(ground: Ground) -> None:
    async with ground.system() as system:
        pushes = [system.push({"README.md": f"{number}\n"}) for number in range(BURST)]
        accepted = await burst(ground, system, pushes)
        async with system.ingress() as client:
            left = [push for push in pushes if push.delivery not in accepted]
            for push in left:
                accepted[push.delivery] = (await push.send(client))["delivery"]
        async with system.worker():
            for delivery in accepted.values():
                await system.ended_runs(delivery)

        assert left, "the ingress died before it had answered all"
        assert len(accepted) == BURST
        # A delivery that was accepted without the sender hearing of it is planned once all the same.
        for delivery in accepted.values():
            receipts = await system.receipts(delivery)
            assert [receipt.outcome for receipt in receipts].count(ReceiptOutcome.MATCHED) == 1


async def burst(ground: Ground, system: System, pushes: list[Push]) -> dict[str, str]:
    """Send all at once and kill the ingress after some answers; the accepted ones, by the provider's id."""
    settings = system.ingress_settings(ingress_port=free_port())
    accepted: dict[str, str] = {}
    enough = asyncio.Event()
    async with (
        running(
            "ingress", "ingress", port_key="KGW_INGRESS_PORT", environment=environment(settings), folder=ground.folder
        ) as ingress,
        httpx.AsyncClient(base_url=ingress.url, timeout=10, limits=httpx.Limits(max_connections=10)) as client,
        asyncio.TaskGroup() as group,
    ):

        async def send(push: Push) -> None:
            try:
                accepted[push.delivery] = (await push.send(client))["delivery"]
            except httpx.TransportError:
                return
            if len(accepted) >= ANSWERS_BEFORE_DEATH:
                enough.set()

        for push in pushes:
            group.create_task(send(push), name=push.delivery)
        await enough.wait()
        ingress.process.kill()
        await ingress.process.wait()
    return accepted
