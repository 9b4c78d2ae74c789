"""A running service with everything that a scenario touches at hand: Komodo, the sender, the store, and a subscriber of results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
import httpx
import orjson

from demo.core.faults import Knobs
from demo.core.serve import Core, serving
from demo.core.world import World, compose_file
from demo.sender import signed_headers
from shared import clock
from shared.broker.topology import Exchange, Names, Queue, declare
from shared.procedure import builtin
from shared.procedure.model import Procedure
from shared.results import Result
from shared.store import attempts, procedures, results, runs
from shared.store.actions import Action
from shared.store.attempts import Attempt
from shared.store.deliveries import Receipt, ReceiptOutcome
from shared.store.engine import Store
from shared.store.runs import Run, Stage
from tests.system import SECRET, Push, System, until

GLOBAL_URL = "/listener/github/global"


@dataclass
class Scene:
    """The service, its sender, and shorthands for what scenarios do and ask."""

    system: System
    http: httpx.AsyncClient
    names: Names

    @property
    def core(self) -> Core:
        return self.system.core

    @property
    def knobs(self) -> Knobs:
        return self.core.knobs

    @property
    def store(self) -> Store:
        return self.system.store

    def change(self, *stacks: str, version: str = "2.0", **where: str) -> Push:
        """Push a new image version for these stacks."""
        return self.system.push(
            {f"stacks/{name}/compose.yaml": compose_file(name, version) for name in stacks}, **where
        )

    async def send(self, push: Push, path: str = GLOBAL_URL) -> str:
        """Deliver a push; the delivery's id."""
        return str((await push.send(self.http, path))["delivery"])

    async def send_body(self, event: str, body: Mapping[str, Any], path: str = GLOBAL_URL) -> str:
        """Deliver another event of GitHub's; the delivery's id."""
        raw = orjson.dumps(body)
        answer = await self.http.post(path, content=raw, headers=signed_headers(raw, SECRET, event=event))
        assert answer.is_success, answer.text
        return str(answer.json()["delivery"])

    async def run_of(self, delivery: str) -> Run:
        """The delivery's only run, once it has ended."""
        (run,) = await self.system.ended_runs(delivery)
        return run

    async def deploy(self, push: Push, path: str = GLOBAL_URL) -> Run:
        """Deliver a push and wait for its only run."""
        return await self.run_of(await self.send(push, path))

    async def action_of(self, run: Run) -> Action:
        """The run's only action."""
        (action,) = await self.system.actions(run)
        return action

    async def actions_so_far(self, delivery: str) -> list[Action]:
        """What the delivery's runs have queued by now."""
        async with self.store.read() as db:
            found = await runs.of_delivery(db, delivery)
        return [action for run in found for action in await self.system.actions(run)]

    async def attempts_of(self, action: Action) -> list[Attempt]:
        async with self.store.read() as db:
            return await attempts.of_action(db, action.id)

    async def stages_of(self, run: Run) -> list[Stage]:
        async with self.store.read() as db:
            return await runs.stages_of(db, run.id, with_trace=True)

    async def trace_of(self, run: Run, stage: int = 0, execution: int = 0) -> dict[str, dict[str, Any]]:
        """What the stage's trace says about each stack of the event's repository."""
        trace = (await self.stages_of(run))[stage].trace
        return {verdict["stack"]: verdict for verdict in trace["executions"][execution]["stacks"]}

    async def others_of(self, run: Run) -> tuple[int, str]:
        """How many stacks of other repositories the first execution's trace speaks for, and the predicate that decided."""
        (stage, *_) = await self.stages_of(run)
        others = stage.trace["executions"][0]["others"]
        return others["count"], others["decision"]["predicate"]

    async def receipts_of(self, delivery: str, count: int = 1) -> list[Receipt]:
        """The delivery's receipts, once there are so many."""

        async def planned() -> list[Receipt] | None:
            found = await self.system.receipts(delivery)
            return found if len(found) >= count else None

        return await until(planned, f"{delivery} was planned {count} times") or []

    async def outcome_of(self, delivery: str) -> tuple[ReceiptOutcome, str]:
        """How the delivery's only receipt was planned, and the reason of the first procedure that decided."""
        (receipt,) = await self.receipts_of(delivery)
        decisions = [entry["decision"]["reason"] for entry in receipt.trace["procedures"] if "decision" in entry]
        return receipt.outcome, decisions[0] if decisions else ""

    async def results_of(self, stream: str) -> list[Result]:
        async with self.store.read() as db:
            return await results.of_stream(db, stream)

    async def save(self, *definitions: Procedure, keep_global: bool = False) -> None:
        """Store procedures; the built-in one only stays where a scenario wants it."""
        off = () if keep_global else (builtin.GLOBAL.model_copy(update={"enabled": False}),)
        async with self.store.begin() as db:
            for definition in (*off, *definitions):
                await procedures.save(db, definition, now=clock.now())

    async def started(self, stack: str, count: int = 1) -> None:
        """Until Komodo has begun work on the stack so often."""
        await self.when(lambda: self.core.history.ran(stack) >= count, f"{stack} is at work")

    async def refused(self, stack: str, outcome: str) -> None:
        """Until Komodo has refused work on the stack like this."""
        await self.when(lambda: outcome in self.core.history.outcomes(stack), f"{stack} was {outcome}")

    async def when(self, condition: Callable[[], bool], what: str) -> None:
        async def holds() -> bool:
            return condition()

        await until(holds, what)


def a_procedure(name: str, *stages: list[dict[str, Any]], on_failure: str = "stop", **more: Any) -> Procedure:
    """A procedure that every push starts; each stage is a list of executions."""
    built = [
        {"name": f"stage {number}", "on_failure": on_failure, "executions": stage}
        for number, stage in enumerate(stages)
    ]
    return Procedure.model_validate({"name": name, "trigger": {}, "stages": built} | more)


def on_stack(kind: str, stack: str, **more: Any) -> dict[str, Any]:
    """An execution on the stack with that name."""
    return {"execution": {"type": kind, "params": {"stack": stack}}, **more}


def deploy_execution(stack: str, **more: Any) -> dict[str, Any]:
    """A deployment of the stack where its files changed."""
    return on_stack("DeployStackIfChanged", stack, **more)


@asynccontextmanager
async def running(
    amqp_url: str,
    names: Names,
    store: Store,
    *,
    world: World,
    workers: int = 1,
    before: Callable[[Scene], Awaitable[None]] | None = None,
    **overrides: Any,
) -> AsyncIterator[Scene]:
    """A service with so many workers, on a Komodo whose checkouts are never old; `before` is done before the first worker starts."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(serving(world, Knobs(pull_cache_seconds=0.0)))
        system = System(amqp_url, names.prefix, core, store, overrides)
        http = await stack.enter_async_context(system.ingress())
        scene = Scene(system, http, names)
        if before is not None:
            await before(scene)
        for _ in range(workers):
            await stack.enter_async_context(system.worker())
        yield scene


@asynccontextmanager
async def subscribed(amqp_url: str, names: Names) -> AsyncIterator[asyncio.Queue[Result]]:
    """What a subscriber of all results receives, in its order."""
    received: asyncio.Queue[Result] = asyncio.Queue()

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        assert message.content_type == "application/cloudevents+json"
        result = Result.from_cloudevent(orjson.loads(message.body))
        assert message.routing_key == result.type
        received.put_nowait(result)

    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await declare(channel, names)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(names.exchange(Exchange.RESULTS), "#")
        await queue.consume(take, no_ack=True)
        yield received


@asynccontextmanager
async def dead_letters(amqp_url: str, names: Names) -> AsyncIterator[Callable[[], Awaitable[tuple[bytes, str, str]]]]:
    """A function that waits for the next dead message: its body, its reason and the queue that it came from."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = (await declare(channel, names))[Queue.DEAD]
        found: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
        await queue.consume(found.put, no_ack=True)

        async def next_one() -> tuple[bytes, str, str]:
            async with asyncio.timeout(10):
                message = await found.get()
            return message.body, str(message.headers["x-kgw-reason"]), str(message.headers["x-kgw-queue"])

        yield next_one
