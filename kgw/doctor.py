"""`kgw doctor`: every setting checked against the live thing, one line each, with what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from shared import clock
from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names, Queue
from shared.errors import KgwError, Misconfigured
from shared.komodo.client import KomodoClient
from shared.komodo.stacks import StackCache
from shared.settings import IngressSettings, WorkerSettings, load, require
from shared.store.engine import open_store
from shared.store.schema import require_current

CHECK_SECONDS = 15.0
MAX_CLOCK_OFFSET = 30.0


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, and what was seen or is to be done."""

    name: str
    is_well: bool
    text: str


Check = Callable[[], Awaitable[str]]


async def examine() -> AsyncIterator[Finding]:
    """Every check in turn; none stops the others."""
    checks: tuple[tuple[str, Check], ...] = (
        ("webhook secret", _webhook_secret),
        ("broker", _broker),
        ("store", _store),
        ("komodo", _komodo),
        ("komodo clock", _komodo_clock),
    )
    for name, check in checks:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                yield Finding(name, True, await check())
        except KgwError as error:
            yield Finding(name, False, error.reason)
        except TimeoutError:
            yield Finding(name, False, f"no answer within {CHECK_SECONDS:.0f} s")


async def _webhook_secret() -> str:
    settings = load(IngressSettings)
    require(settings, "webhook_secret")
    if len(settings.webhook_secret.get_secret_value()) < 16:
        raise Misconfigured("KOMODO_WEBHOOK_SECRET is short: take 32 random characters")
    return "set"


async def _broker() -> str:
    settings = load(WorkerSettings)
    async with connected(settings.amqp_url.get_secret_value(), name="kgw doctor") as connection:
        publisher = await Publisher.open(connection, Names(settings.amqp_prefix))
        waiting = [f"{await publisher.count_ready(queue)} in {queue}" for queue in Queue]
    return f"reachable, queues declared: {', '.join(waiting)}"


async def _store() -> str:
    settings = load(WorkerSettings)
    async with open_store(settings.database_url.get_secret_value()) as store:
        await require_current(store)
        return f"{store.url.get_backend_name()}, schema is current"


async def _komodo() -> str:
    settings = load(WorkerSettings)
    require(settings, "komodo_address", "komodo_api_key", "komodo_api_secret")
    async with KomodoClient.connect(
        settings.komodo_address,
        settings.komodo_api_key.get_secret_value(),
        settings.komodo_api_secret.get_secret_value(),
    ) as komodo:
        version = await komodo.version()
        await komodo.user_id()
        stacks = await StackCache(komodo, seconds=0).get()
    if not stacks:
        raise Misconfigured("Komodo shows this API key no stacks: give its user Execute on those that it is to deploy")
    return f"version {version}, the API key is valid and sees {len(stacks)} stacks"


async def _komodo_clock() -> str:
    """The takeover's look-up allows for clocks a minute apart; half of that is where it becomes a problem."""
    settings = load(WorkerSettings)
    require(settings, "komodo_address")
    try:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            answer = await client.get(f"{settings.komodo_address.rstrip('/')}/version")
    except httpx.HTTPError as error:
        raise Misconfigured(f"Komodo does not answer: {type(error).__name__}") from error
    date = answer.headers.get("Date")
    if date is None:
        return "Komodo does not tell its time, so it was not compared"
    offset = abs((_parsed(date) - clock.now()).total_seconds())
    if offset > MAX_CLOCK_OFFSET:
        raise Misconfigured(f"Komodo's clock is {offset:.0f} s away from this one: set both by NTP")
    return f"within {max(1.0, offset):.0f} s of this one"


def _parsed(date: str) -> datetime:
    try:
        return parsedate_to_datetime(date).astimezone(UTC)
    except ValueError as error:
        raise Misconfigured("what answers at KOMODO_ADDRESS tells a time that can not be read") from error
