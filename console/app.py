"""The composition root of the console: settings → store, subscription, API. It reads; what it shows was written by the workers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI

from console import auth, problems
from console.api import deliveries, runs
from console.context import Context
from console.follow import Following
from shared import health, process
from shared.broker.connection import connected
from shared.broker.topology import Names
from shared.serving import serve
from shared.settings import ConsoleSettings
from shared.store.engine import open_store, ping
from shared.store.schema import require_current


def main() -> None:
    """Run the console until a signal."""
    process.main(ConsoleSettings, run)


async def run(settings: ConsoleSettings, stop: asyncio.Event) -> None:
    """A console from start to end; raises `Misconfigured` when a setting is missing or wrong."""
    check = auth.guard(settings)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.database_url.get_secret_value()))
        await require_current(store)
        connection = await stack.enter_async_context(
            connected(settings.amqp_url.get_secret_value(), name="kgw console", stop=stop)
        )
        following = Following()
        hearing = await following.consume(connection, Names(settings.amqp_prefix))
        app = application(Context(store, following), check)
        dependencies = {
            "store": health.Dependency(partial(ping, store)),
            "broker": health.Dependency(hearing.ready),
        }
        app.router.routes.extend(health.routes(dependencies))
        async with asyncio.TaskGroup() as group:
            streams = group.create_task(_end_streams(following, stop), name="streams")
            await serve(app, settings.console_bind_ip, settings.console_port, name="console", stop=stop)
            streams.cancel()


def application(context: Context, check: auth.Check) -> FastAPI:
    """The API; its description is at `/openapi.json`."""
    app = FastAPI(
        title="Komodo Global Webhook", version=version("komodo-global-webhook"), docs_url=None, redoc_url=None
    )
    problems.install(app)
    api = APIRouter(prefix="/api/v1", dependencies=[Depends(check)], responses=problems.RESPONSES)
    api.include_router(deliveries.routes(context))
    api.include_router(runs.routes(context))
    app.include_router(api)
    return app


async def _end_streams(following: Following, stop: asyncio.Event) -> None:
    # The server waits for open answers, and a stream has no end of its own.
    await stop.wait()
    following.close()
