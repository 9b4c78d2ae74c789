"""What a console lives through: clients that do not read or just leave, a broker that comes and goes, clocks that disagree."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from console import streams
from console.follow import BUFFERED, Following
from dev.rabbitmq import Node
from shared import clock
from shared.broker.topology import Names
from shared.results import ResultType
from shared.store import results
from shared.store.engine import Store
from tests.builders import a_run, new_id, store_run
from tests.integration.following import TOKEN, Console, Heard, running_console
from tests.waiting import until

STARTED, RETRYING, SUCCEEDED = ResultType.RUN_STARTED, ResultType.ACTION_RETRYING, ResultType.RUN_SUCCEEDED
LONG = 3_600.0


@pytest.fixture
def followings(monkeypatch: pytest.MonkeyPatch) -> list[Following]:
    """The fan-out of every console that is started from here on."""
    made: list[Following] = []

    class Seen(Following):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr("console.app.Following", Seen)
    return made


@pytest.fixture
async def console(
    amqp_url: str, names: Names, sqlite_store: Store, followings: list[Following]
) -> AsyncIterator[Console]:
    async with running_console(amqp_url, names, sqlite_store) as console:
        yield console


async def test_a_client_that_does_not_read_is_let_go_and_comes_back_for_the_rest(
    console: Console, followings: list[Following]
) -> None:
    run = await console.teller.new_run()
    await console.teller.run(run, STARTED)
    reader, writer = await _open_without_reading(console, f"/api/v1/runs/{run.id}/events")
    await until(lambda: len(followings[0]) == 1)
    (follower,) = next(iter(followings[0]._followers.values()))

    count = 1
    while not follower.has_ended:
        await console.teller.run(run, *[RETRYING] * 100, reason="x" * 20_000)
        count += 100
        assert len(follower._waiting) <= BUFFERED
    async with asyncio.timeout(20):
        received = await reader.read()
    writer.close()
    await console.teller.run(run, SUCCEEDED)

    assert b": again" in received[-100:]
    last_id = received.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
    seen = received.count(b"\nid: ")
    assert last_id == f"{run.id}:{seen}"
    rest = await console.hear(f"runs/{run.id}", last_id)
    assert rest.numbers == [(run.id, number) for number in range(seen + 1, count + 2)]


async def test_nothing_is_kept_of_a_client_that_has_gone(console: Console, followings: list[Following]) -> None:
    run = await console.teller.new_run()
    await console.teller.run(run, STARTED)

    await console.hear(f"runs/{run.id}", count=1)

    await until(lambda: len(followings[0]) == 0)


async def test_too_many_streams_are_answered_503(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.follow.MAX_FOLLOWERS", 0)

    answer = await console.http.get(f"/api/v1/deliveries/{new_id()}/events")

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"]


async def test_after_a_restart_of_the_broker_results_come_live_again(
    own_broker: Node, amqp_prefix: str, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_console(own_broker.url, Names(amqp_prefix), sqlite_store) as console:
        run = await console.teller.new_run()
        await console.teller.run(run, STARTED)
        await asyncio.to_thread(own_broker.stop)
        await asyncio.to_thread(own_broker.start)
        await until(lambda: _is_ready(console), seconds=60)

        monkeypatch.setattr(streams, "RESYNC_SECONDS", LONG)  # from here on only the broker can tell
        heard = Heard()
        async with asyncio.timeout(30):
            listening = asyncio.create_task(console.listen(f"runs/{run.id}", heard))
            await until(lambda: len(heard.events) == 1)
            await console.teller.run(run, RETRYING, SUCCEEDED)
            await listening

    assert heard.numbers == [(run.id, 1), (run.id, 2), (run.id, 3)]
    assert heard.is_over


async def test_workers_whose_clocks_disagree_leave_no_gap(either_console: Console) -> None:
    """A result's instant may lie before that of the one that it follows."""
    console, run = either_console, await either_console.teller.new_run()
    async with console.teller.store.begin() as db:
        for seconds, kind in ((0, STARTED), (9, RETRYING), (-9, RETRYING), (3, SUCCEEDED)):
            await results.tell_run(db, run.id, [(kind, {})], now=clock.now() + timedelta(seconds=seconds))

    for path in (f"runs/{run.id}", f"deliveries/{run.delivery_id}"):
        heard = await console.hear(path, count=4)
        assert heard.numbers == [(run.id, number) for number in (1, 2, 3, 4)]


async def test_a_long_stream_comes_in_whole(either_console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PAGE", 7)
    console, delivery = either_console, new_id()
    runs = [await console.teller.new_run(delivery, procedure) for procedure in ("one", "two")]
    for run in runs:
        await console.teller.run(run, STARTED, *[RETRYING] * 19, SUCCEEDED, is_published=False)
    await console.teller.delivery(delivery, ResultType.DELIVERY_ACCEPTED, procedures=["one", "two"])

    heard = await console.hear(f"deliveries/{delivery}")

    expected = [(run.id, number) for run in runs for number in range(1, 22)]
    assert sorted(heard.numbers) == sorted([(delivery, 1), *expected])
    assert heard.is_over


async def test_a_delivery_that_nobody_has_heard_of_is_given_up(sqlite_store: Store) -> None:
    subject = new_id()
    told = [
        chunk
        async for chunk in streams.stream(
            sqlite_store, Following(), subject, streams.of_delivery(subject), unknown_seconds=0
        )
    ]

    assert told == [streams.RETRY, streams.UNKNOWN]


async def test_a_run_that_is_followed_before_its_first_result_is_not_given_up(sqlite_store: Store) -> None:
    async with sqlite_store.begin() as db:
        run = await store_run(db, event=None, id=a_run().id)
        await results.tell_run(db, run.id, [(STARTED, {}), (SUCCEEDED, {})], now=clock.now())

    told = [
        chunk
        async for chunk in streams.stream(sqlite_store, Following(), run.id, streams.of_run(run.id), unknown_seconds=0)
    ]

    assert told[-1] == streams.OVER
    assert len(told) == 4


@pytest.fixture
async def either_console(amqp_url: str, names: Names, store: Store) -> AsyncIterator[Console]:
    """A console on each database in turn."""
    async with running_console(amqp_url, names, store) as console:
        yield console


async def _open_without_reading(console: Console, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(console.url)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: console\r\nX-Api-Key: {TOKEN}\r\n\r\n".encode())
    return reader, writer


async def _is_ready(console: Console) -> bool:
    return (await console.http.get("/readyz")).is_success
