"""The load generator against small servers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench.load import Load, LoadFailed, Request, send

REQUEST = Request("POST /listener HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4", "body")
ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok"

Answer = Callable[[bytes], Awaitable[bytes]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[int]:
    """A server on a free port; an empty answer closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                answered = await answer(head + await reader.readexactly(4))
                if not answered:
                    break
                # In two parts, as the network may deliver it.
                writer.write(answered[:30])
                await writer.drain()
                writer.write(answered[30:])
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_closed_loop_sends_what_was_asked_and_every_delivery_has_its_own_id() -> None:
    received: list[bytes] = []

    async def answer(request: bytes) -> bytes:
        received.append(request)
        return ACCEPTED

    async with serving(answer) as port:
        samples = await send(Load(port, (REQUEST,), connections=4, seconds=20.0, count=25))

    ids = {match[1] for request in received if (match := re.search(rb"X-GitHub-Delivery: (\S+)\r\n", request))}
    assert len(samples) == len(received) == len(ids) == 25
    assert all(request.endswith(b"\r\n\r\nbody") for request in received)


async def test_an_open_loop_counts_from_the_time_to_send_when_all_connections_are_taken() -> None:
    async def answer(request: bytes) -> bytes:
        await asyncio.sleep(0.05)
        return ACCEPTED

    async with serving(answer) as port:
        samples = await send(Load(port, (REQUEST,), connections=1, seconds=0.1, count=10, rate=100.0))

    # Ten requests in a tenth of a second on one connection that takes half a second for them: the last one waited for all others.
    assert max(sample.seconds for sample in samples) > 0.3


async def test_an_answer_other_than_202_fails_the_load() -> None:
    async def answer(request: bytes) -> bytes:
        return b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"

    async with serving(answer) as port:
        with pytest.raises(LoadFailed, match="503"):
            await send(Load(port, (REQUEST,), connections=1, seconds=20.0, count=1))


async def test_a_connection_that_closes_before_its_answer_fails_the_load() -> None:
    async def answer(request: bytes) -> bytes:
        return b""

    async with serving(answer) as port:
        with pytest.raises(LoadFailed, match="closed before its answer"):
            await send(Load(port, (REQUEST,), connections=1, seconds=20.0, count=1))
