"""
The accept path: signed 8 KB pushes through the ingress to RabbitMQ's confirm, beside a bare endpoint under the same load.

No worker runs. Rounds alternate, so that what else the machine does meets both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bench import bare, ceiling, memory
from bench.cpu import Meter
from bench.extent import CONNECTIONS, Extent
from bench.figures import Spread, Throughput
from bench.load import Load, Request, send
from bench.memory import Memory
from bench.pushes import PUSH_BYTES, request, some_commit
from bench.site import Front, Servers, front
from demo.processes import Service, running
from shared.broker.topology import Queue

BODIES = 16


@dataclass(frozen=True)
class Round:
    """One closed loop; `cpu_ms` is the server's processor time per delivery, None where it is not known."""

    throughput: Throughput
    cpu_ms: float | None


@dataclass(frozen=True)
class Accepted:
    """
    Medians over the rounds, and every round. `ratio` is the ingress's rate over the bare endpoint's.

    `ceiling` is what the load generator reaches where nothing is done, `checking` what the bare endpoint does once it reads the body and makes
    its HMAC; `open_loop` has milliseconds from when each request was to be sent.
    """

    connections: int
    body_bytes: int
    ceiling: Throughput
    bare: Throughput
    checking: Throughput
    ingress: Throughput
    ratio: float
    bare_rounds: list[Round]
    ingress_rounds: list[Round]
    open_rate: float
    open_loop: Spread
    ingress_memory: Memory


async def measure(servers: Servers, folder: Path, extent: Extent) -> Accepted:
    """Raises `LoadFailed` when an answer is not 202, `NotReady` when a process does not start."""
    await asyncio.to_thread(folder.mkdir)
    async with front(servers, folder) as ours:
        requests = [_some_push(number, ours.secret) for number in range(BODIES)]
        top = await _alone("ceiling", ceiling.PORT_KEY, folder, requests, extent)
        checking = await _alone("bare", bare.PORT_KEY, folder, requests, extent, {bare.CHECKS: "yes"})
        bare_rounds, ingress_rounds = await _rounds(ours, folder, requests, extent)
        open_loop = await _open_loop(ours, requests, extent)
        weight = memory.of(ours.ingress)
    bare_median, ingress_median = _median(bare_rounds), _median(ingress_rounds)
    return Accepted(
        connections=CONNECTIONS,
        body_bytes=PUSH_BYTES,
        ceiling=top.throughput,
        bare=bare_median,
        checking=checking.throughput,
        ingress=ingress_median,
        ratio=ingress_median.per_second / bare_median.per_second,
        bare_rounds=bare_rounds,
        ingress_rounds=ingress_rounds,
        open_rate=extent.open_rate,
        open_loop=open_loop,
        ingress_memory=weight,
    )


def _median(rounds: Sequence[Round]) -> Throughput:
    return Throughput.median_of([one.throughput for one in rounds])


def _some_push(number: int, secret: str) -> Request:
    commit = some_commit(number)
    return request(f"bench/nobody-{number:02}", commit, "0" * 40, secret)


async def _alone(
    name: str,
    port_key: str,
    folder: Path,
    requests: Sequence[Request],
    extent: Extent,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Round:
    async with running(name, f"bench.{name}", port_key=port_key, environment=environment, folder=folder) as service:
        return await _closed_loop(service, requests, extent)


async def _rounds(
    ours: Front, folder: Path, requests: Sequence[Request], extent: Extent
) -> tuple[list[Round], list[Round]]:
    bare_rounds, ingress_rounds = [], []
    for _ in range(extent.rounds):
        bare_rounds.append(await _alone("bare", bare.PORT_KEY, folder, requests, extent))
        ingress_rounds.append(await _closed_loop(ours.ingress, requests, extent))
        await ours.broker.purge(Queue.EVENTS)
    return bare_rounds, ingress_rounds


async def _closed_loop(service: Service, requests: Sequence[Request], extent: Extent) -> Round:
    meter = Meter([service])
    seconds = extent.warm_seconds + extent.round_seconds
    samples = await send(Load(_port(service), tuple(requests), CONNECTIONS, seconds))
    begin = min(sample.at for sample in samples) + extent.warm_seconds
    throughput = Throughput.between(samples, begin, begin + extent.round_seconds)
    return Round(throughput, meter.milliseconds_each(len(samples)))


async def _open_loop(ours: Front, requests: Sequence[Request], extent: Extent) -> Spread:
    samples = await send(
        Load(
            _port(ours.ingress),
            tuple(requests),
            CONNECTIONS,
            extent.open_seconds,
            count=round(extent.open_rate * extent.open_seconds),
            rate=extent.open_rate,
        )
    )
    await ours.broker.purge(Queue.EVENTS)
    return Spread.of([sample.seconds * 1000 for sample in samples])


def _port(service: Service) -> int:
    return int(service.url.rpartition(":")[2])
