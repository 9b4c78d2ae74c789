"""What subscribers see: everything, in order, without holes and without a secret (I9)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta

import orjson
from sqlalchemy import select
from structlog.testing import capture_logs

from demo.core.faults import Fault
from shared.broker.topology import Names
from shared.results import ENDS_RUN, Result
from shared.store.tables import metadata
from tests.integration.worker.scene import Scene, a_procedure, deploy_execution, subscribed
from tests.system import SECRET


async def received(results: asyncio.Queue[Result], *, ended: int) -> list[Result]:
    """What has come when so many runs have ended."""
    found: list[Result] = []
    async with asyncio.timeout(20):
        while sum(result.type in ENDS_RUN for result in found) < ended:
            found.append(await results.get())
    return found


async def test_a_run_is_told_from_its_start_to_its_end(amqp_url: str, names: Names, either_scene: Scene) -> None:
    async with subscribed(amqp_url, names) as results:
        push = either_scene.change("web")
        delivery = await either_scene.send(push)
        found = await received(results, ended=1)

    by_stream = defaultdict(list)
    for result in found:
        by_stream[result.stream].append(result)
    assert [result.type for result in by_stream.pop(delivery)] == ["delivery.accepted"]
    ((run, told),) = by_stream.items()
    assert [result.type for result in told] == [
        "run.started",
        "stage.started",
        "action.queued",
        "action.started",
        "action.succeeded",
        "stage.finished",
        "run.succeeded",
    ]
    assert {(result.delivery_id, result.run_id, result.data["procedure"]) for result in told} == {
        (delivery, run, "global")
    }
    assert told[0].data["commit"] == push.commit.sha
    assert told[4].data["outcome"]["deployed_hash"] == push.commit.short


async def test_many_runs_at_once_are_each_told_in_order_and_without_holes(
    amqp_url: str, names: Names, either_scene: Scene
) -> None:
    either_scene.knobs.busy.add("db")
    async with either_scene.system.worker(), subscribed(amqp_url, names) as results:
        pushes = [either_scene.change("web", "db", "wiki", version=f"3.{number}") for number in range(6)]
        await asyncio.gather(*map(either_scene.send, pushes))
        await either_scene.refused("db", "busy")
        either_scene.knobs.busy.clear()
        found = await received(results, ended=len(pushes))

    sequences = defaultdict(list)
    for result in found:
        sequences[result.stream].append(result.sequence)
    assert len(sequences) == 2 * len(pushes)
    for stream, numbers in sequences.items():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == list(range(1, len(firsts) + 1)), stream


async def test_a_result_that_nobody_published_is_told_later(amqp_url: str, names: Names, scene: Scene) -> None:
    """As after a crash between the commit and the publishing: the reconciler names the stream again."""
    run = await scene.deploy(scene.change("web"))
    await _all_published(scene)
    async with subscribed(amqp_url, names) as results:
        table = metadata.tables["results"]
        async with scene.store.begin() as db:
            earlier = run.created_at - timedelta(hours=1)
            await db.execute(table.update().where(table.c.stream == run.id).values(published=False, created_at=earlier))
        found = await received(results, ended=1)

    assert [result.sequence for result in found] == [1, 2, 3, 4, 5, 6, 7]


async def test_i9_no_secret_is_told_logged_or_stored(amqp_url: str, names: Names, either_scene: Scene) -> None:
    await either_scene.save(a_procedure("all", [deploy_execution("web"), deploy_execution("db")]))
    core = either_scene.core
    core.state.stack("web").config.update(environment="PASSWORD=hunter2", webhook_secret="hunter2")
    core.knobs.failing_deploys["db"] = "Error: manifest unknown"
    core.knobs.faults.append(Fault(area="write", status=500, body="nginx", times=1))
    secrets = [SECRET, core.key, core.secret, "hunter2", "guest:guest"]

    with capture_logs() as logs:
        async with subscribed(amqp_url, names) as results:
            push = either_scene.change("web", "db")
            refused = await either_scene.http.post(
                "/listener/github/global",
                content=push.body,
                headers={**push.headers, "X-Hub-Signature-256": "sha256=00"},
            )
            await either_scene.send(push)
            found = await received(results, ended=1)

    assert refused.status_code == 401
    assert {"delivery_refused", "event_planned", "action_ended", "run_ended"} <= {entry["event"] for entry in logs}
    written = [
        "".join(map(repr, logs)),
        refused.text,
        orjson.dumps([result.to_cloudevent() for result in found]).decode(),
        await _everything_stored(either_scene),
    ]
    signature = push.headers["X-Hub-Signature-256"].removeprefix("sha256=")
    assert [secret for secret in (*secrets, signature) for text in written if secret in text] == []


async def _everything_stored(scene: Scene) -> str:
    async with scene.store.read() as db:
        return "".join([repr((await db.execute(select(table))).all()) for table in metadata.sorted_tables])


async def _all_published(scene: Scene) -> None:
    table = metadata.tables["results"]
    async with asyncio.timeout(10):
        while True:
            async with scene.store.read() as db:
                if not (await db.execute(select(table.c.id).where(table.c.published.is_(False)))).all():
                    return
            await asyncio.sleep(0.01)
