"""The whole service in one event loop, on a real broker, a real store and the simulated Komodo Core: what the end-to-end tests drive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from pydantic import SecretStr

from demo.core.git import Commit
from demo.core.serve import Core
from demo.processes import free_port
from demo.sender import push_body, signed_headers
from ingress import app as ingress_app
from ingress.spool import OFF
from shared.settings import IngressSettings, WorkerSettings
from shared.states import ENDED_RUN
from shared.store import actions, deliveries, runs
from shared.store.actions import Action
from shared.store.deliveries import Receipt
from shared.store.engine import Store
from shared.store.runs import Run
from worker import app as worker_app

T = TypeVar("T")

SECRET = "a webhook secret of the tests"
WAIT_SECONDS = 30.0


@dataclass
class System:
    """A running service; `environment` are the settings that its processes were given."""

    amqp_url: str
    prefix: str
    core: Core
    store: Store
    overrides: dict[str, Any] = field(default_factory=dict)
    ingress_port: int = field(default_factory=free_port)

    @property
    def database_url(self) -> str:
        """The store's URL with its password."""
        return self.store.url.render_as_string(hide_password=False)

    def worker_settings(self, **overrides: Any) -> WorkerSettings:
        """Quick ones: what takes minutes in production takes a second here."""
        values: dict[str, Any] = {
            "amqp_url": SecretStr(self.amqp_url),
            "amqp_prefix": self.prefix,
            "database_url": SecretStr(self.database_url),
            "komodo_address": self.core.url,
            "komodo_api_key": SecretStr(self.core.key),
            "komodo_api_secret": SecretStr(self.core.secret),
            "worker_port": 0,
            "lease_seconds": 2.0,
            "update_interval": 0.1,
            "stack_cache_seconds": 0.0,
            "reconcile_interval": 1.0,
            "shutdown_grace": 0.5,
            "komodo_patience": 60.0,
        }
        return WorkerSettings(**{**values, **self.overrides, **overrides})

    def ingress_settings(self, **overrides: Any) -> IngressSettings:
        """An ingress on a port of its own."""
        values: dict[str, Any] = {
            "amqp_url": SecretStr(self.amqp_url),
            "amqp_prefix": self.prefix,
            "ingress_port": self.ingress_port,
            "webhook_secret": SecretStr(SECRET),
            "spool": OFF,
        }
        return IngressSettings(**{**values, **overrides})

    @asynccontextmanager
    async def worker(self, **overrides: Any) -> AsyncIterator[None]:
        """One more worker until the end of the block."""
        async with _running(worker_app.run, self.worker_settings(**overrides)):
            yield

    @asynccontextmanager
    async def ingress(self, *, awaited: str = "/readyz", **overrides: Any) -> AsyncIterator[httpx.AsyncClient]:
        """The ingress until the end of the block, and a client for it, once the page `awaited` is well."""
        settings = self.ingress_settings(**overrides)
        url = f"http://127.0.0.1:{settings.ingress_port}"
        async with _running(ingress_app.run, settings), httpx.AsyncClient(base_url=url, timeout=30) as client:
            await until(lambda: _answers(client, awaited), "the ingress answers")
            yield client

    def push(self, files: Mapping[str, str | None], *, repo: str = "acme/infra", branch: str = "main") -> Push:
        """Change the simulated repository and make the body that GitHub would send."""
        before = self.core.state.git.find("github.com", repo).head(branch)
        commit = self.core.state.push(repo=repo, branch=branch, files=files)
        return Push(commit, push_body(repo, branch, commit, before.sha))

    async def ended_runs(self, delivery_id: str, *, seconds: float = WAIT_SECONDS) -> list[Run]:
        """The delivery's runs once it was planned and all of them have ended."""

        async def ended() -> list[Run] | None:
            if not await self.receipts(delivery_id):
                return None
            async with self.store.read() as db:
                found = await runs.of_delivery(db, delivery_id)
            return found if all(run.state in ENDED_RUN for run in found) else None

        result = await until(ended, f"the runs of {delivery_id} have ended", seconds=seconds)
        return result or []

    async def actions(self, run: Run) -> list[Action]:
        """The run's actions."""
        async with self.store.read() as db:
            return await actions.of_run(db, run.id)

    async def receipts(self, delivery_id: str) -> list[Receipt]:
        """How the delivery was planned, each time that it came."""
        async with self.store.read() as db:
            return await deliveries.receipts_of(db, delivery_id)


@dataclass(frozen=True)
class Push:
    """A commit and the delivery that tells of it; `delivery` is the provider's id and stays the same when it is sent again."""

    commit: Commit
    body: bytes
    delivery: str = field(default_factory=lambda: str(uuid4()))

    @property
    def headers(self) -> dict[str, str]:
        """Signed as GitHub does."""
        return signed_headers(self.body, SECRET, delivery=self.delivery)

    async def send(self, client: httpx.AsyncClient, path: str = "/listener/github/global") -> dict[str, Any]:
        """Deliver it; the answer of a 2xx."""
        answer = await client.post(path, content=self.body, headers=self.headers)
        assert answer.is_success, answer.text
        told: dict[str, Any] = answer.json()
        return told


async def until(condition: Callable[[], Awaitable[T]], what: str, *, seconds: float = WAIT_SECONDS) -> T:
    """Await a condition; an AssertionError that names it when it does not come true in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        value = await condition()
        if value or isinstance(value, list):
            return value
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


async def _answers(client: httpx.AsyncClient, page: str) -> bool:
    try:
        return (await client.get(page)).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def _running(run: Callable[[Any, asyncio.Event], Awaitable[None]], settings: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(_run(run, settings, stop))
        stack.callback(stop.set)
        yield


async def _run(run: Callable[[Any, asyncio.Event], Awaitable[None]], settings: Any, stop: asyncio.Event) -> None:
    await run(settings, stop)
