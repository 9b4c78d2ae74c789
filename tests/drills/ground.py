"""What the drills stand on: systems of their own, worker processes that can be killed, a subscriber, and the laws that hold after every crash."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage
from pydantic import SecretStr
from sqlalchemy import select

from demo.core.faults import Knobs
from demo.core.serve import serving
from demo.core.world import World, compose_file
from shared.broker.topology import DELAYS, Exchange, Names, Queue, declare
from shared.results import Result
from shared.settings import Settings, environment_names
from shared.states import RunState
from shared.store import attempts, results, runs, tables
from shared.store.attempts import Attempt
from shared.store.engine import open_store
from shared.store.runs import Run
from tests.drills import doomed_worker
from tests.drills.doomed_worker import Watch
from tests.system import WAIT_SECONDS, System, until

STACK = "web"
FILE = f"stacks/{STACK}/compose.yaml"


@dataclass(frozen=True)
class Ground:
    """A broker, and a way to make databases. `folder` takes the files of the processes."""

    amqp_url: str
    new_prefix: Callable[[], str]
    new_database: Callable[[], AbstractAsyncContextManager[str]]
    folder: Path

    @asynccontextmanager
    async def system(
        self, world: World | None = None, knobs: Knobs | None = None, *, prefix: str | None = None
    ) -> AsyncIterator[System]:
        """A Core, a migrated store, and names on the broker that are gone afterwards unless they were given."""
        mine = prefix or self.new_prefix()
        async with (
            self.new_database() as url,
            open_store(url) as store,
            serving(world or World.monorepo(STACK), knobs) as core,
        ):
            try:
                yield System(self.amqp_url, mine, core, store)
            finally:
                if prefix is None:
                    await delete(self.amqp_url, Names(mine))


async def delete(amqp_url: str, names: Names) -> None:
    """Remove an installation's queues and exchanges from the broker."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        delays = [names.delay(name) for name, _ in DELAYS]
        for queue in (*map(names.queue, Queue), *delays):
            await channel.queue_delete(queue)
        for exchange in (*map(names.exchange, Exchange), *delays):
            await channel.exchange_delete(exchange)


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
        await until(_async(lambda: edge in self.edges()), f"the worker comes to {edge!r}")

    def go_on(self) -> None:
        """Let it leave the edge at which it halted."""
        self.watch.go.touch()

    def tail(self) -> str:
        """How its log ends."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


@asynccontextmanager
async def worker_process(
    system: System, folder: Path, *, dies_at: str = "", halts_at: str = "", **overrides: Any
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

    received: list[Result] = field(default_factory=list)

    async def take(self, message: AbstractIncomingMessage) -> None:
        """The consumer's callback."""
        self.received.append(Result.from_cloudevent(orjson.loads(message.body)))

    def first_sights(self) -> dict[str, list[int]]:
        """By stream, the sequences in the order in which each was first seen."""
        seen: dict[str, dict[int, None]] = defaultdict(dict)
        for result in self.received:
            seen[result.stream][result.sequence] = None
        return {stream: list(sequences) for stream, sequences in seen.items()}


@asynccontextmanager
async def subscribed(system: System) -> AsyncIterator[Subscriber]:
    """Listen to every result until the end of the block, as another program would."""
    names = Names(system.prefix)
    subscriber = Subscriber()
    async with await aio_pika.connect(system.amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, names)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(names.exchange(Exchange.RESULTS), routing_key="#")
        await queue.consume(subscriber.take, no_ack=True)
        yield subscriber


# Laws


async def all_attempts(system: System) -> list[Attempt]:
    """Every attempt in the store."""
    async with system.store.read() as db:
        ids = list((await db.execute(select(tables.actions.c.id))).scalars())
        return [attempt for action_id in ids for attempt in await attempts.of_action(db, action_id)]


async def assert_one_effect(system: System) -> None:
    """I2: what Komodo was told to execute and what the attempts own are the same, one to one."""
    executed = Counter(
        record.update_id for record in system.core.history.executions if record.variant == "DeployStack"
    )
    owned = Counter(attempt.update_id for attempt in await all_attempts(system) if attempt.update_id)
    assert executed == owned
    assert not [update for update, many in executed.items() if many > 1]


def assert_one_at_a_time(system: System) -> None:
    """I3: no stack was ever busy when it was told to deploy, and no two of its updates overlap."""
    assert "busy" not in [record.outcome for record in system.core.history.executions]
    by_target: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for update in system.core.state.updates.by_id.values():
        assert update.end_ts is not None
        by_target[update.target_id].append((update.start_ts, update.end_ts))
    for spans in by_target.values():
        ordered = sorted(spans)
        assert all(before[1] <= after[0] for before, after in zip(ordered, ordered[1:], strict=False)), ordered


async def all_told(system: System, subscriber: Subscriber) -> None:
    """Await that the broker has confirmed every result, and that the subscriber saw each stream whole and in order."""

    async def nothing_unpublished() -> bool:
        async with system.store.read() as db:
            query = select(tables.results.c.id).where(tables.results.c.published.is_(False)).limit(1)
            return (await db.execute(query)).first() is None

    await until(nothing_unpublished, "every result is published")
    async with system.store.read() as db:
        streams = set((await db.execute(select(tables.results.c.stream))).scalars())
        told = {stream: [one.sequence for one in await results.of_stream(db, stream)] for stream in streams}
    assert told == {stream: list(range(1, len(sequences) + 1)) for stream, sequences in told.items()}
    await until(_async(lambda: {k: len(v) for k, v in subscriber.first_sights().items()} == {k: len(v) for k, v in told.items()}), "the subscriber has seen every result")
    assert subscriber.first_sights() == told


async def nothing_held(system: System) -> None:
    """Await that no resource is leased; the reconciler's turn is none."""

    async def free() -> bool:
        async with system.store.read() as db:
            query = select(tables.leases.c.resource).where(tables.leases.c.resource != "reconciler")
            return (await db.execute(query)).first() is None

    await until(free, "every lease is given back")


async def every_edge(edges: Sequence[str], drill: Callable[[str], Awaitable[None]], *, at_once: int) -> None:
    """Drill each edge, some at once, and raise all that failed together, each with the name of its edge."""
    places = asyncio.Semaphore(at_once)
    failures: list[Exception] = []

    async def one(edge: str) -> None:
        async with places:
            try:
                await drill(edge)
            except Exception as error:
                error.add_note(f"at the edge {edge!r}")
                failures.append(error)

    async with asyncio.TaskGroup() as group:
        for edge in edges:
            group.create_task(one(edge), name=edge)
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(edges)} edges", failures)


def _async(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return condition()

    return ask
