"""`kgw spool`: what the ingress keeps while the broker is away, and publishing it without the ingress."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ingress.relay import Relay
from ingress.spool import OFF, SpoolTaken, Summary, opened, summarize
from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names
from shared.errors import Busy, Misconfigured, Unavailable
from shared.settings import IngressSettings

CONNECT_SECONDS = 10.0


def summary_of(settings: IngressSettings) -> Summary:
    """What is in the spool, whether an ingress runs or not; raises `Misconfigured`."""
    return summarize(_path(settings))


def as_document(summary: Summary) -> dict[str, object]:
    """The summary as JSON has it."""
    failure = summary.failure
    return {
        "events": summary.size.events,
        "bytes": summary.size.bytes,
        "oldest": _iso(summary.oldest),
        "last_error": {"at": _iso(failure.at), "reason": failure.reason} if failure else None,
        "set_aside": [{"seq": one.seq, "at": _iso(one.set_aside_at), "reason": one.reason} for one in summary.aside],
    }


def as_lines(summary: Summary) -> Iterator[str]:
    """The summary for people."""
    failure = summary.failure
    yield f"{'events':<12}{summary.size.events}"
    yield f"{'bytes':<12}{summary.size.bytes}"
    yield f"{'oldest':<12}{_iso(summary.oldest) or '-'}"
    yield f"{'last error':<12}{f'{_iso(failure.at)} {failure.reason}' if failure else '-'}"
    yield f"{'set aside':<12}{len(summary.aside)}"
    for one in summary.aside:
        yield f"  {one.seq:<10}{_iso(one.set_aside_at)} {one.reason}"


async def drain(settings: IngressSettings) -> int:
    """
    Publish what is in the spool; how many events that were.

    Raises `Busy` while an ingress has it, `Unavailable` when the broker does not take them; what it has not confirmed stays in the spool.
    """
    path = _path(settings)
    if not path.exists():
        return 0
    try:
        async with opened(path, max_bytes=settings.spool_max_bytes) as spool:
            waiting = spool.size.events
            if waiting:
                await _publish_all(settings, Relay(spool))
            return waiting - spool.size.events
    except SpoolTaken as taken:
        raise Busy(
            f"an ingress has the spool and empties it by itself as soon as the broker takes events ({taken.reason})"
        ) from taken


async def _publish_all(settings: IngressSettings, relay: Relay) -> None:
    gave_up = asyncio.Event()
    alarm = asyncio.get_running_loop().call_later(CONNECT_SECONDS, gave_up.set)
    try:
        async with connected(settings.amqp_url.get_secret_value(), name="kgw spool", stop=gave_up) as connection:
            alarm.cancel()
            names = Names(settings.amqp_prefix)
            await relay.drain(await Publisher.open(connection, names, timeout=settings.publish_timeout))
    except Unavailable as error:
        raise Unavailable(f"not all could be published, the rest is still in the spool: {error.reason}") from error
    finally:
        alarm.cancel()


def _path(settings: IngressSettings) -> Path:
    if settings.spool == OFF:
        raise Misconfigured('KGW_SPOOL is "off": there is no spool')
    return Path(settings.spool)


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="milliseconds")
