"""A connection to RabbitMQ that comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractRobustConnection
from aio_pika.exceptions import AMQPError

from shared import logs
from shared.errors import Misconfigured, Unavailable

log = logs.get_logger()

RECONNECT_SECONDS = 1.0
CLOSE_SECONDS = 5.0


@asynccontextmanager
async def connected(
    url: str, *, name: str, stop: asyncio.Event | None = None
) -> AsyncIterator[AbstractRobustConnection]:
    """
    A connection until the end of the block; the first one is awaited for as long as it takes, or until `stop` is set.

    `name` is what RabbitMQ's management page shows. Raises `Misconfigured` when the URL is none, `Unavailable` when `stop` came first.
    """
    _require_amqp(url)
    connection = await _first(url, name, stop)
    try:
        yield connection
    finally:
        # A broker that is away can not say goodbye; the socket is gone either way.
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.close()
        except (TimeoutError, AMQPError, OSError, RuntimeError) as error:
            log.debug("broker_close_failed", error=type(error).__name__)


def _require_amqp(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_amqp = parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port that is no number; it quotes what may be a part of the password
        is_amqp = False
    if not is_amqp:
        raise Misconfigured("KGW_AMQP_URL is not an AMQP URL: write amqp://user:password@host:5672/")


async def _first(url: str, name: str, stop: asyncio.Event | None) -> AbstractRobustConnection:
    while stop is None or not stop.is_set():
        try:
            return await aio_pika.connect_robust(
                url,
                client_properties={"connection_name": name},
                reconnect_interval=RECONNECT_SECONDS,
                timeout=10,
            )
        except (OSError, AMQPError, TimeoutError) as error:
            log.warning("broker_unreachable", error=type(error).__name__)
            await _pause(stop)
    raise Unavailable("stopped before the broker answered")


async def _pause(stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(RECONNECT_SECONDS)
        return
    try:
        async with asyncio.timeout(RECONNECT_SECONDS):
            await stop.wait()
    except TimeoutError:
        return
