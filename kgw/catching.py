"""What `kgw catch-up` does: one look at what was missed, with the worker's settings, and what it prints of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names
from shared.errors import Misconfigured, Unavailable
from shared.komodo.client import KomodoClient
from shared.komodo.stacks import StackCache
from shared.settings import WorkerSettings, require
from shared.store.engine import open_store
from shared.store.schema import require_current, require_there
from worker.catchup.catching_up import OFF, Looked, Plan, Publish, Report, catch_up
from worker.catchup.missed import Finding

CONNECT_SECONDS = 5.0


async def catch_up_once(settings: WorkerSettings, *, is_dry: bool, deploys_new: bool) -> Report:
    """
    Look once; a dry run asks and publishes nothing.

    Raises `Misconfigured` when a setting is missing, `Unavailable` when the broker is away; what was published until then stays.
    """
    if not settings.provider_api:
        raise Misconfigured(OFF)
    require(settings, "komodo_address", "komodo_api_key", "komodo_api_secret")
    database_url = settings.database_url.get_secret_value()
    require_there(database_url)
    async with open_store(database_url) as store, _komodo(settings) as komodo, _publishing(settings, is_dry) as publish:
        await require_current(store)
        stacks = await StackCache(komodo, seconds=settings.stack_cache_seconds).get()
        return await catch_up(store, stacks, Plan(settings.provider_api, publish, deploys_new))


def as_document(report: Report) -> dict[str, Any]:
    """The report for scripts."""
    return asdict(report)


def as_lines(report: Report, *, is_dry: bool) -> Iterator[str]:
    """The report for people."""
    would = "would " if is_dry else ""
    for again in report.redeliveries:
        yield f"{again.repository}: {would}ask GitHub to send {again.event} {again.guid} again"
    for looked in report.looked:
        yield f"{looked.repository} {looked.branch}: {_sentence(looked, would)}"
    if report.unreachable:
        yield f"not asked, because no [[provider_api]] is for them: {', '.join(report.unreachable)}"


def _sentence(looked: Looked, would: str) -> str:
    head, last = (looked.head or "")[:12], (looked.last or "")[:12]
    match looked.finding:
        case Finding.MISSED:
            return f"{last} is the last commit that came, {head} was missed: {would}publish"
        case Finding.FIRST_SEEN if looked.deploys:
            return f"seen for the first time at {head}: {would}publish, to be deployed"
        case Finding.FIRST_SEEN:
            return f"seen for the first time at {head}: {would}record, nothing is deployed"
        case Finding.GONE:
            return "there is no such branch"
        case _:
            return f"{head} is known"


@asynccontextmanager
async def _komodo(settings: WorkerSettings) -> AsyncIterator[KomodoClient]:
    key, secret = settings.komodo_api_key.get_secret_value(), settings.komodo_api_secret.get_secret_value()
    async with KomodoClient.connect(settings.komodo_address, key, secret) as komodo:
        yield komodo


@asynccontextmanager
async def _publishing(settings: WorkerSettings, is_dry: bool) -> AsyncIterator[Publish | None]:
    if is_dry:
        yield None
        return
    gave_up = asyncio.Event()
    alarm = asyncio.get_running_loop().call_later(CONNECT_SECONDS, gave_up.set)
    try:
        async with connected(settings.amqp_url.get_secret_value(), name="kgw catch-up", stop=gave_up) as connection:
            alarm.cancel()
            publisher = await Publisher.open(connection, Names(settings.amqp_prefix))
            yield publisher.publish_event
    except Unavailable as error:
        raise Unavailable(f"not all could be published, so try again: {error.reason}") from error
    finally:
        alarm.cancel()
