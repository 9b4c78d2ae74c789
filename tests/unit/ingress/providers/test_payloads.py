"""
Bodies in the shapes that providers send, with the event that each must become beside it.

`tests/payloads/{auth}/NAME.json` is the body, `NAME.event.json` holds the headers and what of the event is not at its default; where one delivery
holds several, `events` is the list of them.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from ingress.providers import PROVIDERS
from ingress.providers.headers import Headers
from shared.event import WebhookEvent

PAYLOADS = Path(__file__).parents[3] / "payloads"
EXPECTED = sorted(PAYLOADS.glob("*/*.event.json"))
RECEIPT = {"id", "delivery_id", "receipt_id", "received_at"}


def read_events(auth: str, headers: dict[str, str], body: bytes) -> list[WebhookEvent]:
    provider, document = PROVIDERS[auth], orjson.loads(body)
    identity = provider.identify(
        Headers((name.lower().encode(), value.encode()) for name, value in headers.items()), document
    )
    return [
        WebhookEvent(
            id="id",
            delivery_id="delivery",
            receipt_id="receipt",
            provider=identity.provider,
            provider_delivery_id=identity.delivery_id,
            source_event=identity.source_event,
            received_at=datetime(2026, 11, 2, tzinfo=UTC),
            **facts,
        )
        for facts in provider.normalize(identity, document)
    ]


@pytest.mark.parametrize("path", EXPECTED, ids=[f"{path.parent.name}/{path.name.split('.')[0]}" for path in EXPECTED])
def test_body_becomes_the_events_beside_it(path: Path) -> None:
    expected: dict[str, Any] = orjson.loads(path.read_bytes())
    body = path.with_name(path.name.replace(".event.json", ".json")).read_bytes()

    events = read_events(path.parent.name, expected["headers"], body)

    found = [event.model_dump(mode="json", exclude_defaults=True, exclude=RECEIPT) for event in events]
    assert found == (expected["events"] if "events" in expected else [expected["event"]])


@pytest.mark.parametrize("path", EXPECTED, ids=[f"{path.parent.name}/{path.name.split('.')[0]}" for path in EXPECTED])
def test_no_person_can_be_reached_through_an_event(path: Path) -> None:
    headers = orjson.loads(path.read_bytes())["headers"]
    body = path.with_name(path.name.replace(".event.json", ".json")).read_bytes()

    for event in read_events(path.parent.name, headers, body):
        text = event.to_bytes()
        assert b"@fields.example" not in text
        assert b"@acme.example" not in text.replace(b"git@", b"")
        assert b"hunter2" not in text


def test_every_payload_has_an_expectation_for_each_provider() -> None:
    bodies = {path for path in PAYLOADS.glob("*/*.json") if not path.name.endswith(".event.json")}

    assert {path.with_name(path.name.replace(".event.json", ".json")) for path in EXPECTED} == bodies
    assert {path.parent.name for path in bodies} >= {
        "github",
        "gitlab",
        "gitea",
        "gogs",
        "bitbucket",
        "bitbucket-dc",
        "azure",
    }
