"""What was pushed while nobody listened is found, deployed once, and never again: on a real broker, on each store, against simulated providers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from starlette.responses import JSONResponse
from structlog.testing import capture_logs

from demo.core.world import World
from demo.sender import signed_headers
from shared import clock
from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names
from shared.errors import Misconfigured
from shared.komodo.client import KomodoClient
from shared.komodo.stacks import StackCache
from shared.komodo.types import Stack
from shared.provider_api.access import ProviderAccess
from shared.states import RunState
from shared.store import deliveries, heads
from shared.store.deliveries import ReceiptOutcome
from shared.store.engine import Store
from shared.store.heads import Branch
from tests.integration.catchup.providers import TOKEN, Delivery, Provider, served
from tests.integration.worker.scene import Scene, a_procedure, deploy_execution, running
from tests.system import SECRET, Push
from worker.catchup import missed
from worker.catchup.catching_up import Plan, Report, catch_up
from worker.catchup.missed import Finding, event_for

MAIN = Branch("github.com/acme/infra", "main")
DUPLICATE, MATCHED = ReceiptOutcome.DUPLICATE, ReceiptOutcome.MATCHED


@dataclass
class Missing:
    """A service, a provider, and shorthands for what is missed and caught up between them."""

    scene: Scene
    github: Provider
    publisher: Publisher
    komodo: KomodoClient

    def missed(self, *stacks: str, version: str = "2.0") -> Push:
        """A push that the provider has and nobody was told of."""
        push = self.scene.change(*stacks, version=version)
        self.github.repositories["acme/infra"]["main"] = push.commit.sha
        return push

    async def delivered(self, *stacks: str, version: str = "1.5") -> Push:
        """A push that came as it should."""
        push = self.missed(*stacks, version=version)
        await self.scene.deploy(push)
        return push

    async def catch_up(self, *accesses: ProviderAccess, is_dry: bool = False, deploys_new: bool = False) -> Report:
        stacks = await StackCache(self.komodo, seconds=0).get()
        publish = None if is_dry else self.publisher.publish_event
        plan = Plan(accesses or (self.github.access(),), publish, deploys_new)
        return await catch_up(self.scene.store, stacks, plan)


@asynccontextmanager
async def missing(amqp_url: str, names: Names, store: Store, github: Provider) -> AsyncIterator[Missing]:
    async with AsyncExitStack() as stack:
        world = World.monorepo("web", "db", "wiki")
        apis = [github.access()]
        scene = await stack.enter_async_context(running(amqp_url, names, store, world=world, provider_api=apis))
        connection = await stack.enter_async_context(connected(amqp_url, name="test"))
        core = scene.core
        komodo = await stack.enter_async_context(KomodoClient.connect(core.url, core.key, core.secret))
        yield Missing(scene, github, await Publisher.open(connection, names), komodo)


@pytest.fixture
async def here(amqp_url: str, names: Names, sqlite_store: Store, github: Provider) -> AsyncIterator[Missing]:
    """On SQLite."""
    async with missing(amqp_url, names, sqlite_store, github) as found:
        yield found


@pytest.fixture
async def either(amqp_url: str, names: Names, store: Store, github: Provider) -> AsyncIterator[Missing]:
    """On each database in turn."""
    async with missing(amqp_url, names, store, github) as found:
        yield found


def delivery_of(push: Push, *, deploys: bool = True) -> str:
    """The id under which the push is caught up, or only noted."""
    return missed.delivery_id_of(MAIN, push.commit.sha, deploys=deploys)


def found(report: Report) -> list[tuple[str, Finding]]:
    return [(looked.branch, looked.finding) for looked in report.looked]


async def test_i1_a_push_that_was_missed_is_found_and_deployed_once_however_often_it_is_looked_for(
    either: Missing,
) -> None:
    before = await either.delivered("web")
    push = either.missed("web")

    first = await either.catch_up()
    again = await either.catch_up()
    run = await either.scene.run_of(delivery_of(push))
    after = await either.catch_up()

    assert (found(first), found(after)) == ([("main", Finding.MISSED)], [("main", Finding.CURRENT)])
    assert found(again)[0][1] in (Finding.MISSED, Finding.CURRENT)
    assert run.state is RunState.SUCCEEDED
    assert either.scene.core.state.stack("web").info["deployed_hash"] == push.commit.short
    assert either.scene.core.history.ran("web") == 2
    async with either.scene.store.read() as db:
        (event,) = await deliveries.events_of(db, delivery_of(push))
    assert (event.source, event.before, event.after) == ("catch-up", before.commit.sha, push.commit.sha)


async def test_a_delivery_that_comes_after_the_catch_up_is_a_duplicate(either: Missing) -> None:
    await either.delivered("web")
    push = either.missed("web")
    await either.catch_up()
    await either.scene.run_of(delivery_of(push))

    late = await either.scene.send(push)

    assert [receipt.outcome for receipt in await either.scene.receipts_of(late)] == [DUPLICATE]
    assert either.scene.core.history.ran("web") == 2


async def test_a_catch_up_that_a_delivery_has_overtaken_is_a_duplicate(either: Missing) -> None:
    push = await either.delivered("web")
    overtaken = event_for(
        MAIN,
        push.commit.sha,
        provider="github",
        full_name="acme/infra",
        before=None,
        deploys=True,
        now=clock.now(),
    )

    await either.publisher.publish_event(overtaken)

    assert [receipt.outcome for receipt in await either.scene.receipts_of(overtaken.delivery_id)] == [DUPLICATE]
    assert either.scene.core.history.ran("web") == 1


async def test_a_delivery_runs_again_what_the_catch_up_has_failed_to_deploy(here: Missing) -> None:
    await here.delivered("web")
    here.scene.knobs.failing_deploys["web"] = "Error: no space left on device"
    push = here.missed("web")
    await here.catch_up()
    assert (await here.scene.run_of(delivery_of(push))).state is RunState.FAILED

    here.scene.knobs.failing_deploys.clear()

    assert (await here.scene.deploy(push)).state is RunState.SUCCEEDED


async def test_a_push_to_a_procedures_own_url_is_not_what_was_caught_up(here: Missing) -> None:
    await here.delivered("web")
    own = a_procedure("mine", [deploy_execution("db")], trigger={"listen": "own"})
    await here.scene.save(own, keep_global=True)
    push = here.missed("web", "db")
    await here.catch_up()
    await here.scene.run_of(delivery_of(push))

    run = await here.scene.deploy(push, "/listener/github/procedure/mine/main")

    assert (run.procedure_name, run.state) == ("mine", RunState.SUCCEEDED)


async def test_a_branch_that_is_seen_for_the_first_time_is_noted_and_from_then_on_known(either: Missing) -> None:
    push = either.missed("web")

    first = await either.catch_up()
    (receipt,) = await either.scene.receipts_of(delivery_of(push, deploys=False))
    second = await either.catch_up()
    later = either.missed("web", version="3.0")
    third = await either.catch_up()
    run = await either.scene.run_of(delivery_of(later))

    assert [found(report)[0][1] for report in (first, second, third)] == [
        Finding.FIRST_SEEN,
        Finding.CURRENT,
        Finding.MISSED,
    ]
    assert receipt.outcome is ReceiptOutcome.UNMATCHED
    assert receipt.trace["procedures"][0]["decision"]["reason"] == missed.FIRST_SIGHT
    assert run.state is RunState.SUCCEEDED
    assert either.scene.core.history.ran("web") == 1


async def test_the_delivery_of_a_commit_that_was_only_noted_runs(here: Missing) -> None:
    push = here.missed("web")
    await here.catch_up()
    await here.scene.receipts_of(delivery_of(push, deploys=False))

    assert (await here.scene.deploy(push)).state is RunState.SUCCEEDED


async def test_a_branch_that_is_seen_for_the_first_time_is_deployed_where_that_is_asked_for(here: Missing) -> None:
    push = here.missed("web")

    report = await here.catch_up(deploys_new=True)

    assert report.looked[0].deploys
    assert (await here.scene.run_of(delivery_of(push))).state is RunState.SUCCEEDED


async def test_what_was_noted_a_moment_ago_is_deployed_all_the_same_where_that_is_asked_for(here: Missing) -> None:
    push = here.missed("web")
    noted = event_for(
        MAIN,
        push.commit.sha,
        provider="github",
        full_name="acme/infra",
        before=None,
        deploys=False,
        now=clock.now(),
    )
    await here.catch_up(deploys_new=True)

    await here.publisher.publish_event(noted)

    assert (await here.scene.run_of(delivery_of(push))).state is RunState.SUCCEEDED
    assert [receipt.outcome for receipt in await here.scene.receipts_of(noted.delivery_id)] == [
        ReceiptOutcome.UNMATCHED
    ]


async def test_a_dry_run_only_looks(here: Missing) -> None:
    await here.delivered("web")
    push = here.missed("web")

    report = await here.catch_up(is_dry=True)
    again = await here.catch_up(is_dry=True)

    assert report == again
    assert (report.looked[0].finding, report.looked[0].head) == (Finding.MISSED, push.commit.sha)
    assert await here.scene.system.receipts(delivery_of(push)) == []


async def test_a_branch_that_is_not_there_is_gone(here: Missing) -> None:
    assert found(await here.catch_up()) == [("main", Finding.GONE)]


async def test_one_provider_that_does_not_answer_stops_no_other_one(here: Missing) -> None:
    here.missed("web")
    stacks = [
        a_stack("github.com", "acme/infra"),
        a_stack("github.com", "acme/gone"),
        a_stack("gitlab.com", "acme/other"),
        a_stack("unknown.example.com", "acme/third"),
    ]
    async with served(Provider("gitlab", always=JSONResponse({"message": TOKEN}, 500))) as gitlab:
        plan = Plan((gitlab.access(), here.github.access()))
        report = await catch_up(here.scene.store, stacks, plan)

    assert found(report) == [("main", Finding.FIRST_SEEN)]
    assert [problem.where for problem in report.problems] == ["gitlab.com/acme/other", "github.com/acme/gone"]
    assert report.unreachable == ["unknown.example.com/acme/third"]
    assert TOKEN not in str(report)


async def test_a_provider_that_refuses_the_token_is_not_asked_about_the_rest(here: Missing) -> None:
    stacks = [a_stack("github.com", "acme/infra"), a_stack("github.com", "acme/other")]
    report = await catch_up(here.scene.store, stacks, Plan((here.github.access(token="Xk7-a-wrong-one"),)))

    assert [problem.where for problem in report.problems] == ["github.com"]
    assert len(here.github.asked) == 1
    assert "Xk7" not in str(report)


def a_stack(provider: str, repo: str) -> Stack:
    return Stack(id=repo, name=repo, source="git", git_provider=provider, repo=repo, branch="main")


async def test_without_an_api_it_says_so(here: Missing) -> None:
    with pytest.raises(Misconfigured, match="KGW_PROVIDER_API is not set"):
        await catch_up(here.scene.store, (), Plan(()))


# GitHub's own deliveries


async def test_github_is_asked_to_send_again_what_failed_and_the_heads_wait_for_it(either: Missing) -> None:
    await either.delivered("web")
    push = either.missed("web")
    hour_ago = clock.now() - timedelta(hours=1)
    either.github.deliveries = [
        Delivery(1, push.delivery, hour_ago),
        Delivery(2, "seen", hour_ago, status_code=202),
        Delivery(3, "refused", hour_ago, status_code=401),
    ]

    async def resend(delivery: Delivery) -> int:
        headers = signed_headers(push.body, SECRET, delivery=delivery.guid)
        answer: httpx.Response = await either.scene.http.post(
            "/listener/github/global", content=push.body, headers=headers
        )
        resent.append(str(answer.json()["delivery"]))
        return answer.status_code

    resent: list[str] = []
    either.github.resend = resend
    access = either.github.access(hook_url="https://hooks.example.com/listener/")

    dry = await either.catch_up(access, is_dry=True)
    first = await either.catch_up(access)
    run = await either.scene.run_of(resent[0])
    second = await either.catch_up(access)

    assert dry.redeliveries == first.redeliveries
    assert [(again.guid, again.event) for again in first.redeliveries] == [(push.delivery, "push")]
    assert (first.looked, len(resent)) == ([], 1)
    assert run.state is RunState.SUCCEEDED
    assert (second.redeliveries, found(second)) == ([], [("main", Finding.CURRENT)])
    assert either.scene.core.history.ran("web") == 2


async def test_hooks_that_may_not_be_read_leave_the_heads(here: Missing) -> None:
    here.missed("web")
    here.github.faults = [JSONResponse({"message": "Resource not accessible"}, 403)]

    report = await here.catch_up(here.github.access(hook_url="https://hooks.example.com/"))

    assert [problem.where for problem in report.problems] == ["github.com/acme/infra, deliveries"]
    assert found(report) == [("main", Finding.FIRST_SEEN)]


async def test_other_peoples_hooks_are_left_alone(here: Missing) -> None:
    here.missed("web")
    here.github.deliveries = [Delivery(1, "theirs", clock.now() - timedelta(hours=1))]

    report = await here.catch_up(here.github.access(hook_url="https://elsewhere.example.com/"))

    assert report.redeliveries == []
    assert not any("deliveries" in asked for asked in here.github.asked)


async def test_the_store_is_asked_only_about_what_has_moved(here: Missing, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.delivered("web")
    stacks = await StackCache(here.komodo, seconds=0).get()
    plan = Plan((here.github.access(),))
    await catch_up(here.scene.store, stacks, plan)

    async def look(store: Store, wanted: dict[Branch, str]) -> dict[Branch, heads.Seen]:
        asked.append(wanted)
        return {}

    asked: list[dict[Branch, str]] = []
    monkeypatch.setattr(heads, "look", look)
    again = await catch_up(here.scene.store, stacks, plan)

    assert asked == [{}]
    assert found(again) == [("main", Finding.CURRENT)]


async def test_i9_logs_name_no_token(here: Missing) -> None:
    here.github.always = JSONResponse({"message": TOKEN}, 403)
    with capture_logs() as logs:
        report = await here.catch_up()

    assert report.problems
    assert TOKEN not in str(logs)
