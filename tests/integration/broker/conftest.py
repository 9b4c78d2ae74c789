"""A connection, a publisher and the other side, on the broker that the session shares; and the same by way of a relay."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aio_pika.abc import AbstractRobustConnection

from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names
from tests.integration.broker.relay import Relay, relaying
from tests.integration.broker.scene import Broker

PUBLISH_TIMEOUT = 2.0


@pytest.fixture
async def broker(amqp_url: str, names: Names) -> AsyncIterator[Broker]:
    """The other side of the shared broker."""
    async with Broker.at(amqp_url, names) as broker:
        yield broker


@pytest.fixture
async def connection(amqp_url: str, names: Names) -> AsyncIterator[AbstractRobustConnection]:
    """A connection to the shared broker."""
    async with connected(amqp_url, name="test") as connection:
        yield connection


@pytest.fixture
async def publisher(connection: AbstractRobustConnection, names: Names) -> Publisher:
    """A publisher on the shared broker; the topology is declared."""
    return await Publisher.open(connection, names, timeout=PUBLISH_TIMEOUT)


@pytest.fixture
async def relay(amqp_url: str) -> AsyncIterator[Relay]:
    """A way to the shared broker that can be lost."""
    async with relaying(amqp_url) as relay:
        yield relay


@pytest.fixture
async def frail_connection(relay: Relay, names: Names) -> AsyncIterator[AbstractRobustConnection]:
    """A connection by way of the relay."""
    async with connected(relay.url, name="test") as connection:
        yield connection
        relay.mend()


@pytest.fixture
async def frail_publisher(frail_connection: AbstractRobustConnection, names: Names) -> Publisher:
    """A publisher by way of the relay; the topology is declared."""
    return await Publisher.open(frail_connection, names, timeout=PUBLISH_TIMEOUT)
