"""What the drills stand on: systems of their own, worker processes that can be killed, and a subscriber of results."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import orjson
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from pydantic import SecretStr

from demo.core.faults import Knobs
from demo.core.serve import serving
from demo.core.world import World, compose_file
from shared.broker.topology import Exchange, Names, declare
from shared.results import Result
from shared.settings import Settings, environment_names
from shared.store.engine import open_store
from tests.conftest import delete_topology
from tests.drills import doomed_worker
from tests.drills.doomed_worker import Watch
from tests.system import WAIT_SECONDS, Push, System, until


@dataclass(frozen=True)
class Ground:
    """A broker, and a way to make databases. `folder` takes the files of the processes."""

    amqp_url: str
    new_database: Callable[[], AbstractAsyncContextManager[str]]
    folder: Path

    @asynccontextmanager
    async def system(self, world: World | None = None, knobs: Knobs | None = None) -> AsyncIterator[System]:
        """A Core, a migrated store, and names on the broker that are gone afterwards. Without a world there is one stack, `web`."""
        prefix = f"d{secrets.token_hex(5)}."
        async with (
            self.new_database() as url,
            open_store(url) as store,
            serving(world or World.monorepo("web"), knobs) as core,
        ):
            try:
                yield System(self.amqp_url, prefix, core, store)
            finally:
                await delete_topology(self.amqp_url, Names(prefix))


def repositories(stacks_of: Mapping[str, Sequence[str]]) -> World:
    """A world of deployed one-service stacks in the folders `stacks/<name>` of these repositories."""
    worlds = [World.monorepo(*stacks, repo=repo) for repo, stacks in stacks_of.items()]
    git = [one for world in worlds for one in world.git]
    return worlds[0].model_copy(update={"git": git, "stack": [one for world in worlds for one in world.stack]})


def change(system: System, stack: str, version: int = 2, *, repo: str = "acme/infra") -> Push:
    """Push another version of the stack to its repository."""
    return system.push({path_of(stack): compose_file(stack, f"{version}.0")}, repo=repo)


def path_of(stack: str) -> str:
    """The stack's only file."""
    return f"stacks/{stack}/compose.yaml"


async def accepted(push: Push, client: httpx.AsyncClient) -> str:
    """Send it, with the same delivery id, until it is answered with 2xx, as a patient sender does; the delivery's id."""

    async def sent() -> str | None:
        try:
            answer = await client.post("/listener/github/global", content=push.body, headers=push.headers)
        except httpx.TransportError:
            return None
        assert answer.is_success or answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
        return str(answer.json()["delivery"]) if answer.is_success else None

    return await until(sent, f"{push.delivery} is accepted") or ""


# Processes

# A server that has imported everything forks each worker in a few milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.drills.doomed_worker"])


@dataclass
class Worker:
    """A worker process of its own, and the edges that it has passed."""

    process: BaseProcess
    watch: Watch
    log: Path

    def send(self, number: signal.Signals) -> None:
        """Signal it, as an operator or the kernel does."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    async def ended(self, *, seconds: float = WAIT_SECONDS) -> int:
        """Wait for its end; its exit code, negative when a signal ended it."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self.process.sentinel, ended.set)
        try:
            async with asyncio.timeout(seconds):
                await ended.wait()
        except TimeoutError as error:
            raise AssertionError(f"the worker goes on; it has passed {self.edges()}\n{self.tail()}") from error
        finally:
            loop.remove_reader(self.process.sentinel)
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    async def died(self) -> None:
        """Wait until it has ended itself at its edge."""
        code = await self.ended()
        assert code == -signal.SIGKILL, f"ended with {code}\n{self.tail()}"

    async def kill(self) -> None:
        """Kill it and wait until the kernel has buried it."""
        self.process.kill()
        await self.ended()

    def edges(self) -> list[str]:
        """The names of the edges passed so far, in order."""
        return self.watch.record.read_text().splitlines() if self.watch.record.exists() else []

    async def passed(self, edge: str) -> None:
        """Await that it has come to the edge."""

        async def has_passed() -> bool:
            return edge in self.edges()

        await until(has_passed, f"the worker comes to {edge!r}")

    def go_on(self) -> None:
        """Let it leave the edge at which it halted."""
        self.watch.go.touch()

    def tail(self) -> str:
        """How its log ends."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


@asynccontextmanager
async def worker_process(
    system: System, folder: Path, *, dies_at: str = "", halts_at: Collection[str] = (), **overrides: Any
) -> AsyncIterator[Worker]:
    """Run a worker of the system in a process of its own; it is killed at the end of the block if it still lives."""
    name = folder / secrets.token_hex(6)
    watch = Watch(name.with_suffix(".edges"), dies_at=dies_at, halts_at=halts_at)
    log = name.with_suffix(".log")
    settings = environment(system.worker_settings(**overrides))
    process = _FORKS.Process(target=doomed_worker.main, args=(settings, log, watch), daemon=True)
    process.start()
    worker = Worker(process, watch, log)
    try:
        yield worker
    finally:
        await worker.kill()
        process.close()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a process is given them."""
    found = {}
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if text:
            found[environment_names(name, info)[0]] = text
    return found


# Results


@dataclass
class Subscriber:
    """What a queue bound to `webhook.results` has received, in order."""

    queue: str
    received: list[Result] = field(default_factory=list)

    async def take(self, message: AbstractIncomingMessage) -> None:
        """The consumer's callback."""
        self.received.append(Result.from_cloudevent(orjson.loads(message.body)))
        # What can not be acked, because the broker was killed, comes again.
        with suppress(AMQPError, OSError, RuntimeError):
            await message.ack()

    def first_sights(self) -> dict[str, list[int]]:
        """By stream, the sequences in the order in which each was first seen."""
        seen: dict[str, dict[int, None]] = defaultdict(dict)
        for result in self.received:
            seen[result.stream][result.sequence] = None
        return {stream: list(sequences) for stream, sequences in seen.items()}


@asynccontextmanager
async def subscribed(system: System) -> AsyncIterator[Subscriber]:
    """Listen to every result until the end of the block, as another program would: with a durable queue of its own."""
    names = Names(system.prefix)
    subscriber = Subscriber(f"{system.prefix}watcher")
    async with await aio_pika.connect_robust(system.amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, names)
        queue = await channel.declare_queue(subscriber.queue, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(names.exchange(Exchange.RESULTS), routing_key="#")
        await queue.consume(subscriber.take)
        yield subscriber
        await queue.delete(if_unused=False, if_empty=False)
