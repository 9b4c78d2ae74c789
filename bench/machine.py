"""What the numbers come from: they travel to another machine only as ratios."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import aio_pika
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bench.site import Servers
from shared.store.engine import parse_url


@dataclass(frozen=True)
class Machine:
    """
    The hardware and the servers. `postgresql` is None where it is not measured.

    `load` is the load average of the minute before the benchmark: near 0, or something else had its share of the processors.
    """

    cpu: str
    cores: int
    load: float
    system: str
    python: str
    rabbitmq: str
    postgresql: str | None


async def describe(servers: Servers) -> Machine:
    """Raises what the drivers raise when a server does not answer."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=os.getloadavg()[0],
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        rabbitmq=await _rabbitmq_version(servers.amqp_url),
        postgresql=await _postgresql_version(servers.postgres_url) if servers.postgres_url else None,
    )


def cpu_model(cpuinfo: str) -> str | None:
    """The model in what `/proc/cpuinfo` says."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else None


def _cpu_model() -> str:
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        cpuinfo = ""
    return cpu_model(cpuinfo) or platform.processor() or "unknown"


async def _rabbitmq_version(url: str) -> str:
    connection = await aio_pika.connect(url)
    async with connection:
        transport = connection.transport
        assert transport is not None
        properties = transport.connection.server_properties
        return str(properties.get("version", "unknown"))


async def _postgresql_version(url: str) -> str:
    engine = create_async_engine(parse_url(url))
    try:
        async with engine.connect() as connection:
            return str((await connection.execute(text("SHOW server_version"))).scalar_one())
    finally:
        await engine.dispose()
