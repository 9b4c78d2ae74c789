"""A TCP relay in front of the broker, so that a test can lose the connection, refuse it or let it hang, without harm to others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL


class Relay:
    """Forwards to the broker while it is `open`; `cut` loses what is connected, `hold` lets it hang without a word."""

    def __init__(self, target: URL) -> None:
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """The broker's URL by way of here."""
        return str(self._target.with_host("127.0.0.1").with_port(self.port))

    def cut(self) -> None:
        """Every connection ends at once, and every further one too until `mend`."""
        self._is_refusing = True
        for writer in self._writers:
            writer.transport.abort()

    def lose(self) -> None:
        """Every connection ends at once; a new one is possible."""
        self.cut()
        self._is_refusing = False

    def hold(self) -> None:
        """Nothing comes through any more, in either direction, and nobody is told."""
        self._flows.clear()

    def mend(self) -> None:
        """All is well again."""
        self._is_refusing = False
        self._flows.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        if self._is_refusing:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers |= {writer, up_writer}
        for source, sink in ((reader, up_writer), (up_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def close(self) -> None:
        """End everything."""
        self.cut()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            return
        finally:
            self._writers.discard(sink)
            sink.transport.abort()


@asynccontextmanager
async def relaying(url: str) -> AsyncIterator[Relay]:
    """A relay to the broker at `url`."""
    relay = Relay(URL(url))
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    async with server:
        relay.port = server.sockets[0].getsockname()[1]
        try:
            yield relay
        finally:
            server.close()
            await relay.close()
