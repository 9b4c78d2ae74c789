"""A console on a free port, what tells it results as a worker does, and a reader of its streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from console import app
from demo.processes import free_port
from shared import clock
from shared.broker.connection import connected
from shared.broker.framing import Outgoing
from shared.broker.publisher import Publisher
from shared.broker.topology import Names
from shared.results import CONTENT_TYPE, ResultType
from shared.settings import ConsoleSettings
from shared.states import Happening
from shared.store import results, runs
from shared.store.engine import Store
from shared.store.runs import Run
from tests.builders import a_procedure, an_event, store_event, store_run
from tests.waiting import until

TOKEN = "Zy0Qn4f2ReZcJq1rQ9mSTu7bXw5vKd8L"


@dataclass
class Teller:
    """Stores results and publishes them, as a worker does after its commits."""

    store: Store
    publisher: Publisher

    async def run(self, run: Run, *kinds: ResultType, is_published: bool = True, **data: Any) -> None:
        """Results of a run; its end also ends it in the store."""
        async with self.store.begin() as db:
            await results.tell_run(db, run.id, [(kind, data) for kind in kinds], now=clock.now())
            for kind, happening in (
                (ResultType.RUN_SUCCEEDED, Happening.SUCCEED),
                (ResultType.RUN_FAILED, Happening.FAIL),
            ):
                if kind in kinds:
                    await runs.finish(db, run.id, happening, None, now=clock.now())
        if is_published:
            await self.publish(run.id)

    async def delivery(self, delivery: str, kind: ResultType, **data: Any) -> None:
        """One result of a delivery."""
        async with self.store.begin() as db:
            await results.tell_delivery(db, delivery, [(kind, data)], now=clock.now())
        await self.publish(delivery)

    async def publish(self, stream: str) -> None:
        """What was stored and not published yet."""
        async with self.store.read() as db:
            found = await results.unpublished(db, [stream])
        for result in found:
            body = orjson.dumps(result.to_cloudevent())
            await self.publisher.publish_result(result.type, Outgoing(body, result.id, CONTENT_TYPE))
        async with self.store.begin() as db:
            await results.mark_published(db, [result.id for result in found])

    async def new_run(self, delivery: str | None = None, procedure: str = "homelab") -> Run:
        """A run that nothing is told of yet."""
        event = an_event(delivery_id=delivery) if delivery else an_event()
        async with self.store.begin() as db:
            return await store_run(db, event=event, definition=a_procedure(procedure))

    async def new_delivery(self, delivery: str) -> None:
        """A delivery that nothing is told of yet."""
        async with self.store.begin() as db:
            await store_event(db, an_event(delivery_id=delivery))


@dataclass
class Heard:
    """What came of one stream: events in order, the id after each, and the comments."""

    events: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> list[tuple[str, int]]:
        """Stream and sequence of each event."""
        return [(event["subject"], int(event["sequence"])) for event in self.events]

    @property
    def is_over(self) -> bool:
        """Whether the console said that nothing more is to come."""
        return "over" in self.comments


@dataclass
class Console:
    """A running console, seen from outside."""

    http: httpx.AsyncClient
    url: str
    teller: Teller

    async def listen(self, path: str, heard: Heard, last_id: str = "", *, count: int | None = None) -> None:
        """Read the stream to its end, or until `count` events have come."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self.http.stream("GET", f"/api/v1/{path}/events", headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    heard.comments.append(line.removeprefix(":").strip())
                elif line:
                    fields[name] = value
                elif "data" in fields:
                    event = orjson.loads(fields["data"])
                    assert event["type"] == f"komodo.webhook.{fields['event']}"
                    heard.events.append(event)
                    heard.ids.append(fields["id"])
                    fields = {}
                if count is not None and len(heard.events) >= count:
                    return

    async def hear(self, path: str, last_id: str = "", *, count: int | None = None) -> Heard:
        """As `listen`, returning what was heard."""
        heard = Heard()
        async with asyncio.timeout(20):
            await self.listen(path, heard, last_id, count=count)
        return heard


@asynccontextmanager
async def running_console(amqp_url: str, names: Names, store: Store) -> AsyncIterator[Console]:
    """A console until the end of the block; whoever still follows is let go then."""
    settings = ConsoleSettings(
        amqp_url=SecretStr(amqp_url),
        amqp_prefix=names.prefix,
        database_url=SecretStr(store.url.render_as_string(hide_password=False)),
        console_port=free_port(),
        api_token=SecretStr(TOKEN),
    )
    url = f"http://127.0.0.1:{settings.console_port}"
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(app.run(settings, stop))
        try:
            async with (
                httpx.AsyncClient(base_url=url, headers={"X-Api-Key": TOKEN}, timeout=20) as http,
                connected(amqp_url, name="tests") as connection,
            ):
                teller = Teller(store, await Publisher.open(connection, names))
                await until(lambda: _is_ready(http))
                yield Console(http, url, teller)
        finally:
            stop.set()


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).is_success
    except httpx.TransportError:
        return False
