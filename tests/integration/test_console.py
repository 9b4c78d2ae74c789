"""The console on a real broker and a real store: its lists, and its streams without a gap or a second copy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.broker.framing import Outgoing
from shared.broker.topology import Names
from shared.results import ResultType
from shared.store.deliveries import ReceiptOutcome, add_receipt
from shared.store.engine import Store
from tests.builders import NOON, an_event, at, new_id, store_action, store_event, store_run
from tests.integration.following import Console, Heard, running_console
from tests.waiting import until

STARTED, RETRYING, SUCCEEDED = ResultType.RUN_STARTED, ResultType.ACTION_RETRYING, ResultType.RUN_SUCCEEDED


@pytest.fixture
async def console(amqp_url: str, names: Names, sqlite_store: Store) -> AsyncIterator[Console]:
    async with running_console(amqp_url, names, sqlite_store) as console:
        yield console


@pytest.fixture
async def either_console(amqp_url: str, names: Names, store: Store) -> AsyncIterator[Console]:
    """A console on each database in turn."""
    async with running_console(amqp_url, names, store) as console:
        yield console


async def test_what_was_and_what_comes_is_one_stream_without_gap_or_copy(either_console: Console) -> None:
    """Followers come at every moment of a run whose results are published meanwhile."""
    console, run = either_console, await either_console.teller.new_run()
    await console.teller.run(run, STARTED, *[RETRYING] * 20)
    heard = [Heard() for _ in range(6)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for each in heard:
            group.create_task(console.listen(f"runs/{run.id}", each))
            await console.teller.run(run, *[RETRYING] * 10)
        await console.teller.run(run, SUCCEEDED)

    expected = [(run.id, sequence) for sequence in range(1, 21 + 60 + 2)]
    assert [each.numbers for each in heard] == [expected] * 6
    assert all(each.is_over for each in heard)


async def test_a_client_goes_on_after_the_last_event_that_it_saw(console: Console) -> None:
    run = await console.teller.new_run()
    await console.teller.run(run, STARTED, *[RETRYING] * 8)

    first = await console.hear(f"runs/{run.id}", count=4)
    await console.teller.run(run, SUCCEEDED)
    rest = await console.hear(f"runs/{run.id}", first.ids[-1])
    nothing = await console.hear(f"runs/{run.id}", rest.ids[-1])

    assert [number for _, number in first.numbers] == [1, 2, 3, 4]
    assert [number for _, number in rest.numbers] == [5, 6, 7, 8, 9, 10]
    assert rest.is_over
    assert nothing.events == []
    assert nothing.is_over


async def test_a_delivery_with_two_runs_is_resumed_in_each_of_its_streams(either_console: Console) -> None:
    console, delivery = either_console, new_id()
    web, db = await console.teller.new_run(delivery, "web"), await console.teller.new_run(delivery, "db")
    await console.teller.delivery(delivery, ResultType.DELIVERY_ACCEPTED, procedures=["web", "db"])
    await console.teller.run(web, STARTED)
    await console.teller.run(db, STARTED)

    first = await console.hear(f"deliveries/{delivery}", count=3)
    rest = Heard()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(console.listen(f"deliveries/{delivery}", rest, first.ids[-1]))
        await console.teller.run(db, RETRYING, SUCCEEDED)
        await console.teller.run(web, RETRYING, SUCCEEDED)

    assert set(first.numbers) == {(delivery, 1), (web.id, 1), (db.id, 1)}
    assert sorted(rest.numbers) == sorted([(web.id, 2), (web.id, 3), (db.id, 2), (db.id, 3)])
    assert rest.is_over


async def test_a_stream_ends_by_itself_when_the_run_ends(console: Console) -> None:
    run, heard = await console.teller.new_run(), Heard()
    await console.teller.run(run, STARTED)
    following = asyncio.create_task(console.listen(f"runs/{run.id}", heard))
    await until(lambda: len(heard.events) == 1)
    assert not heard.is_over

    await console.teller.run(run, ResultType.RUN_FAILED)
    await asyncio.wait_for(following, 10)

    assert [event["type"] for event in heard.events] == ["komodo.webhook.run.started", "komodo.webhook.run.failed"]
    assert heard.is_over


async def test_a_delivery_that_is_not_known_yet_is_waited_for(console: Console) -> None:
    delivery, heard = new_id(), Heard()
    following = asyncio.create_task(console.listen(f"deliveries/{delivery}", heard))
    await until(lambda: "still here" in heard.comments)
    assert heard.events == []

    await console.teller.new_delivery(delivery)
    await console.teller.delivery(delivery, ResultType.DELIVERY_UNMATCHED)
    await asyncio.wait_for(following, 10)

    assert heard.numbers == [(delivery, 1)]
    assert heard.is_over


async def test_what_the_broker_has_lost_comes_from_the_store(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.streams.RESYNC_SECONDS", 0.1)
    run, heard = await console.teller.new_run(), Heard()
    await console.teller.run(run, STARTED)
    following = asyncio.create_task(console.listen(f"runs/{run.id}", heard))
    await until(lambda: len(heard.events) == 1)

    await console.teller.run(run, RETRYING, SUCCEEDED, is_published=False)
    await asyncio.wait_for(following, 10)

    assert [number for _, number in heard.numbers] == [1, 2, 3]


async def test_a_message_that_is_no_result_does_not_stop_the_streams(console: Console) -> None:
    run, heard = await console.teller.new_run(), Heard()
    await console.teller.run(run, STARTED)
    following = asyncio.create_task(console.listen(f"runs/{run.id}", heard))
    await until(lambda: len(heard.events) == 1)

    for body in (b"", b"[]", b"{}", b'"text"', b"\xff", b'{"type": 7}'):
        await console.teller.publisher.publish_result("run.started", Outgoing(body))
    await console.teller.run(run, SUCCEEDED)
    await asyncio.wait_for(following, 4)

    assert heard.is_over


async def test_who_follows_when_the_console_stops_is_let_go_at_once(
    amqp_url: str, names: Names, sqlite_store: Store
) -> None:
    heard = Heard()
    async with running_console(amqp_url, names, sqlite_store) as console:
        run = await console.teller.new_run()
        await console.teller.run(run, STARTED)
        following = asyncio.create_task(_listen_with_own_client(console, f"runs/{run.id}", heard))
        await until(lambda: len(heard.events) == 1)
    await asyncio.wait_for(following, 4)

    assert not heard.is_over
    assert heard.comments[-1] == "again"


async def _listen_with_own_client(console: Console, path: str, heard: Heard) -> None:
    # The block's client is closed before the console stops.
    async with httpx.AsyncClient(base_url=console.url, headers=console.http.headers, timeout=20) as http:
        await Console(http, console.url, console.teller).listen(path, heard)


async def test_what_is_not_there_is_a_problem_on_either_database(either_console: Console) -> None:
    for path in ("runs/{}", "runs/{}/events", "deliveries/{}", "nothing/{}"):
        for name in (new_id(), "%00", "x" * 300, "%F0%9F%90%89"):
            answer = await either_console.http.get("/api/v1/" + path.format(name))

            assert answer.status_code == 404, (path, name)
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_cursor_with_any_character_is_answered(either_console: Console) -> None:
    for cursor, status in (("0.%00", 422), ("%00", 422), ("1.%F0%9F%90%89", 200)):
        answer = await either_console.http.get(f"/api/v1/runs?before={cursor}")

        assert answer.status_code == status, cursor


async def test_the_description_and_the_health_need_no_login(console: Console) -> None:
    async with httpx.AsyncClient(base_url=console.url) as stranger:
        described = await stranger.get("/openapi.json")
        ready = await stranger.get("/readyz")
        refused = await stranger.get("/api/v1/runs")

    assert "/api/v1/runs/{run_id}/events" in described.json()["paths"]
    assert ready.json()["dependencies"] == {"store": "ok", "broker": "ok"}
    assert refused.status_code == 401


@pytest.mark.parametrize("noun", ["deliveries", "runs"])
async def test_a_list_is_paged_newest_first_and_complete(either_console: Console, noun: str) -> None:
    """Also where several were received in the same instant."""
    moments = [at(0), at(1), at(1), at(1), at(2)]
    async with either_console.teller.store.begin() as db:
        stored = [await store_run(db, event=an_event(received_at=moment)) for moment in moments]
    ids = {run.id if noun == "runs" else run.delivery_id for run in stored}

    found, before = [], None
    for _ in range(len(moments)):
        query = {"limit": 2} | ({"before": before} if before else {})
        page = (await either_console.http.get(f"/api/v1/{noun}", params=query)).json()
        found += page["items"]
        before = page["next"]
        if before is None:
            break

    assert before is None
    assert len(found) == len(moments)
    assert {item["id"] for item in found} == ids
    instants = [item["received_at"] for item in found]
    assert instants == sorted(instants, reverse=True)


async def test_a_run_is_shown_with_its_stages_and_actions(console: Console) -> None:
    async with console.teller.store.begin() as db:
        run = await store_run(db)
        action = await store_action(db, run=run)

    shown = (await console.http.get(f"/api/v1/runs/{run.id}")).json()

    assert (shown["id"], shown["state"], shown["procedure"]) == (run.id, "running", "homelab")
    (stage,) = shown["stages"]
    assert (stage["name"], stage["state"]) == ("Deploy", "pending")
    assert [each["id"] for each in stage["actions"]] == [action.id]


async def test_a_delivery_is_shown_with_what_was_decided_and_without_its_payload(console: Console) -> None:
    event = an_event(payload={"text": "of the provider"}, message="Update web")
    async with console.teller.store.begin() as db:
        await store_event(db, event)
        await add_receipt(db, event, ReceiptOutcome.UNMATCHED, {"procedures": []}, received_at=NOON)

    answer = await console.http.get(f"/api/v1/deliveries/{event.delivery_id}")

    shown = answer.json()
    assert (shown["status"], shown["receipts"][0]["outcome"]) == ("unmatched", "unmatched")
    assert shown["events"][0]["message"] == "Update web"
    assert "of the provider" not in answer.text
