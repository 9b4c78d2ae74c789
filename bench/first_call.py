"""
From a push to the first thing that Komodo hears of it, at a steady rate of deliveries, and what every process weighs before and after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import memory
from bench.extent import FIRST_CALL_WORKERS, Extent
from bench.figures import Sample, Spread
from bench.komodo import Pushed, repos, stack_id
from bench.load import Load, send
from bench.memory import Memory
from bench.progress import ended_actions
from bench.pushes import request
from bench.site import Servers, site
from shared import clock

CONNECTIONS = 16


@dataclass(frozen=True)
class FirstCall:
    """Milliseconds from when a delivery was to be sent to when the simulated Core was first asked about its stack."""

    workers: int
    stacks: int
    rate: float
    milliseconds: Spread
    memory_idle: dict[str, Memory]
    memory_loaded: dict[str, Memory]


async def measure(servers: Servers, folder: Path, extent: Extent) -> FirstCall:
    """Each delivery concerns one stack, and each stack is pushed once. Raises `LoadFailed`, `NotReady` or `NotDone`."""
    count = round(extent.first_call_rate * extent.first_call_seconds)
    world = repos(count, stacks_each=1)
    async with site(servers, folder, world, workers=FIRST_CALL_WORKERS, backend="sqlite", console=True) as here:
        await asyncio.sleep(extent.idle_seconds)
        idle = memory.of_all(here.services)
        pushes = [await here.core.push(repo, "1.1") for repo in world]
        requests = [request(push.repo.name, push.commit, push.before, here.front.secret) for push in pushes]
        port = int(here.front.ingress.url.rpartition(":")[2])
        since = clock.now()
        samples = await send(
            Load(
                port,
                tuple(requests),
                CONNECTIONS,
                extent.first_call_seconds,
                count=count,
                rate=extent.first_call_rate,
            )
        )
        await ended_actions(here.store, since, kind="DeployStackIfChanged", run_count=count, action_count=count)
        loaded = memory.of_all(here.services)
        waited = milliseconds(samples, pushes, await here.core.refreshes())
    return FirstCall(FIRST_CALL_WORKERS, len(world), extent.first_call_rate, Spread.of(waited), idle, loaded)


def milliseconds(
    samples: Sequence[Sample], pushes: Sequence[Pushed], refreshes: Sequence[tuple[str, int]]
) -> list[float]:
    """How long each delivery took to the first call about its stack; raises `KeyError` for one that was never asked about."""
    first: Mapping[str, int] = dict(sorted(refreshes, key=_latest_first))
    return [first[stack_id(pushes[sample.request].repo.stacks[0])] - sample.at * 1000 for sample in samples]


def _latest_first(refresh: tuple[str, int]) -> int:
    return -refresh[1]
