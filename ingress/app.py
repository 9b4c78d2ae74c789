"""The composition root of the ingress: settings → hooks, spool, publisher, relay → ASGI. It has no Komodo credentials and no store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aio_pika.abc import AbstractRobustConnection
from aio_pika.exceptions import AMQPError

from ingress.answer import Outcome, Receipt
from ingress.client import Proxies
from ingress.hooks import Hooks
from ingress.keeper import Door, Keeper
from ingress.receive import Desk, Publisher
from ingress.refresh import keep_hooks, open_hooks
from ingress.rejections import Rejections
from ingress.relay import CONFIRM_SECONDS, Relay
from ingress.routes import application
from ingress.spool import OFF, opened
from shared import health, logs, metrics, process
from shared.broker.connection import RECONNECT_SECONDS, connected
from shared.broker.publisher import Publisher as BrokerPublisher
from shared.broker.topology import Names
from shared.errors import Unavailable
from shared.serving import serve
from shared.settings import IngressSettings, networks

log = logs.get_logger()

OPEN_SECONDS = 5.0


def main() -> None:
    """Run the ingress until a signal."""
    process.main(IngressSettings, run)


async def run(settings: IngressSettings, stop: asyncio.Event) -> None:
    """An ingress from start to end; raises `Misconfigured` when a setting is missing or wrong, or the spool is another's."""
    hooks = open_hooks(settings)
    door, rejections, served = Door(), Rejections(hooks), asyncio.Event()
    async with AsyncExitStack() as stack:
        keeping = await stack.enter_async_context(_keeping(settings, door))
        app = application(
            Desk(hooks, keeping.keeper, max_body_bytes=settings.max_body_bytes),
            elsewhere=health.application(keeping.dependencies),
            observe=partial(_observe, hooks, rejections),
            public_url=settings.public_url,
            proxies=Proxies(networks(settings.trusted_proxies)),
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        keep_open = _keep_open(settings, door, keeping.relay, rejections, stop=stop, served=served)
        group.create_task(keep_open, name="broker")
        group.create_task(rejections.run(served), name="rejections")
        group.create_task(keep_hooks(hooks, settings, stop), name="hooks")
        await serve(app, settings.ingress_bind_ip, settings.ingress_port, name="ingress", stop=stop)
        served.set()


@dataclass(frozen=True, slots=True)
class _Keeping:
    """What keeps deliveries, and whether it can; without a spool there is nothing to relay."""

    keeper: Publisher
    dependencies: Mapping[str, health.Dependency]
    relay: Relay | None = None


@asynccontextmanager
async def _keeping(settings: IngressSettings, door: Door) -> AsyncIterator[_Keeping]:
    if settings.spool == OFF:
        yield _Keeping(door, {"broker": health.Dependency(door.check)})
        return
    async with opened(Path(settings.spool), max_bytes=settings.spool_max_bytes) as spool:
        relay = Relay(spool)
        keeper = Keeper(door, spool, relay, patience=settings.publish_timeout)
        broker = health.Dependency(door.check, required=False)
        yield _Keeping(keeper, {"broker": broker, "spool": health.Dependency(keeper.check)}, relay)


async def _keep_open(
    settings: IngressSettings,
    door: Door,
    relay: Relay | None,
    rejections: Rejections,
    *,
    stop: asyncio.Event,
    served: asyncio.Event,
) -> None:
    """Hold the connection until the last request in flight has been served."""
    url, names = settings.amqp_url.get_secret_value(), Names(settings.amqp_prefix)
    try:
        async with connected(url, name="kgw ingress", stop=stop) as connection:
            publisher = await _open(connection, names, timeout=settings.publish_timeout, stop=stop)
            door.open(publisher)
            rejections.open(publisher)
            if relay is not None:
                await relay.run(await _open(connection, names, timeout=CONFIRM_SECONDS, stop=served), served)
            await served.wait()
            await rejections.over()
    except Unavailable as error:
        log.warning("stopped_without_broker", reason=error.reason)


async def _open(
    connection: AbstractRobustConnection, names: Names, *, timeout: float, stop: asyncio.Event
) -> BrokerPublisher:
    """A publisher, however often the broker goes away meanwhile; raises `Unavailable` when `stop` came first."""
    while not stop.is_set():
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return await BrokerPublisher.open(connection, names, timeout=timeout)
        except (AMQPError, OSError, RuntimeError, TimeoutError) as error:
            log.warning("broker_not_usable", error=type(error).__name__)
        with suppress(TimeoutError):
            async with asyncio.timeout(RECONNECT_SECONDS):
                await stop.wait()
    raise Unavailable("stopped before the broker answered")


def _observe(hooks: Hooks, rejections: Rejections, receipt: Receipt, client: str | None) -> None:
    rejections.offer(receipt, client)
    provider = receipt.provider or "unknown"
    metrics.DELIVERIES.labels(provider=provider, outcome=receipt.outcome.value).inc()
    if receipt.took is not None:
        metrics.INGEST.observe(receipt.took)
    is_ours = receipt.outcome in (Outcome.QUEUED, Outcome.IGNORED, Outcome.PONG)
    note = log.info if is_ours else log.warning
    note(
        "delivery_received" if is_ours else "delivery_refused",
        outcome=receipt.outcome.value,
        reason=receipt.reason,
        hook=receipt.hook if is_ours or _is_known(hooks, receipt) else None,
        provider=provider,
        source_event=receipt.source_event,
        provider_delivery_id=receipt.provider_delivery_id,
        delivery_id=receipt.delivery_id,
        secret_index=receipt.secret_index,
        client=client,
    )


def _is_known(hooks: Hooks, receipt: Receipt) -> bool:
    # What is no hook may be a token that somebody has put into the wrong place of the URL (I9).
    return receipt.provider is not None and receipt.hook is not None and hooks.knows(receipt.provider, receipt.hook)
