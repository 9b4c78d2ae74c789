"""Killing a broker without losing what it has promised to keep."""

from __future__ import annotations

import asyncio
import shutil

from dev.rabbitmq import Node
from shared.broker.topology import DELAYS, Names, Queue
from tests.system import until


async def settled(node: Node, prefix: str, *others: str) -> None:
    """Await that the queues are old enough to survive a kill: see `Node.remembers`."""
    names = Names(prefix)
    queues = [*map(names.queue, Queue), *(names.delay(name) for name, _ in DELAYS), *others]

    async def all_remembered() -> bool:
        return await asyncio.to_thread(lambda: all(map(node.remembers, queues)))

    await until(all_remembered, "the broker remembers its queues")


async def kill(node: Node) -> None:
    """As a crash would."""
    await asyncio.to_thread(node.kill)


async def start(node: Node) -> None:
    """Again, on what it has kept."""
    await asyncio.to_thread(node.start)


async def wipe(node: Node) -> None:
    """Stop it, delete all that it has kept, and start it empty."""
    await asyncio.to_thread(node.stop)
    await asyncio.to_thread(shutil.rmtree, node.folder / "mnesia")
    await start(node)
