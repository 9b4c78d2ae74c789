"""
What workers do per second: events planned that match nothing, and actions run to their end.

Everything is queued while the workers stand still, through the ingress by signed deliveries; the clock runs from the moment they go on to
the last end that the store has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.cpu import Meter
from bench.extent import Backend, Extent
from bench.figures import rate
from bench.komodo import Repo, repos
from bench.load import Load, Request, send
from bench.progress import ended_actions, ended_runs
from bench.pushes import GLOBAL_PATH, request, some_commit
from bench.site import Servers, Site, site
from shared import clock
from shared.procedure.model import EVENT_REF, Execution, ExecutionCall, Procedure, Stage, Target, Trigger
from shared.store import procedures

QUEUEING_CONNECTIONS = 16
QUEUEING_SECONDS = 60.0
# Enough that every worker has prepared its statements on every connection.
WARM_REPOS = 15

PLAIN = Procedure(
    name="plain",
    description="Deploy every stack of the pushed repository, changed or not",
    trigger=Trigger(listen="own"),
    stages=(
        Stage(
            executions=(
                Execution(execution=ExecutionCall(type="DeployStack"), target=Target(repo=EVENT_REF, branch=EVENT_REF)),
            )
        ),
    ),
)
PLAIN_PATH = "/listener/github/procedure/plain/__ANY__"
PATHS = {"DeployStack": PLAIN_PATH, "DeployStackIfChanged": GLOBAL_PATH}


@dataclass(frozen=True)
class Planned:
    """
    Events that the procedure `global` resolved against all stacks and found to concern none.

    `cpu_ms` is the workers' processor time per event, None where it is not known.
    """

    workers: int
    backend: Backend
    stacks: int
    events: int
    seconds: float
    per_second: float
    cpu_ms: float | None


@dataclass(frozen=True)
class Deployed:
    """Actions that succeeded, all of the same execution type; `cpu_ms` is the workers' processor time per action, with the event's share."""

    workers: int
    backend: Backend
    type: str
    events: int
    actions: int
    seconds: float
    per_second: float
    cpu_ms: float | None


@dataclass(frozen=True)
class Worked:
    """Both."""

    planned: list[Planned]
    deployed: list[Deployed]


async def measure(servers: Servers, folder: Path, extent: Extent) -> Worked:
    """Raises `LoadFailed`, `NotReady` or `NotDone`."""
    await asyncio.to_thread(folder.mkdir)
    worked = Worked([], [])
    world = repos(extent.repos, stacks_each=extent.stacks_per_repo)
    for workers, backend in extent.sites:
        if backend == "postgresql" and servers.postgres_url is None:
            continue
        async with site(servers, folder / f"{backend}-{workers}", world, workers=workers, backend=backend) as here:
            async with here.store.begin() as db:
                await procedures.save(db, PLAIN, now=clock.now())
            await _deploy(here, world[:WARM_REPOS], "DeployStackIfChanged", version="1.1")
            if backend == "sqlite" and workers <= extent.planning_workers:
                worked.planned.append(await _plan(here, extent, stacks=len(world) * extent.stacks_per_repo))
            pushed = world[: extent.pushes]
            worked.deployed.append(await _deploy(here, pushed, "DeployStackIfChanged", version="1.2"))
            worked.deployed.append(await _deploy(here, pushed, "DeployStack", version="1.3"))
    return worked


async def _plan(here: Site, extent: Extent, *, stacks: int) -> Planned:
    count = extent.planned_events
    # Each is a push of its own: the same body again would be a duplicate.
    requests = [
        request(f"bench/nobody-{number:04}", some_commit(number), "0" * 40, here.front.secret)
        for number in range(count)
    ]
    meter = Meter(here.workers)
    since, began = await _queue(here, requests, count)
    end = await ended_runs(here.store, since, count=count)
    seconds = (end - began).total_seconds()
    cpu_ms = meter.milliseconds_each(count)
    return Planned(len(here.workers), here.backend, stacks, count, seconds, rate(count, seconds), cpu_ms)


async def _deploy(here: Site, pushed: Sequence[Repo], kind: str, *, version: str) -> Deployed:
    pushes = [await here.core.push(repo, version) for repo in pushed]
    requests = [
        request(push.repo.name, push.commit, push.before, here.front.secret, path=PATHS[kind]) for push in pushes
    ]
    meter = Meter(here.workers)
    since, began = await _queue(here, requests, len(requests))
    count = sum(len(repo.stacks) for repo in pushed)
    end = await ended_actions(here.store, since, kind=kind, run_count=len(requests), action_count=count)
    seconds = (end - began).total_seconds()
    cpu_ms = meter.milliseconds_each(count)
    return Deployed(len(here.workers), here.backend, kind, len(requests), count, seconds, rate(count, seconds), cpu_ms)


async def _queue(here: Site, requests: Sequence[Request], count: int) -> tuple[datetime, datetime]:
    """Queue the deliveries while the workers stand still; when that began, and when the workers went on."""
    since = clock.now()
    port = int(here.front.ingress.url.rpartition(":")[2])
    with here.held_workers():
        await send(Load(port, tuple(requests), QUEUEING_CONNECTIONS, QUEUEING_SECONDS, count=count))
        began = clock.now()
    return since, began
