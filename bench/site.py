"""
One service of its own to measure: fresh queues, a fresh store, an ingress, some workers, and what they need; all gone at the end.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractRobustConnection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bench.extent import Backend
from bench.komodo import KEY, SECRET, Repo, SimulatedCore, simulated_core
from demo.processes import NotReady, Service, running
from shared.broker.topology import DELAYS, Exchange, Names, Queue
from shared.store.engine import Store, open_store, parse_url
from shared.store.migrate import migrate


@dataclass(frozen=True)
class Servers:
    """The broker, and a PostgreSQL where there is one, that the measured services share."""

    amqp_url: str
    postgres_url: str | None


@dataclass(frozen=True)
class Broker:
    """The queues of one service."""

    names: Names
    connection: AbstractRobustConnection

    async def purge(self, queue: Queue) -> None:
        """Throw away what is ready in it."""
        async with self.connection.channel() as channel:
            await (await channel.get_queue(self.names.queue(queue), ensure=False)).purge()


@dataclass(frozen=True)
class Front:
    """An ingress, the secret that its senders share with it, and its queues."""

    ingress: Service
    secret: str
    broker: Broker
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Site:
    """A whole service before a simulated Core. `services` are its processes by name."""

    front: Front
    core: SimulatedCore
    store: Store
    backend: Backend
    services: Mapping[str, Service]

    @property
    def workers(self) -> list[Service]:
        """The workers among the processes."""
        return [service for name, service in self.services.items() if name.startswith("worker")]

    @contextmanager
    def held_workers(self) -> Iterator[None]:
        """
        The workers stand still inside the block: what is queued there waits for all of them alike.

        Raises `NotReady` when one has ended.
        """
        try:
            for worker in self.workers:
                _signal(worker, signal.SIGSTOP)
            yield
        finally:
            for worker in self.workers:
                _signal(worker, signal.SIGCONT)


@asynccontextmanager
async def front(servers: Servers, folder: Path) -> AsyncIterator[Front]:
    """An ingress with queues of its own that nobody consumes."""
    names = Names(f"bench-{secrets.token_hex(4)}.")
    secret = secrets.token_hex(16)
    environment = {
        "KGW_AMQP_URL": servers.amqp_url,
        "KGW_AMQP_PREFIX": names.prefix,
        "KOMODO_WEBHOOK_SECRET": secret,
    }
    async with AsyncExitStack() as stack:
        connection = await aio_pika.connect_robust(servers.amqp_url)
        await stack.enter_async_context(connection)
        stack.push_async_callback(_delete, connection, names)
        ingress = await stack.enter_async_context(
            running("ingress", "ingress", port_key="KGW_INGRESS_PORT", environment=environment, folder=folder)
        )
        yield Front(ingress, secret, Broker(names, connection), environment)


@asynccontextmanager
async def site(
    servers: Servers, folder: Path, repos: Sequence[Repo], *, workers: int, backend: Backend, console: bool = False
) -> AsyncIterator[Site]:
    """A whole service whose Core has these repositories; `backend` must be there."""
    await asyncio.to_thread(folder.mkdir)
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(simulated_core(repos, folder))
        url = await stack.enter_async_context(_database(servers, folder, backend))
        await migrate(url)
        store = await stack.enter_async_context(open_store(url))
        before = await stack.enter_async_context(front(servers, folder))
        environment = {
            **before.environment,
            "KGW_DATABASE_URL": url,
            "KOMODO_ADDRESS": core.url,
            "KOMODO_API_KEY": KEY,
            "KOMODO_API_SECRET": SECRET,
            "KGW_API_TOKEN": secrets.token_hex(16),
        }
        kinds = [(f"worker-{number}", "worker", "KGW_WORKER_PORT") for number in range(1, workers + 1)]
        kinds += [("console", "console", "KGW_CONSOLE_PORT")] if console else []
        services = {"ingress": before.ingress}
        for name, module, key in kinds:
            services[name] = await stack.enter_async_context(
                running(name, module, port_key=key, environment=environment, folder=folder)
            )
        yield Site(before, core, store, backend, services)


def _signal(service: Service, number: signal.Signals) -> None:
    if service.process.returncode is not None:
        raise NotReady(f"{service.name} has ended:\n{service.log.read_text(errors='replace')[-1000:]}")
    service.process.send_signal(number)


@asynccontextmanager
async def _database(servers: Servers, folder: Path, backend: Backend) -> AsyncIterator[str]:
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'kgw.db'}"
        return
    assert servers.postgres_url is not None
    given = parse_url(servers.postgres_url)
    name = f"kgw_bench_{secrets.token_hex(4)}"
    engine = create_async_engine(given, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield given.set(database=name).render_as_string(hide_password=False)
        finally:
            async with engine.connect() as connection:
                await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        await engine.dispose()


async def _delete(connection: AbstractRobustConnection, names: Names) -> None:
    async with connection.channel() as channel:
        for queue in [*(names.queue(queue) for queue in Queue), *(names.delay(name) for name, _ in DELAYS)]:
            await channel.queue_delete(queue)
        for exchange in [*(names.exchange(one) for one in Exchange), *(names.delay(name) for name, _ in DELAYS)]:
            await channel.exchange_delete(exchange)
