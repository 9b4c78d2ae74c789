"""The composition root of the ingress: settings → hooks, publisher → one ASGI application. It has no Komodo credentials and no store."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import structlog

from ingress.answer import Outcome, Receipt
from ingress.hooks import Hooks
from ingress.receive import Desk
from ingress.routes import application
from shared import health, metrics, process
from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names, Queue
from shared.serving import serve
from shared.settings import IngressSettings

log = structlog.get_logger()


def main() -> None:
    """Run the ingress until a signal."""
    process.main(IngressSettings, run)


async def run(settings: IngressSettings, stop: asyncio.Event) -> None:
    """An ingress from start to end; raises `Misconfigured` when a setting is missing or wrong."""
    hooks = Hooks([settings.webhook_secret.get_secret_value()])
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(
            connected(settings.amqp_url.get_secret_value(), name="kgw ingress", stop=stop)
        )
        publisher = await Publisher.open(connection, Names(settings.amqp_prefix), timeout=settings.publish_timeout)
        broker = health.Dependency(partial(publisher.count_ready, Queue.EVENTS))
        app = application(
            Desk(hooks, publisher, max_body_bytes=settings.max_body_bytes),
            elsewhere=health.application({"broker": broker}),
            observe=_observe,
            public_url=settings.public_url,
        )
        await serve(app, settings.ingress_bind_ip, settings.ingress_port, name="ingress", stop=stop)


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
