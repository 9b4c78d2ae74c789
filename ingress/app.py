"""The composition root of the ingress: settings → hooks, publisher → one ASGI application. It has no Komodo credentials and no store."""

from __future__ import annotations

import asyncio

import structlog

from ingress.answer import Outcome, Receipt
from ingress.hooks import Hooks
from ingress.receive import Desk
from ingress.routes import application
from shared import health, metrics, process
from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names, Queue
from shared.errors import Unavailable
from shared.event import WebhookEvent
from shared.serving import serve
from shared.settings import IngressSettings

log = structlog.get_logger()


def main() -> None:
    """Run the ingress until a signal."""
    process.main(IngressSettings, run)


async def run(settings: IngressSettings, stop: asyncio.Event) -> None:
    """An ingress from start to end; raises `Misconfigured` when a setting is missing or wrong."""
    hooks = Hooks([settings.webhook_secret.get_secret_value()])
    door = Door()
    app = application(
        Desk(hooks, door, max_body_bytes=settings.max_body_bytes),
        elsewhere=health.application({"broker": health.Dependency(door.check)}),
        observe=_observe,
        public_url=settings.public_url,
    )
    served = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep_open(settings, door, stop=stop, served=served), name="broker")
        await serve(app, settings.ingress_bind_ip, settings.ingress_port, name="ingress", stop=stop)
        served.set()


class Door:
    """
    The way to the broker. Until the broker has answered for the first time it is shut, and every delivery is asked to come back later.
    """

    def __init__(self) -> None:
        self._publisher: Publisher | None = None

    def open(self, publisher: Publisher) -> None:
        """From here on events get through."""
        self._publisher = publisher

    async def publish_event(self, event: WebhookEvent) -> None:
        """Publish, confirmed; raises `Unavailable`."""
        await self._open_publisher().publish_event(event)

    async def check(self) -> None:
        """Raises `Unavailable` when an event would not get through."""
        await self._open_publisher().count_ready(Queue.EVENTS)

    def _open_publisher(self) -> Publisher:
        if self._publisher is None:
            raise Unavailable("the broker has not answered yet")
        return self._publisher


async def _keep_open(settings: IngressSettings, door: Door, *, stop: asyncio.Event, served: asyncio.Event) -> None:
    """Hold the connection until the last request in flight has been served."""
    url = settings.amqp_url.get_secret_value()
    try:
        async with connected(url, name="kgw ingress", stop=stop) as connection:
            door.open(await Publisher.open(connection, Names(settings.amqp_prefix), timeout=settings.publish_timeout))
            await served.wait()
    except Unavailable as error:
        log.warning("stopped_without_broker", reason=error.reason)


def _observe(receipt: Receipt, client: str | None) -> None:
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
        hook=receipt.hook,
        provider=provider,
        source_event=receipt.source_event,
        provider_delivery_id=receipt.provider_delivery_id,
        delivery_id=receipt.delivery_id,
        secret_index=receipt.secret_index,
        client=client,
    )
