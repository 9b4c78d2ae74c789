"""The composition root of a worker: settings in, everything wired, nothing built anywhere else."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from uuid_utils import uuid7

from shared import health, logs, process
from shared.broker.connection import connected
from shared.broker.consumer import Consumer
from shared.broker.publisher import Publisher
from shared.broker.topology import Names, Queue
from shared.errors import Transient
from shared.komodo.client import KomodoClient
from shared.komodo.stacks import StackCache
from shared.komodo.updates import UpdateWatcher
from shared.serving import serve
from shared.settings import WorkerSettings, require
from shared.store import leases
from shared.store.engine import open_store, ping
from shared.store.schema import require_current
from worker import reconcile
from worker.catchup import schedule as catching_up
from worker.consume import on_action, on_event
from worker.holding import execute_seconds
from worker.telling import Telling
from worker.tools import Tools

log = logs.get_logger()

PLANS_IN_HAND = 16


def main() -> None:
    """Run a worker until a signal."""
    process.main(WorkerSettings, run)


async def run(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """A worker from start to end; raises `Misconfigured` when a setting is missing or wrong."""
    require(settings, "komodo_address", "komodo_api_key", "komodo_api_secret")
    async with AsyncExitStack() as stack:
        tools, events, actions = await _build(settings, stack, stop)
        app = health.application(
            {
                "store": health.Dependency(partial(ping, tools.store)),
                "broker": health.Dependency(partial(tools.publisher.count_ready, Queue.ACTIONS)),
                "komodo": health.Dependency(tools.komodo.version, required=False),
            }
        )
        give_up = partial(_leave_to_others, tools)
        log.info("worker_started", worker=tools.id)
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as background:
            background.create_task(tools.updates.run(ended), name="updates")
            background.create_task(tools.telling.run(ended), name="telling")
            background.create_task(
                tools.holding.renew(tools.store, tools.id, lease_seconds=settings.lease_seconds, stop=ended),
                name="leases",
            )
            background.create_task(
                serve(app, settings.worker_bind_ip, settings.worker_port, name="worker", stop=ended), name="health"
            )
            async with asyncio.TaskGroup() as work:
                work.create_task(reconcile.run(tools, stop), name="reconciler")
                work.create_task(catching_up.run(tools, stop), name="catch-up")
                work.create_task(events.run(stop, grace=settings.shutdown_grace), name="events")
                # The one that has leases: handed over any earlier, they would be taken from work that still has its grace.
                work.create_task(
                    actions.run(stop, grace=settings.shutdown_grace, before_giving_back=give_up), name="actions"
                )
            ended.set()
    log.info("worker_stopped", worker=tools.id)


async def _build(
    settings: WorkerSettings, stack: AsyncExitStack, stop: asyncio.Event
) -> tuple[Tools, Consumer, Consumer]:
    store = await stack.enter_async_context(open_store(settings.database_url.get_secret_value()))
    await require_current(store)
    komodo = await stack.enter_async_context(
        KomodoClient.connect(
            settings.komodo_address,
            settings.komodo_api_key.get_secret_value(),
            settings.komodo_api_secret.get_secret_value(),
            execute_seconds=execute_seconds(settings.lease_seconds),
        )
    )
    worker_id = str(uuid7())
    connection = await stack.enter_async_context(
        connected(settings.amqp_url.get_secret_value(), name=f"kgw worker {worker_id}", stop=stop)
    )
    names = Names(settings.amqp_prefix)
    publisher = await Publisher.open(connection, names)
    tools = Tools(
        id=worker_id,
        settings=settings,
        store=store,
        publisher=publisher,
        komodo=komodo,
        stacks=StackCache(komodo, seconds=settings.stack_cache_seconds),
        updates=UpdateWatcher(komodo, interval=settings.update_interval),
        telling=Telling(store, await Publisher.open(connection, names)),
    )
    events = Consumer(connection, names, Queue.EVENTS, publisher, partial(on_event, tools), prefetch=PLANS_IN_HAND)
    actions = Consumer(
        connection,
        names,
        Queue.ACTIONS,
        publisher,
        partial(on_action, tools),
        prefetch=settings.worker_concurrency,
    )
    return tools, events, actions


async def _leave_to_others(tools: Tools) -> None:
    try:
        async with tools.store.begin() as db:
            await leases.hand_over_all(db, tools.id)
    except Transient as error:
        log.warning("leases_not_handed_over", reason=error.reason)
