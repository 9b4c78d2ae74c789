"""Azure Container Registry: one notification, without the envelope."""

import orjson
import pytest

from ingress.providers.images import NO_PUSH, UNTAGGED
from ingress.providers.push import DELETION
from ingress.providers.registry import NOT_AN_IMAGE
from shared.event import Kind
from tests.unit.ingress.providers.registries import identify, names, notification, read, reasons
from tests.unit.ingress.senders import SECRET, Ingress, authorized


def test_a_pushed_tag_is_an_event() -> None:
    document = notification(request={"host": "Acme.azurecr.io"})

    assert names(read("acr", document)) == ["acme.azurecr.io/acme/shop:1"]
    assert (identify("acr", document).source_event, identify("acr", document).delivery_id) == ("push", "6df24a34")


async def test_azures_ping_is_answered() -> None:
    ingress = Ingress()
    body = orjson.dumps({"id": "cb8c3971", "timestamp": "2026-11-02T10:20:00Z", "action": "ping"})

    answered = await ingress.post("/listener/acr/global", body, authorized(SECRET))

    assert (answered.status, answered.json()["status"]) == (200, "pong")
    assert [event.kind for event in ingress.events] == [Kind.PING]


async def test_azures_ping_has_to_be_authentic_too() -> None:
    ingress = Ingress()

    answered = await ingress.post("/listener/acr/global", b'{"action": "ping"}', authorized("other"))

    assert (answered.status, ingress.events) == (401, [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action": "quarantine"}, NO_PUSH),
        ({"action": "chart_push"}, NO_PUSH),
        ({"action": None}, NO_PUSH),
        ({"action": "delete"}, DELETION),
        ({"target": {"tag": None}}, UNTAGGED),
        ({"target": {"mediaType": "application/vnd.acr.helm.chart"}}, NOT_AN_IMAGE),
    ],
)
def test_what_is_no_pushed_tag_is_ignored_with_a_reason(changes: dict[str, object], reason: str) -> None:
    assert reasons(read("acr", notification(**changes))) == [reason]
