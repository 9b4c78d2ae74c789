"""Bodies in the shapes that providers send, each through the whole service to its record in the store (I1)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
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
from shared.event import WebhookEvent
from shared.store import deliveries
from tests.system import SECRET, System
from tests.unit.ingress.providers.test_payloads import EXPECTED, RECEIPT
from tests.unit.ingress.providers.test_recorded import CASES, RECORDED, SIGNED


@pytest.fixture
async def client(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """An ingress with a worker behind it."""
    async with system.ingress() as client, system.worker():
        yield client


def signed(auth: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
    """As the provider signs: its token, or a digest under each name that it uses."""
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    if auth == "gitlab":
        return {**headers, "X-Gitlab-Token": SECRET}
    if auth == "github":
        return {**headers, "X-Hub-Signature-256": f"sha256={digest}"}
    members = [name for name in ("Forgejo", "Gitea", "Gogs") if f"X-{name}-Event" in headers]
    return headers | {f"X-{name}-Signature": digest for name in members}


async def deliver(client: httpx.AsyncClient, auth: str, headers: dict[str, str], body: bytes) -> str:
    """The id of the delivery."""
    answer = await client.post(
        f"/listener/{auth}/global", content=body, headers={"Content-Type": "application/json", **headers}
    )
    assert answer.is_success, f"{auth} {headers}: {answer.text}"
    return str(answer.json()["delivery"])


async def recorded(system: System, delivery: str) -> WebhookEvent:
    """The delivery's event, once it was planned and its runs have ended."""
    await system.ended_runs(delivery)
    async with system.store.read() as db:
        (event,) = await deliveries.events_of(db, delivery)
    return event


async def test_every_payload_of_ours_is_recorded_as_the_event_beside_it(
    system: System, client: httpx.AsyncClient
) -> None:
    payloads = [_read(path) for path in EXPECTED]
    sent = [deliver(client, auth, signed(auth, row["headers"], body), body) for auth, row, body in payloads]
    for delivery, (_, row, _) in zip(await asyncio.gather(*sent), payloads, strict=True):
        event = await recorded(system, delivery)

        assert event.model_dump(mode="json", exclude_defaults=True, exclude=RECEIPT) == row["event"]


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the folder with recorded bodies is not here")
async def test_every_body_that_a_provider_really_sent_is_recorded(system: System, client: httpx.AsyncClient) -> None:
    for auth, name, source, expected in CASES:
        body = (RECORDED / auth / f"{name}.json").read_bytes()
        headers = {f"X-{auth.capitalize()}-Event": source}

        event = await recorded(system, await deliver(client, auth, signed(auth, headers, body), body))

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

            event = await recorded(system, delivery)
            assert (event.provider, event.source_event) == (auth, name)


def _read(path: Path) -> tuple[str, Any, bytes]:
    """The sender, what is expected, and the body. The same delivery id stands in many of the files, so each gets its own."""
    text = path.read_text()
    delivery = orjson.loads(text)["event"]["provider_delivery_id"]
    body = path.with_name(path.name.replace(".event.json", ".json")).read_bytes()
    return path.parent.name, orjson.loads(text.replace(delivery, str(uuid4()))), body


def _secrets(rows: Iterable[tuple[str, str, bytes, str]]) -> list[bytes]:
    return list(dict.fromkeys(secret for _, _, secret, _ in rows))
