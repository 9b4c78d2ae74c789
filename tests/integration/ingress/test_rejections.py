"""Refused requests reach whoever subscribes to the results, with what helps and without what is secret (I9), and slow down nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import httpx
import orjson
from prometheus_client import REGISTRY

from demo.sender import signed_headers
from dev.rabbitmq import Node
from ingress.limits import MOST_OF_CLIENT
from ingress.rejections import MOST_A_MINUTE_OF_CLIENT
from shared.broker.topology import Exchange, Names
from shared.results import Result
from tests.system import SECRET, System
from tests.waiting import until

GLOBAL = "/listener/github/global"
WRONG = "a guessed secret that nobody may read"
BODY = orjson.dumps({"ref": "refs/heads/main", "note": "a body that nobody may read"})
WAIT_SECONDS = 15.0


class Heard:
    """A subscriber's queue."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self._waiting: asyncio.Queue[Result] = asyncio.Queue()

    async def take(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        """What the broker delivers."""
        self.raw.append(message.body)
        self._waiting.put_nowait(Result.from_cloudevent(orjson.loads(message.body)))

    async def next(self) -> dict[str, Any]:
        """What the next result says."""
        async with asyncio.timeout(WAIT_SECONDS):
            return (await self._waiting.get()).data


@asynccontextmanager
async def subscribed(amqp_url: str, names: Names) -> AsyncIterator[Heard]:
    heard = Heard()
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(names.exchange(Exchange.RESULTS))
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "delivery.rejected")
        await queue.consume(heard.take, no_ack=True)
        yield heard


async def refused(client: httpx.AsyncClient, path: str = GLOBAL, **headers: str) -> httpx.Response:
    return await client.post(path, content=BODY, headers={**signed_headers(BODY, WRONG), **headers})


async def test_i9_a_subscriber_is_told_why_a_request_was_refused_and_nothing_secret(
    system: System, amqp_url: str, names: Names
) -> None:
    async with system.ingress(max_body_bytes=2048) as client, subscribed(amqp_url, names) as heard:
        wrong = await refused(client, **{"X-Forwarded-For": "203.0.113.5"})
        unknown = await refused(client, f"{GLOBAL}/{WRONG.replace(' ', '-')}")
        typed = await refused(client, **{"Content-Type": "text/plain"})
        asked = await refused(client, f"{GLOBAL}?{WRONG.replace(' ', '-')}=1")
        large = await client.post(GLOBAL, content=b" " * 4096, headers=signed_headers(b"", SECRET))
        no_json = await client.post(GLOBAL, content=b"{", headers=signed_headers(b"{", SECRET))
        token = await client.post(
            "/listener/gitlab/global",
            content=BODY,
            headers={"Content-Type": "application/json", "X-Gitlab-Token": WRONG},
        )
        told = [await heard.next() for _ in range(7)]

    answers = [wrong, unknown, typed, asked, large, no_json, token]
    assert [one["code"] for one in told] == [answer.status_code for answer in answers]
    assert [one["status"] for one in told] == [answer.json()["status"] for answer in answers]
    assert [one["hook"] for one in told] == ["global", None, *["global"] * 5]
    assert [one["provider"] for one in told] == ["github"] * 6 + ["gitlab"]
    assert {one["address"] for one in told} == {"127.0.0.1"}
    assert all(one["reason"] for one in told)
    everything = b"\n".join(heard.raw)
    signatures = [answer.request.headers.get("X-Hub-Signature-256", WRONG) for answer in answers]
    for secret in (SECRET, WRONG, WRONG.replace(" ", "-"), "that nobody may read", *signatures):
        assert secret.removeprefix("sha256=").encode() not in everything


async def test_behind_a_trusted_proxy_the_address_is_the_clients(system: System, amqp_url: str, names: Names) -> None:
    async with (
        system.ingress(trusted_proxies="127.0.0.0/8, 10.0.0.0/8") as client,
        subscribed(amqp_url, names) as heard,
    ):
        for number in range(MOST_OF_CLIENT + 1):
            answer = await refused(client, **{"X-Forwarded-For": f"192.0.2.{number}, 203.0.113.5, 10.0.0.7"})
        other = await refused(client, **{"X-Forwarded-For": "203.0.113.6"})
        told = [await heard.next() for _ in range(MOST_A_MINUTE_OF_CLIENT + 1)]

    assert (answer.status_code, other.status_code) == (429, 401)
    assert [one["address"] for one in told] == ["203.0.113.5"] * MOST_A_MINUTE_OF_CLIENT + ["203.0.113.6"]
    assert sum(one["left_out"] for one in told) == MOST_OF_CLIENT + 1 - MOST_A_MINUTE_OF_CLIENT


async def test_i8_a_push_from_an_address_that_fails_without_end_is_taken(system: System) -> None:
    push = system.push({"README.md": "one\n"})
    async with system.ingress() as client:
        statuses = [(await refused(client)).status_code for _ in range(MOST_OF_CLIENT * 2)]
        taken = await client.post(GLOBAL, content=push.body, headers=push.headers)
        late = await refused(client)

    assert statuses == [401] * MOST_OF_CLIENT + [429] * MOST_OF_CLIENT
    assert taken.status_code == 202
    assert late.status_code == 429
    assert 1 <= int(late.headers["Retry-After"]) <= 60


async def test_a_broker_that_is_away_holds_up_no_refusal_and_what_was_not_told_is_counted(
    own_broker: Node, system: System, amqp_prefix: str
) -> None:
    there, before = System(own_broker.url, amqp_prefix, system.core, system.store), left_out("broker")
    async with there.ingress(publish_timeout=0.5) as client:
        await asyncio.to_thread(own_broker.stop)
        try:
            answers = [await refused(client) for _ in range(5)]
            await until(lambda: left_out("broker") - before == 5)
        finally:
            await asyncio.to_thread(own_broker.start)
        await until(lambda: is_ready(client))
        async with subscribed(own_broker.url, Names(amqp_prefix)) as heard:
            await refused(client)
            told = await heard.next()

    assert [answer.status_code for answer in answers] == [401] * 5
    assert told["left_out"] == 5


def left_out(cause: str) -> float:
    return REGISTRY.get_sample_value("kgw_rejections_left_out_total", {"cause": cause}) or 0.0


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).is_success
