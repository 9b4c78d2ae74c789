"""The service's processes, started as a user would start them, each with its log in a file, and all of them ended again."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 30.0
END_SECONDS = 15.0


class NotReady(Exception):
    """A process did not become ready; the message says where its log is and how it ends."""


@dataclass(frozen=True)
class Service:
    """A running process and where its pages are."""

    name: str
    url: str
    process: asyncio.subprocess.Process
    log: Path


def free_port() -> int:
    """A port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(
    name: str, module: str, *, port_key: str, environment: Mapping[str, str], folder: Path
) -> AsyncIterator[Service]:
    """Run `python -m module` until the end of the block, ready on a free port; raises `NotReady`."""
    port = free_port()
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            cwd=ROOT,
            env={**os.environ, "KGW_SPOOL": str(folder / f"{name}.spool"), **environment, port_key: str(port)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    service = Service(name, f"http://127.0.0.1:{port}", process, log)
    try:
        await _until_ready(service)
        yield service
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Ask the process to stop, and make it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def migrate(environment: Mapping[str, str]) -> None:
    """Bring the store to the newest schema; raises `NotReady`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kgw", "migrate", cwd=ROOT, env={**os.environ, **environment}
    )
    if await process.wait():
        raise NotReady("the store could not be migrated")


@asynccontextmanager
async def all_of_it(environment: Mapping[str, str], folder: Path, *, workers: int) -> AsyncIterator[dict[str, Service]]:
    """An ingress, a console and some workers on one migrated store."""
    await migrate(environment)
    kinds = [("ingress", "ingress", "KGW_INGRESS_PORT"), ("console", "console", "KGW_CONSOLE_PORT")]
    kinds += [(f"worker-{number}", "worker", "KGW_WORKER_PORT") for number in range(1, workers + 1)]
    async with AsyncExitStack() as stack:
        starting = [
            stack.enter_async_context(running(name, module, port_key=key, environment=environment, folder=folder))
            for name, module, key in kinds
        ]
        services = [await one for one in starting]
        yield {service.name: service for service in services}


async def _until_ready(service: Service) -> None:
    async with httpx.AsyncClient() as client:
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if service.process.returncode is not None:
                break
            try:
                if (await client.get(f"{service.url}/readyz")).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.05)
    tail = service.log.read_text(errors="replace").splitlines()[-5:]
    raise NotReady(f"{service.name} did not become ready, see {service.log}:\n" + "\n".join(tail))
