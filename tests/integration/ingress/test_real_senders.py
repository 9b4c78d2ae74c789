"""Bodies in the shapes that providers send, each through the whole service to its record in the store (I1)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from pydantic import SecretStr

from demo.processes import free_port
from kgw.sending import headers_for, url_for
from shared.event import WebhookEvent
from shared.store import deliveries
from tests.system import SECRET, System
from tests.unit.ingress.providers.test_payloads import EXPECTED, RECEIPT
from tests.unit.ingress.providers.test_recorded import CASES, EVENT_HEADERS, RECORDED, SIGNED
from tests.waiting import until

Payload = tuple[str, Any, bytes]

_DELIVERY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
async def client(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """An ingress with a worker behind it."""
    async with system.ingress() as client, system.worker():
        yield client


def signed(auth: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
    """As the provider signs: its token, its header, or a digest under each name that it uses."""
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    members = [name for name in ("Forgejo", "Gitea", "Gogs") if f"X-{name}-Event" in headers]
    if members:
        return headers | {f"X-{name}-Signature": digest for name in members}
    known = headers_for(auth, "", body, SECRET, None)
    return {name.lower(): value for name, value in (known | headers).items() if value}


async def deliver(client: httpx.AsyncClient, auth: str, headers: dict[str, str], body: bytes) -> str:
    """The id of the delivery."""
    answer = await client.post(
        url_for(auth, "", SECRET), content=body, headers={"content-type": "application/json", **headers}
    )
    assert answer.is_success, f"{auth} {headers}: {answer.text}"
    return str(answer.json()["delivery"])


async def recorded(system: System, delivery: str) -> list[WebhookEvent]:
    """The delivery's events, once they were planned and their runs have ended."""
    await system.ended_runs(delivery)
    async with system.store.read() as db:
        return await deliveries.events_of(db, delivery)


async def test_every_payload_of_ours_is_recorded_as_the_event_beside_it(
    system: System, client: httpx.AsyncClient
) -> None:
    payloads = _unlike([_read(path) for path in EXPECTED])
    sent = [deliver(client, auth, signed(auth, row["headers"], body), body) for auth, row, body in payloads]
    for delivery, (auth, row, _) in zip(await asyncio.gather(*sent), payloads, strict=True):
        expected = row["events"] if "events" in row else [row["event"]]

        async def all_planned(delivery: str = delivery, count: int = len(expected)) -> bool:
            return len(await recorded(system, delivery)) == count

        await until(all_planned)
        found = [
            event.model_dump(mode="json", exclude_defaults=True, exclude=RECEIPT | {"body_sha256"})
            for event in await recorded(system, delivery)
        ]
        assert sorted(found, key=repr) == sorted(expected, key=repr), auth


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the folder with recorded bodies is not here")
async def test_every_body_that_a_provider_really_sent_is_recorded(system: System, client: httpx.AsyncClient) -> None:
    for auth, name, source, expected in CASES:
        body = (RECORDED / auth / f"{name}.json").read_bytes()
        headers = {EVENT_HEADERS.get(auth, f"X-{auth.capitalize()}-Event"): source}

        (event,) = await recorded(system, await deliver(client, auth, signed(auth, headers, body), body))

        facts = event.model_dump()
        assert {key: facts[key] for key in expected} == expected, f"{auth}/{name}"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the folder with recorded bodies is not here")
async def test_every_signature_that_a_provider_really_made_is_accepted_to_the_end(system: System) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(system.worker())
        clients = {
            secret: await stack.enter_async_context(
                system.ingress(webhook_secret=SecretStr(secret.decode()), ingress_port=free_port())
            )
            for secret in _secrets(SIGNED)
        }
        for auth, name, secret, signature in SIGNED:
            body = (RECORDED / auth / f"{name}.json").read_bytes()
            names = auth.capitalize()
            headers = {
                f"X-{names}-Event": name,
                f"X-{names}-Delivery": str(uuid4()),
                f"X-{names}-Signature": signature,
            }

            delivery = await deliver(clients[secret], auth, headers, body)

            (event,) = await recorded(system, delivery)
            assert (event.provider, event.source_event) == (auth, name)


def _read(path: Path) -> Payload:
    """The sender, what is expected, and the body. The same delivery id stands in the headers of many of the files, so each gets its own."""
    text = path.read_text()
    row = orjson.loads(text)
    body = path.with_name(path.name.replace(".event.json", ".json")).read_bytes()
    for delivery in set(row["headers"].values()):
        if _DELIVERY.fullmatch(delivery):
            text = text.replace(delivery, str(uuid4()))
    return path.parent.name, orjson.loads(text), body


def _unlike(payloads: Iterable[Payload]) -> list[Payload]:
    """Of those whose body holds the same delivery id the first: the others would be duplicates."""
    found: dict[object, Payload] = {}
    for auth, row, body in payloads:
        first = row["events"][0] if "events" in row else row["event"]
        found.setdefault((auth, first.get("provider_delivery_id") or body), (auth, row, body))
    return list(found.values())


def _secrets(rows: Iterable[tuple[str, str, bytes, str]]) -> list[bytes]:
    return list(dict.fromkeys(secret for _, _, secret, _ in rows))
