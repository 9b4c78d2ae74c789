"""`kgw doctor`: every setting checked against the live thing, one line each, with what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aio_pika
import httpx
from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed, ProbableAuthenticationError

from console.auth import guard
from shared import clock
from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names, Queue
from shared.errors import KgwError, Misconfigured, Unavailable
from shared.komodo.client import KomodoClient
from shared.komodo.stacks import StackCache
from shared.settings import ConsoleSettings, IngressSettings, Settings, StoreSettings, WorkerSettings, load, require
from shared.store.engine import open_store, parse_url
from shared.store.schema import require_current

CHECK_SECONDS = 15.0
CONNECT_SECONDS = 5.0
MAX_CLOCK_OFFSET = 30.0
MIN_SECRET = 16
# `PermissionLevel` of Komodo's `client/core/rs/src/entities/permission.rs`.
_MAY_EXECUTE = frozenset({"Execute", "Write"})


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
        ("api token", _api_token),
        ("broker", _broker),
        ("store", _store),
        ("komodo", _komodo),
        ("komodo rights", _komodo_rights),
        ("komodo clock", _komodo_clock),
    )
    for name, check in checks:
        yield await _finding(name, check)


async def _finding(name: str, check: Check) -> Finding:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return Finding(name, True, await check())
    except KgwError as error:
        return Finding(name, False, error.reason)
    except TimeoutError:
        return Finding(name, False, f"no answer within {CHECK_SECONDS:.0f} s")


async def _webhook_secret() -> str:
    settings = load(IngressSettings)
    require(settings, "webhook_secret")
    if len(settings.webhook_secret.get_secret_value()) < MIN_SECRET:
        raise Misconfigured("KOMODO_WEBHOOK_SECRET is short: take 32 random characters")
    return "set"


async def _api_token() -> str:
    settings = load(ConsoleSettings)
    guard(settings)
    if not settings.api_token.get_secret_value():
        return "not set: the console answers everyone on this machine, and nobody else"
    if len(settings.api_token.get_secret_value()) < MIN_SECRET:
        raise Misconfigured("KGW_API_TOKEN is short: take 32 random characters")
    return "set"


async def _broker() -> str:
    settings = load(Settings)
    url, names = settings.amqp_url.get_secret_value(), Names(settings.amqp_prefix)
    await _knock(url)
    try:
        async with connected(url, name="kgw doctor") as connection:
            publisher = await Publisher.open(connection, names)
            waiting = [f"{await publisher.count_ready(queue)} in {names.queue(queue)}" for queue in Queue]
    except ChannelPreconditionFailed as error:
        raise Misconfigured(f"a queue or exchange exists with other arguments, delete it: {error}") from error
    except AMQPError as error:
        raise Misconfigured(f"RabbitMQ does not let us declare the queues: {type(error).__name__}: {error}") from error
    return f"reachable, exchanges and queues are there: {', '.join(waiting)}"


async def _knock(url: str) -> None:
    """Once, where the processes would try for ever."""
    try:
        async with await aio_pika.connect(url, timeout=CONNECT_SECONDS):
            return
    except ProbableAuthenticationError as error:
        raise Misconfigured("RabbitMQ refuses the user, the password or the virtual host in KGW_AMQP_URL") from error
    except (AMQPError, OSError, TimeoutError, ValueError) as error:
        reason = f"nothing answers at KGW_AMQP_URL as RabbitMQ does: {type(error).__name__}"
        raise Unavailable(f"{reason}; is it running, and is the address right?") from error


async def _store() -> str:
    url = load(StoreSettings).database_url.get_secret_value()
    if _is_missing(url):
        raise Misconfigured("there is no file at KGW_DATABASE_URL yet: run kgw migrate")
    async with open_store(url) as store:
        await require_current(store)
        return f"{store.url.get_backend_name()}, schema is current"


def _is_missing(url: str) -> bool:
    # Opening a file of SQLite's that is not there would make it.
    parsed = parse_url(url)
    return parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file()


async def _komodo() -> str:
    async with _connect_komodo() as komodo:
        version = await komodo.version()
        name = (await komodo.user())["username"]
    return f"version {version}, the API key is {name}'s"


async def _komodo_rights() -> str:
    async with _connect_komodo() as komodo:
        user = await komodo.user()
        stacks = await StackCache(komodo, seconds=0).get()
    if not stacks:
        raise Misconfigured("Komodo shows this API key no stacks: give its user Execute on those that it is to deploy")
    if _may_execute_all(user):
        return f"may deploy every stack, {len(stacks)} now"
    return f"sees {len(stacks)} stacks; make sure that its user has Execute on each one that it is to deploy"


def _may_execute_all(user: dict[str, Any]) -> bool:
    level = (user.get("all") or {}).get("Stack")
    if isinstance(level, dict):
        level = level.get("level")
    return bool(user.get("admin")) or level in _MAY_EXECUTE


def _connect_komodo() -> AbstractAsyncContextManager[KomodoClient]:
    settings = load(WorkerSettings)
    require(settings, "komodo_address", "komodo_api_key", "komodo_api_secret")
    return KomodoClient.connect(
        settings.komodo_address,
        settings.komodo_api_key.get_secret_value(),
        settings.komodo_api_secret.get_secret_value(),
    )


async def _komodo_clock() -> str:
    """The takeover's look-up allows for clocks a minute apart; half of that is where it becomes a problem."""
    settings = load(WorkerSettings)
    require(settings, "komodo_address")
    try:
        async with httpx.AsyncClient(timeout=CONNECT_SECONDS, trust_env=False) as client:
            answer = await client.get(f"{settings.komodo_address.rstrip('/')}/version")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise Misconfigured("KOMODO_ADDRESS is not an http(s) URL") from None
    except httpx.HTTPError as error:
        raise Unavailable(f"Komodo does not answer: {type(error).__name__}") from error
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
