"""The example of docs/subscribe.md, run as it stands there, on a real broker."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
import orjson
import pytest

from shared.broker.connection import connected
from shared.broker.framing import Outgoing
from shared.broker.publisher import Publisher
from shared.broker.topology import Names
from shared.results import CONTENT_TYPE, Result, ResultType
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
QUEUE = "my-results"
LIMIT_SECONDS = 20.0


def example() -> str:
    """The one block of Python in docs/subscribe.md."""
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs" / "subscribe.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return str(code)


def test_the_example_has_fifteen_lines() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) == 15


async def test_the_example_prints_every_result_in_order(amqp_url: str, names: Names) -> None:
    told = [
        _result(sequence, kind) for sequence, kind in enumerate((ResultType.RUN_STARTED, ResultType.RUN_SUCCEEDED), 1)
    ]

    async with connected(amqp_url, name="test") as connection:
        publisher = await Publisher.open(connection, names)
        async with _subscriber(amqp_url, names.prefix) as program:
            await _until_bound(amqp_url)
            for result in told:
                body = orjson.dumps(result.to_cloudevent())
                await publisher.publish_result(result.type, Outgoing(body, result.id, CONTENT_TYPE))
            printed = [await _line(program) for _ in told]

    assert printed == [
        f"{event['type']} {event['sequence']} {event['data']}" for event in (result.to_cloudevent() for result in told)
    ]


def _result(sequence: int, kind: ResultType) -> Result:
    return Result(
        id=f"result-{sequence}",
        type=kind,
        stream="run-1",
        sequence=sequence,
        time=datetime(2026, 11, 1, tzinfo=UTC),
        delivery_id="delivery-1",
        run_id="run-1",
        data={"procedure": "global", "reason": None},
    )


@asynccontextmanager
async def _subscriber(amqp_url: str, prefix: str) -> AsyncIterator[asyncio.subprocess.Process]:
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        example(),
        env={**os.environ, "KGW_AMQP_URL": amqp_url, "KGW_AMQP_PREFIX": prefix},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield program
    finally:
        program.kill()
        await program.wait()
        async with await aio_pika.connect(amqp_url) as connection:
            await (await connection.channel()).queue_delete(QUEUE)


async def _until_bound(amqp_url: str) -> None:
    """The example binds before it consumes, so a queue with a consumer is bound."""
    async with await aio_pika.connect(amqp_url) as connection:

        async def has_consumer() -> bool:
            return await _consumers(connection) > 0

        await until(has_consumer, seconds=LIMIT_SECONDS)


async def _consumers(connection: aio_pika.abc.AbstractConnection) -> int:
    # Asking for a queue that is not there closes the channel, so each look has its own.
    channel = await connection.channel()
    try:
        queue = await channel.get_queue(QUEUE)
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return 0
    count = queue.declaration_result.consumer_count or 0
    await channel.close()
    return count


async def _line(program: asyncio.subprocess.Process) -> str:
    assert program.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return (await program.stdout.readline()).decode().rstrip()
    except TimeoutError:
        pytest.fail("the example printed nothing")
