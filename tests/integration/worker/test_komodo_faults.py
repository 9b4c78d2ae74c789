"""What Komodo can do wrong, one scenario each: nothing runs twice, nothing is green that was not, and the reason is told (I2, I6)."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from demo.core.faults import Fault
from demo.core.git import Source
from demo.core.world import World
from shared.states import ActionState, RunState
from shared.store.actions import Action
from tests.integration.worker.conftest import Start
from tests.integration.worker.scene import Scene, a_procedure, deploy_execution, on_stack
from tests.system import Push, until
from worker import execute
from worker.retries import POLICIES, Cause, Policy

REFRESH = "RefreshStackCache"
SUCCEEDED, FAILED = ActionState.SUCCEEDED, ActionState.FAILED


class TestAway:
    async def test_a_push_while_komodo_is_away_is_deployed_once_it_is_back(self, scene: Scene) -> None:
        scene.knobs.down = True
        push = scene.change("web")
        delivery = await scene.send(push)
        await scene.when(lambda: scene.core.history.asked("read", "ListTags") >= 3, "Komodo was asked")

        scene.knobs.down = False
        run = await scene.run_of(delivery)

        assert run.state is RunState.SUCCEEDED
        assert [deploy.sha for deploy in scene.core.history.deployed("web")] == [push.commit.sha]

    async def test_komodo_may_be_away_between_the_plan_and_the_deploy(self, scene: Scene) -> None:
        scene.knobs.faults.append(Fault(kind="reset", area="write", variant=REFRESH, times=3))

        action = await scene.action_of(await scene.deploy(scene.change("web")))

        assert (action.state, action.attempt, action.failures, action.delays) == (SUCCEEDED, 2, 0, 1)
        assert scene.core.history.ran("web") == 1

    async def test_komodo_may_be_away_while_it_is_waited_for(self, scene: Scene) -> None:
        scene.core.state.hold("web")
        delivery = await scene.send(scene.change("web"))
        await scene.started("web")
        asked = scene.core.history.asked("read", "ListUpdates")
        scene.knobs.down = True
        await scene.when(lambda: scene.core.history.asked("read", "ListUpdates") > asked, "Komodo was asked in vain")

        scene.core.state.release("web")
        scene.knobs.down = False
        action = await scene.action_of(await scene.run_of(delivery))

        assert (action.state, action.attempt) == (SUCCEEDED, 1)
        assert scene.core.history.ran("web") == 1

    async def test_a_run_that_can_not_begin_for_too_long_fails_and_says_why(self, start: Start) -> None:
        async with start(komodo_patience=1.0) as scene:
            scene.knobs.down = True
            run = await scene.deploy(scene.change("web"))

            assert run.state is RunState.FAILED
            assert "Komodo did" in str(run.reason)
            assert not scene.core.history.executions

    async def test_an_action_that_can_not_begin_for_too_long_fails_and_says_why(self, start: Start) -> None:
        async with start(komodo_patience=1.0) as scene:
            scene.knobs.faults.append(Fault(area="write", variant=REFRESH, times=None))
            run = await scene.deploy(scene.change("web"))

            action = await scene.action_of(run)
            assert (run.state, action.state) == (RunState.FAILED, FAILED)
            assert "502" in str(action.reason)
            assert "<" not in str(action.reason)
            assert not scene.core.history.executions

    async def test_a_slow_komodo_is_only_slow(self, start: Start) -> None:
        async with start(lease_seconds=3.0) as scene:
            scene.knobs.latency = (0.1, 0.3)
            run = await scene.deploy(scene.change("web", "db", "wiki"))

            assert run.state is RunState.SUCCEEDED
            assert sorted(deploy.stack for deploy in scene.core.history.deploys) == ["db", "web", "wiki"]


class TestLostAnswers:
    """An execution whose answer is lost is looked up before anything is executed again (I2)."""

    @pytest.fixture(autouse=True)
    def _looks_again_soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(execute, "LOOK_AGAIN_SECONDS", 1.0)

    @pytest.fixture
    def world(self) -> World:
        return World.monorepo("web", "db", "wiki", "mail")

    async def test_what_was_begun_is_found_and_what_was_not_is_begun(self, scene: Scene) -> None:
        """Whether the connection dropped or a proxy answered with a page of its own."""
        scene.knobs.faults += [
            Fault(kind="reset", area="execute", after=True),
            Fault(kind="reset", area="execute"),
            Fault(area="execute", status=200, after=True),
            Fault(area="execute", status=504),
        ]

        run = await scene.deploy(scene.change("web", "db", "wiki", "mail"))

        actions = await scene.system.actions(run)
        assert [(action.state, action.attempt) for action in actions] == [(SUCCEEDED, 1)] * 4
        assert [scene.core.history.ran(name) for name in ("web", "db", "wiki", "mail")] == [1] * 4
        assert scene.core.history.asked("execute", "DeployStack") == 6

    async def test_what_can_not_be_read_after_a_deploy_does_not_deploy_again(self, scene: Scene) -> None:
        """Neither the check of what was deployed nor the logs of what has failed."""
        scene.knobs.failing_deploys["db"] = "Error: no space left on device"
        for name in ("web", "db"):
            scene.core.state.hold(name)
        delivery = await scene.send(scene.change("web", "db"))
        await scene.started("web")
        await scene.started("db")
        scene.knobs.faults += [Fault(variant="GetStack", times=3), Fault(variant="GetUpdate", times=3)]

        for name in ("web", "db"):
            scene.core.state.release(name)
        run = await scene.run_of(delivery)

        actions = {action.resource_name: action for action in await scene.system.actions(run)}
        assert {name: (action.state, action.attempt) for name, action in actions.items()} == {
            "web": (SUCCEEDED, 1),
            "db": (FAILED, 1),
        }
        assert "no space left on device" in str(actions["db"].reason)
        assert [scene.core.history.ran(name) for name in ("web", "db")] == [1, 1]


class TestBusy:
    async def test_a_busy_stack_is_waited_for_without_using_up_an_attempt(self, either_scene: Scene) -> None:
        either_scene.knobs.busy.add("web")
        delivery = await either_scene.send(either_scene.change("web"))
        await either_scene.refused("web", "busy")

        either_scene.knobs.busy.clear()
        action = await either_scene.action_of(await either_scene.run_of(delivery))

        assert (action.state, action.failures) == (SUCCEEDED, 0)
        assert action.delays >= 1
        assert either_scene.core.history.ran("web") == 1
        attempts = await either_scene.attempts_of(action)
        assert [attempt.outcome for attempt in attempts] == ["busy"] * (len(attempts) - 1) + ["succeed"]

    async def test_a_stack_that_stays_busy_fails_in_the_end_and_says_so(self, start: Start) -> None:
        async with start(komodo_patience=1.0) as scene:
            scene.knobs.busy.add("web")
            action = await scene.action_of(await scene.deploy(scene.change("web")))

            assert action.state is FAILED
            assert "Resource is busy" in str(action.reason)
            assert scene.core.history.ran("web") == 0

    async def test_a_server_that_is_away_is_waited_for(self, scene: Scene) -> None:
        scene.knobs.server_states["prod-1"] = "NotOk"
        delivery = await scene.send(scene.change("web"))
        await scene.refused("web", "unreachable")

        scene.knobs.server_states.clear()
        action = await scene.action_of(await scene.run_of(delivery))

        assert (action.state, action.failures) == (SUCCEEDED, 0)
        assert scene.core.history.ran("web") == 1


class TestRefusals:
    async def test_a_user_who_may_not_refresh_is_told_what_is_missing(self, scene: Scene) -> None:
        scene.knobs.forbidden_users.add("kgw")

        run = await scene.deploy(scene.change("web"))

        action = await scene.action_of(run)
        assert (run.state, action.state, action.attempt) == (RunState.FAILED, FAILED, 1)
        assert "does not have required permissions on this Stack" in str(action.reason)

    async def test_a_user_who_may_not_execute_is_told_after_komodo_has_accepted(self, scene: Scene) -> None:
        await scene.save(a_procedure("restart", [on_stack("RestartStack", "web")]))
        scene.knobs.forbidden_users.add("kgw")

        action = await scene.action_of(await scene.deploy(scene.change("web")))

        assert scene.core.history.outcomes("web") == ["forbidden"]
        assert (action.state, action.attempt) == (FAILED, 1)
        assert "does not have required permissions" in str(action.reason)

    async def test_a_wrong_key_fails_the_run_at_once_and_does_not_lock_us_out(self, start: Start) -> None:
        async with start(komodo_api_secret="wrong") as scene:
            run = await scene.deploy(scene.change("web"))

            assert run.state is RunState.FAILED
            assert "Komodo refuses the API key" in str(run.reason)
            assert len(scene.core.history.requests) <= 3

    async def test_a_deploy_that_fails_says_what_compose_said_and_is_not_tried_again(self, scene: Scene) -> None:
        scene.knobs.failing_deploys["web"] = "Error: <b>port</b> is already allocated"

        run = await scene.deploy(scene.change("web", "db"))

        actions = {action.resource_name: action for action in await scene.system.actions(run)}
        assert (run.state, run.reason) == (RunState.FAILED, "1 of 2 actions failed")
        assert actions["web"].reason == "Compose Up: Error: port is already allocated"
        assert (actions["web"].state, actions["db"].state) == (FAILED, SUCCEEDED)
        assert scene.core.history.ran("web") == 1

    async def test_a_deploy_is_tried_again_where_the_procedure_asks_for_it(self, scene: Scene) -> None:
        retry = {"attempts": 3, "initial": "1s"}
        await scene.save(a_procedure("deploy", [deploy_execution("web", retry=retry)]))
        scene.knobs.failing_deploys["web"] = "Error: registry timeout"
        delivery = await scene.send(scene.change("web"))
        await scene.started("web")
        await scene.when(lambda: scene.core.history.executions[0].success is False, "the first deploy has failed")

        scene.knobs.failing_deploys.clear()
        action = await scene.action_of(await scene.run_of(delivery))

        assert (action.state, action.attempt, action.failures) == (SUCCEEDED, 2, 1)
        assert scene.core.history.ran("web") == 2

    async def test_files_that_git_does_not_give_fail_the_deploy_with_gits_words(self, scene: Scene) -> None:
        scene.knobs.failing_git["acme/infra"] = "fatal: could not read Username"

        action = await scene.action_of(await scene.deploy(scene.change("web")))

        assert action.state is FAILED
        assert "could not read Username" in str(action.reason)
        assert not scene.core.history.executions

    async def test_a_file_that_the_push_has_removed_fails_the_deploy_and_is_named(self, scene: Scene) -> None:
        action = await scene.action_of(await scene.deploy(scene.system.push({"stacks/web/compose.yaml": None})))

        assert action.state is FAILED
        assert "compose.yaml" in str(action.reason)
        assert not scene.core.history.executions


class TestNoEnd:
    async def test_i6_an_update_that_never_completes_is_timed_out(self, scene: Scene) -> None:
        await scene.save(a_procedure("deploy", [deploy_execution("web", timeout="1s")]))
        scene.knobs.never_complete.add("web")

        run = await scene.deploy(scene.change("web"))

        action = await scene.action_of(run)
        assert (run.state, action.state) == (RunState.FAILED, ActionState.TIMED_OUT)
        assert action.reason == "Komodo's update was not complete by the deadline"
        assert scene.core.history.outcomes("web") == ["lost"]

    async def test_i6_what_nobody_can_tell_is_timed_out_too(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer is lost and Komodo can not be asked until the deadline has passed."""
        monkeypatch.setattr(execute, "LOOK_AGAIN_SECONDS", 1.0)
        await scene.save(a_procedure("deploy", [deploy_execution("web", timeout="1s")]))
        scene.knobs.faults += [
            Fault(kind="reset", area="execute", after=True),
            Fault(variant="ListUpdates", times=None),
        ]

        action = await scene.action_of(await scene.deploy(scene.change("web")))

        assert action.state is ActionState.TIMED_OUT
        assert scene.core.history.asked("execute", "DeployStack") == 1

    async def test_a_long_deploy_is_handed_on_and_stays_one_attempt(self, start: Start) -> None:
        with capture_logs() as logs:
            async with start(hand_over_after=0.2) as scene:
                scene.core.state.hold("web")
                delivery = await scene.send(scene.change("web"))
                await scene.when(lambda: any(one["event"] == "attempt_taken_over" for one in logs), "it was handed on")

                scene.core.state.release("web")
                action = await scene.action_of(await scene.run_of(delivery))

                assert (action.state, action.attempt) == (SUCCEEDED, 1)
                assert scene.core.history.ran("web") == 1

    async def test_a_deploy_that_died_with_core_is_tried_again(self, scene: Scene) -> None:
        retry = {"attempts": 3, "initial": "1s"}
        await scene.save(a_procedure("deploy", [deploy_execution("web", retry=retry)]))
        scene.core.state.hold("web")
        push = scene.change("web")
        delivery = await scene.send(push)
        await scene.started("web")

        scene.core.restart()
        scene.core.state.release("web")
        action = await scene.action_of(await scene.run_of(delivery))

        assert (action.state, action.attempt, action.failures) == (SUCCEEDED, 2, 1)
        first, _ = await scene.attempts_of(action)
        assert first.outcome == "aborted"
        assert scene.core.state.stack("web").info["deployed_hash"] == push.commit.short


class TestOldCheckouts:
    """Komodo and its agents take a checkout of some seconds ago for the newest; the end is the newest commit nevertheless."""

    @pytest.fixture(autouse=True)
    def _waits_little(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for cause in (Cause.STALE_CHECKOUT, Cause.STALE_DEPLOY):
            monkeypatch.setitem(POLICIES, cause, Policy(initial=1, max=1))

    async def deployed(self, scene: Scene, push: Push, *, outcome: str) -> Action:
        """The action of a push whose first attempt meets an old checkout; after that there is none any more."""
        delivery = await scene.send(push)

        async def has_met_it() -> bool:
            found = [await scene.attempts_of(action) for action in await scene.actions_so_far(delivery)]
            return [attempts[0].outcome for attempts in found if attempts] == [outcome]

        await until(has_met_it, f"the first attempt ended as {outcome}")
        scene.knobs.pull_cache_seconds = 0.0
        return await scene.action_of(await scene.run_of(delivery))

    async def test_two_pushes_in_a_moment_end_at_the_second(self, scene: Scene) -> None:
        scene.knobs.pull_cache_seconds = 60.0
        first = scene.change("web", version="2.0")
        await scene.deploy(first)
        second = scene.change("web", version="2.1")

        action = await self.deployed(scene, second, outcome="stale_checkout")

        assert (action.state, action.failures) == (SUCCEEDED, 0)
        assert [deploy.sha for deploy in scene.core.history.deployed("web")] == [first.commit.sha, second.commit.sha]

    async def test_a_deploy_from_an_old_checkout_of_the_agents_is_followed_by_one_from_the_new(
        self, scene: Scene
    ) -> None:
        scene.knobs.pull_cache_seconds = 60.0
        state = scene.core.state
        source = Source("github.com", "acme/infra", "main", "")
        old = state.periphery_pull(state.stack("web").config["server_id"], "stacks/web", source)
        push = scene.change("web")

        action = await self.deployed(scene, push, outcome="stale_deploy")

        assert (action.state, action.failures) == (SUCCEEDED, 0)
        assert [deploy.sha for deploy in scene.core.history.deployed("web")] == [old.sha, push.commit.sha]

    async def test_a_newer_commit_than_the_pushed_one_is_good_too(self, scene: Scene) -> None:
        """The head has moved on before Komodo looked: what is deployed is the head."""
        pushed = scene.change("web", version="2.0")
        newer = scene.change("web", version="2.1")

        action = await self.deployed(scene, pushed, outcome="stale_checkout")

        assert action.state is SUCCEEDED
        assert [deploy.sha for deploy in scene.core.history.deployed("web")] == [newer.commit.sha]


async def test_two_pushes_at_once_end_at_the_newest_commit_on_two_workers(start: Start) -> None:
    async with start(workers=2) as scene:
        scene.knobs.deploy_seconds = 0.1
        pushes = [scene.change("web", version=f"3.{number}") for number in range(4)]
        deliveries = await asyncio.gather(*map(scene.send, pushes))
        ended = [run for delivery in deliveries for run in await scene.system.ended_runs(delivery)]

        assert {run.state for run in ended} <= {RunState.SUCCEEDED, RunState.CANCELLED}
        assert scene.core.history.deployed("web")[-1].sha == pushes[-1].commit.sha
        assert "busy" not in scene.core.history.outcomes("web")
