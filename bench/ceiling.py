"""
The load generator's own ceiling: a server that looks only for the end of each request and answers it with the same bytes.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import cast

import uvloop

PORT_KEY = "BENCH_CEILING_PORT"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
_READY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection of a client that sends one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Answer when the request is complete."""
        assert self._transport is not None
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end + 2)
        if length is not None and len(self._buffer) < end + 4 + int(length[1]):
            return
        self._buffer = b""
        self._transport.write(_ACCEPTED if length else _READY)


async def serve() -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with await loop.create_server(Answering, "127.0.0.1", int(os.environ[PORT_KEY])):
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve())
