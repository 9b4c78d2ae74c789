"""The same delivery again: a duplicate while it runs or once it has succeeded, a new run once it has failed (I2)."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from shared.states import ActionState, RunState
from shared.store.deliveries import ReceiptOutcome
from tests.integration.worker.scene import Scene, a_procedure, deploy_execution, on_stack

DUPLICATE, MATCHED = ReceiptOutcome.DUPLICATE, ReceiptOutcome.MATCHED


async def outcomes(scene: Scene, delivery: str, count: int) -> list[ReceiptOutcome]:
    return [receipt.outcome for receipt in await scene.receipts_of(delivery, count)]


async def test_a_delivery_that_is_sent_again_while_it_runs_is_a_duplicate(either_scene: Scene) -> None:
    either_scene.core.state.hold("web")
    push = either_scene.change("web")
    delivery = await either_scene.send(push)
    await either_scene.started("web")

    again = await either_scene.send(push)
    assert await outcomes(either_scene, again, 2) == [MATCHED, DUPLICATE]
    either_scene.core.state.release("web")

    assert again == delivery
    assert (await either_scene.run_of(delivery)).state is RunState.SUCCEEDED
    assert either_scene.core.history.ran("web") == 1


async def test_a_delivery_that_is_sent_again_after_its_success_is_a_duplicate_and_is_told_as_one(scene: Scene) -> None:
    push = scene.change("web")
    await scene.deploy(push)

    delivery = await scene.send(push)

    assert await outcomes(scene, delivery, 2) == [MATCHED, DUPLICATE]
    assert len(await scene.system.ended_runs(delivery)) == 1
    told = [result.type for result in await scene.results_of(delivery)]
    assert told == ["delivery.accepted", "delivery.duplicate"]
    assert scene.core.history.ran("web") == 1


async def test_a_delivery_that_is_sent_again_after_its_failure_runs_again(either_scene: Scene) -> None:
    either_scene.knobs.failing_deploys["web"] = "Error: no space left on device"
    push = either_scene.change("web")
    assert (await either_scene.deploy(push)).state is RunState.FAILED

    either_scene.knobs.failing_deploys.clear()
    delivery = await either_scene.send(push)
    assert await outcomes(either_scene, delivery, 2) == [MATCHED, MATCHED]

    first, second = await either_scene.system.ended_runs(delivery)
    assert (first.state, second.state) == (RunState.FAILED, RunState.SUCCEEDED)
    assert either_scene.core.state.stack("web").info["deployed_hash"] == push.commit.short


async def test_only_the_procedure_that_failed_runs_again(scene: Scene) -> None:
    await scene.save(a_procedure("web", [deploy_execution("web")]), a_procedure("db", [deploy_execution("db")]))
    scene.knobs.failing_deploys["web"] = "Error"
    push = scene.change("web", "db")
    await scene.system.ended_runs(await scene.send(push))

    delivery = await scene.send(push)
    await scene.receipts_of(delivery, 2)

    names = [run.procedure_name for run in await scene.system.ended_runs(delivery)]
    assert sorted(names) == ["db", "web", "web"]


async def test_every_procedure_that_matches_has_a_run_of_its_own(scene: Scene) -> None:
    definitions = [a_procedure(name, [on_stack("RestartStack", name)]) for name in ("web", "db")]
    await scene.save(*definitions, a_procedure("own", trigger={"listen": "own"}))

    delivery = await scene.send(scene.change("wiki"))
    found = await scene.system.ended_runs(delivery)

    assert {run.procedure_name: run.state for run in found} == dict.fromkeys(("web", "db"), RunState.SUCCEEDED)
    assert [scene.core.history.ran(name, "RestartStack") for name in ("web", "db")] == [1, 1]
    (receipt,) = await scene.receipts_of(delivery)
    reasons = {entry["procedure"]: entry.get("decision", {}).get("predicate") for entry in receipt.trace["procedures"]}
    assert reasons == {"web": None, "db": None, "global": "enabled", "own": "listen"}


async def test_a_run_keeps_the_version_of_its_procedure_with_which_it_began(scene: Scene) -> None:
    scene.core.state.hold("web")
    await scene.save(a_procedure("twice", [on_stack("RestartStack", "web")], [on_stack("RestartStack", "db")]))
    delivery = await scene.send(scene.change("wiki"))
    await scene.started("web")

    await scene.save(a_procedure("twice"))
    scene.core.state.release("web")
    run = await scene.run_of(delivery)

    assert [action.state for action in await scene.system.actions(run)] == [ActionState.SUCCEEDED] * 2
    assert run.procedure_version == 1
    assert scene.core.history.ran("db", "RestartStack") == 1


async def test_the_same_delivery_id_at_another_url_is_another_delivery(scene: Scene) -> None:
    push = scene.change("web")

    at_global = await scene.send(push)
    at_stack = await scene.send(push, "/listener/github/stack/db/deploy")

    assert at_global != at_stack
    assert (await scene.run_of(at_global)).procedure_name == "global"
    assert (await scene.run_of(at_stack)).procedure_name == "stack/db/deploy"


async def test_the_same_body_under_another_delivery_id_is_a_duplicate(either_scene: Scene) -> None:
    """Ids are not signed: who has heard one delivery could send it again under as many as he likes."""
    push = either_scene.change("web")
    first = await either_scene.send(push)
    assert (await either_scene.run_of(first)).state is RunState.SUCCEEDED

    second = await either_scene.send(replace(push, delivery=str(uuid4())))

    assert second != first
    assert await outcomes(either_scene, second, 1) == [DUPLICATE]
    assert either_scene.core.history.ran("web") == 1


async def test_the_same_body_under_another_delivery_id_runs_again_after_a_failure(scene: Scene) -> None:
    scene.knobs.failing_deploys["web"] = "Error"
    push = scene.change("web")
    assert (await scene.deploy(push)).state is RunState.FAILED

    scene.knobs.failing_deploys.clear()
    second = await scene.send(replace(push, delivery=str(uuid4())))

    assert (await scene.run_of(second)).state is RunState.SUCCEEDED


async def test_the_same_body_at_another_url_is_another_delivery(scene: Scene) -> None:
    await scene.save(a_procedure("web", [deploy_execution("web")]))
    push = scene.change("web")
    await scene.deploy(push)

    second = await scene.send(replace(push, delivery=str(uuid4())), "/listener/github/procedure/web/main")

    assert await outcomes(scene, second, 1) == [MATCHED]


async def test_a_body_that_names_no_commit_means_again_what_it_says(scene: Scene) -> None:
    """Such as people send it to Komodo's own URLs, each time that they want a deploy."""
    body, path = {"ref": "refs/heads/main"}, "/listener/github/stack/web/deploy"
    for _ in range(2):
        delivery = await scene.send_body("push", body, path)
        assert await outcomes(scene, delivery, 1) == [MATCHED]
