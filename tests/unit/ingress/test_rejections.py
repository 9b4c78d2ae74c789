"""What is told of refused requests, how much of it at most, and that no secret is in it (I9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import orjson
import pytest
from prometheus_client import REGISTRY

from ingress.answer import REFUSALS, Outcome, Receipt
from ingress.client import Proxies
from ingress.hooks import Hooks
from ingress.providers import PROVIDERS
from ingress.rejections import MOST_A_MINUTE, MOST_A_MINUTE_OF_CLIENT, NO_SUCH_HOOK, QUEUED, Rejection, Rejections
from ingress.routes import application
from shared.broker.framing import Outgoing
from shared.errors import Unavailable
from shared.results import CONTENT_TYPE, Result, ResultType
from shared.settings import networks
from tests.unit.ingress.senders import SECRET, Ingress, github, gitlab, push_body
from tests.waiting import until

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOOKS = Hooks([SECRET])
CLIENT = "192.0.2.7"
REFUSED = Receipt(
    Outcome.UNAUTHORIZED, reason="the signature is missing or malformed", hook="global", provider="github"
)


class Broker:
    """Keeps what it is told; `is_away` makes it refuse."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away
        self.tries = 0
        self.told: list[Result] = []
        self.messages: list[tuple[str, Outgoing]] = []

    async def publish_result(self, key: str, message: Outgoing) -> None:
        self.tries += 1
        if self.is_away:
            raise Unavailable
        self.messages.append((key, message))
        self.told.append(Result.from_cloudevent(orjson.loads(message.body)))

    async def has_told(self, many: int) -> None:
        await until(lambda: len(self.told) >= many)

    async def has_tried(self, many: int) -> None:
        await until(lambda: self.tries >= many)


@asynccontextmanager
async def telling(rejections: Rejections, broker: Broker | None) -> AsyncIterator[None]:
    """Told in the block; at its end, what is left."""
    served = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(rejections.run(served))
        if broker is not None:
            rejections.open(broker)
        yield
        served.set()
        await rejections.over()


def left_out(cause: str) -> float:
    return REGISTRY.get_sample_value("kgw_rejections_left_out_total", {"cause": cause}) or 0.0


async def test_a_refused_request_is_told_as_a_result_of_its_own() -> None:
    broker = Broker()
    rejections = Rejections(HOOKS)

    async with telling(rejections, broker):
        rejections.offer(REFUSED, CLIENT)

    (told,), ((key, message),) = broker.told, broker.messages
    assert (key, message.message_id, message.content_type) == ("delivery.rejected", told.id, CONTENT_TYPE)
    assert (told.type, told.sequence, told.run_id) == (ResultType.DELIVERY_REJECTED, 1, None)
    assert told.stream == told.delivery_id == told.id
    assert told.data == {
        "provider": "github",
        "hook": "global",
        "code": 401,
        "status": "unauthorized",
        "reason": "the signature is missing or malformed",
        "address": CLIENT,
        "left_out": 0,
    }


async def test_an_id_that_an_unproven_sender_names_speaks_for_no_delivery() -> None:
    broker, claimed = Broker(), "0190f0c0-0000-7000-8000-000000000001"
    rejections = Rejections(HOOKS)

    async with telling(rejections, broker):
        rejections.offer(REFUSED._replace(delivery_id=claimed, provider_delivery_id=claimed), CLIENT)

    assert claimed.encode() not in broker.messages[0][1].body


@pytest.mark.parametrize(
    "outcome", sorted(REFUSALS - {Outcome.NOT_FOUND, Outcome.METHOD_NOT_ALLOWED}), ids=lambda outcome: outcome.name
)
async def test_every_refusal_that_concerns_a_hook_is_told(outcome: Outcome) -> None:
    broker = Broker()
    rejections = Rejections(HOOKS)

    async with telling(rejections, broker):
        rejections.offer(REFUSED._replace(outcome=outcome), CLIENT)

    assert broker.told[0].data["status"] == outcome.value
    assert 400 <= broker.told[0].data["code"] < 500
    assert broker.told[0].data["reason"]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome not in REFUSALS])
async def test_what_is_no_refusal_is_not_told(outcome: Outcome) -> None:
    broker = Broker()
    rejections = Rejections(HOOKS)

    async with telling(rejections, broker):
        rejections.offer(Receipt(outcome, hook="global", provider="github"), CLIENT)

    assert broker.told == []


@pytest.mark.parametrize("auth", PROVIDERS)
def test_the_name_of_a_hook_that_is_not_there_is_not_told(auth: str) -> None:
    receipt = REFUSED._replace(hook="a-token-in-the-wrong-place", provider=auth)

    rejection = Rejection.from_receipt(receipt, CLIENT, HOOKS, at=AT)

    assert (rejection.hook, rejection.reason) == (None, NO_SUCH_HOOK)
    assert Rejection.from_receipt(REFUSED._replace(provider=auth), CLIENT, HOOKS, at=AT).hook == "global"


async def test_one_client_is_told_of_only_so_often_and_how_much_was_left_out_is_said() -> None:
    broker, before = Broker(), left_out("rate")
    rejections = Rejections(HOOKS)

    async with telling(rejections, broker):
        for _ in range(MOST_A_MINUTE_OF_CLIENT + 5):
            rejections.offer(REFUSED, CLIENT)
        await broker.has_told(1)
        rejections.offer(REFUSED, "198.51.100.9")

    counts = [told.data["left_out"] for told in broker.told]
    assert len(counts) == MOST_A_MINUTE_OF_CLIENT + 1
    assert sum(counts) == 5
    assert left_out("rate") - before == 5


async def test_all_clients_together_are_told_of_only_so_often() -> None:
    broker = Broker()
    rejections = Rejections(HOOKS)

    async with telling(rejections, broker):
        for number in range(MOST_A_MINUTE + 40):
            rejections.offer(REFUSED, f"198.51.100.{number}")

    assert len(broker.told) == MOST_A_MINUTE


async def test_one_client_can_not_use_up_what_all_share() -> None:
    broker = Broker()
    rejections = Rejections(HOOKS, most=6, most_of_client=5)

    async with telling(rejections, broker):
        for _ in range(50):
            rejections.offer(REFUSED, "198.51.100.9")
        rejections.offer(REFUSED, CLIENT)

    assert [told.data["address"] for told in broker.told] == ["198.51.100.9"] * 5 + [CLIENT]


async def test_a_network_of_ipv6_is_one_client() -> None:
    broker = Broker()
    rejections = Rejections(HOOKS, most_of_client=2)

    async with telling(rejections, broker):
        for number in range(1, 9):
            rejections.offer(REFUSED, f"2001:db8::{number}")

    assert [told.data["address"] for told in broker.told] == ["2001:db8::1", "2001:db8::2"]


async def test_what_waits_is_bounded_and_what_does_not_fit_is_counted() -> None:
    before = left_out("queue"), left_out("broker")
    rejections = Rejections(HOOKS, most=QUEUED + 9, most_of_client=QUEUED + 9)

    async with telling(rejections, None):
        for _ in range(QUEUED + 9):
            rejections.offer(REFUSED, CLIENT)

    assert left_out("queue") - before[0] == 9
    assert left_out("broker") - before[1] == QUEUED


async def test_what_came_before_the_broker_answered_is_told_then() -> None:
    broker = Broker()
    rejections = Rejections(HOOKS)
    rejections.offer(REFUSED, CLIENT)

    async with telling(rejections, broker):
        await broker.has_told(1)

    assert broker.told[0].data["address"] == CLIENT


async def test_what_the_broker_does_not_take_is_dropped_counted_and_said_when_it_is_back() -> None:
    broker, before = Broker(is_away=True), left_out("broker")
    rejections = Rejections(HOOKS)

    async with telling(rejections, broker):
        for _ in range(3):
            rejections.offer(REFUSED, CLIENT)
        await broker.has_tried(3)
        broker.is_away = False
        rejections.offer(REFUSED, CLIENT)
        await broker.has_told(1)

    assert [told.data["left_out"] for told in broker.told] == [3]
    assert left_out("broker") - before == 3


async def test_at_the_end_a_broker_that_is_away_is_tried_once() -> None:
    broker, before = Broker(is_away=True), left_out("broker")
    rejections = Rejections(HOOKS)

    async with telling(rejections, broker):
        rejections.offer(REFUSED, CLIENT)
        await broker.has_tried(1)
        for _ in range(5):
            rejections.offer(REFUSED, CLIENT)

    assert broker.tries == 2
    assert left_out("broker") - before == 6


async def test_the_listener_tells_the_provider_of_the_url_and_the_client_behind_the_proxy() -> None:
    """Whatever the headers say of the provider: the label of a metric must not be a stranger's choice."""
    ingress, body = Ingress(), push_body()
    seen: list[tuple[Receipt, str | None]] = []
    ingress.app = application(
        ingress.desk,
        elsewhere=ingress.app,
        observe=lambda receipt, client: seen.append((receipt, client)),
        proxies=Proxies(networks("192.0.2.0/24")),
    )

    headers = [*github(body, secret="a wrong one"), (b"x-gogs-event", b"push"), (b"x-forwarded-for", b"203.0.113.5")]
    await ingress.post("/listener/forgejo/global", body, headers)
    await ingress.post("/listener/gitlab/global", body, [*gitlab(), (b"content-encoding", b"gzip")])

    assert [(receipt.outcome, receipt.provider, client) for receipt, client in seen] == [
        (Outcome.UNAUTHORIZED, "forgejo", "203.0.113.5"),
        (Outcome.UNSUPPORTED_ENCODING, "gitlab", CLIENT),
    ]
