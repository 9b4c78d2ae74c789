"""What a worker has in hand, and how the renewing of its leases ends."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from shared.store.engine import open_store
from worker.holding import Holding


async def test_renewing_ends_at_once_when_told_to_and_nothing_is_in_hand(tmp_path: Path) -> None:
    holding, stop = Holding(), asyncio.Event()
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        renewing = asyncio.create_task(holding.renew(store, "a worker", lease_seconds=600.0, stop=stop))
        await asyncio.sleep(0)

        stop.set()

        async with asyncio.timeout(5):
            await renewing


async def test_a_lease_that_is_given_back_is_not_held() -> None:
    holding = Holding()
    holding.begin("action", until=time.monotonic() + 30.0)

    assert holding.is_held("action", for_seconds=10.0)
    assert not holding.is_held("action", for_seconds=31.0)

    holding.end("action")

    assert not holding.is_held("action", for_seconds=0.0)
