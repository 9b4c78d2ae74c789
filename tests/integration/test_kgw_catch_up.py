"""`kgw catch-up` as a shell runs it: what it prints, what it publishes, how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import orjson
import pytest

from demo.core.serve import Core, serving
from demo.core.world import World
from shared.broker.topology import Names, Queue
from shared.event import WebhookEvent
from shared.store.engine import Store
from tests.builders import an_event, store_event
from tests.integration.broker.scene import Broker
from tests.integration.catchup.providers import TOKEN, Provider, served
from tests.unit.kgw.command import Ended, environment, kgw_beside

OLD, HEAD = "a" * 40, "b" * 40


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with serving(World.monorepo("web")) as core:
        yield core


@pytest.fixture
async def github() -> AsyncIterator[Provider]:
    async with served(Provider("github", repositories={"acme/infra": {"main": HEAD}})) as provider:
        yield provider


@pytest.fixture
async def settings(
    core: Core, github: Provider, store: Store, amqp_url: str, names: Names
) -> AsyncIterator[Mapping[str, str]]:
    """The environment of a worker, on each database in turn."""
    told = {"kind": "github", "url": github.url, "token": TOKEN}
    values = {
        "KGW_DATABASE_URL": store.url.render_as_string(hide_password=False),
        "KGW_AMQP_URL": amqp_url,
        "KGW_AMQP_PREFIX": names.prefix,
        "KGW_PROVIDER_API": orjson.dumps([told]).decode(),
        "KOMODO_ADDRESS": core.url,
        "KOMODO_API_KEY": core.key,
        "KOMODO_API_SECRET": core.secret,
    }
    with environment(**values):
        yield values


async def catch_up(*arguments: str) -> Ended:
    ended = await kgw_beside("catch-up", *arguments)
    assert TOKEN not in ended.out + ended.err
    return ended


async def pushed(store: Store, commit: str) -> None:
    async with store.begin() as db:
        await store_event(db, an_event(after=commit, repository={"key": "github.com/acme/infra", "full_name": "x/y"}))


async def test_what_was_missed_is_published_and_printed(
    settings: Mapping[str, str], store: Store, amqp_url: str, names: Names
) -> None:
    await pushed(store, OLD)

    dry = await catch_up("--dry-run")
    done = await catch_up()
    again = await catch_up()
    async with Broker.at(amqp_url, names) as broker:
        bodies = [(await broker.next(names.queue(Queue.EVENTS))).body for _ in range(2)]
        waiting = await broker.count(names.queue(Queue.EVENTS))

    line = f"github.com/acme/infra main: {OLD[:12]} is the last commit that came, {HEAD[:12]} was missed"
    assert (dry.code, dry.out, dry.err) == (0, f"{line}: would publish\n", "")
    assert (done.code, done.out, done.err) == (0, f"{line}: publish\n", "")
    assert again == done
    first, second = map(WebhookEvent.from_bytes, bodies)
    assert (first.id, first.receipt_id, first.after, first.ignored) == (second.id, second.receipt_id, HEAD, None)
    assert waiting == 0


async def test_a_branch_seen_for_the_first_time_is_deployed_on_demand(
    settings: Mapping[str, str], amqp_url: str, names: Names
) -> None:
    noted, deployed = await catch_up(), await catch_up("--deploy-new")
    async with Broker.at(amqp_url, names) as broker:
        bodies = [(await broker.next(names.queue(Queue.EVENTS))).body for _ in range(2)]

    assert noted.out.endswith("record, nothing is deployed\n")
    assert deployed.out.endswith("publish, to be deployed\n")
    first, second = map(WebhookEvent.from_bytes, bodies)
    assert (first.ignored is None, second.ignored is None) == (False, True)
    assert first.id != second.id


async def test_scripts_are_told_in_json(settings: Mapping[str, str], store: Store) -> None:
    await pushed(store, HEAD)

    ended = await catch_up("--format", "json", "--dry-run")

    assert orjson.loads(ended.out) == {
        "looked": [
            {
                "repository": "github.com/acme/infra",
                "branch": "main",
                "finding": "current",
                "head": HEAD,
                "last": HEAD,
                "deploys": False,
            }
        ],
        "redeliveries": [],
        "problems": [],
        "unreachable": [],
    }


async def test_a_provider_that_says_no_ends_with_1_and_one_line(settings: Mapping[str, str], github: Provider) -> None:
    github.repositories.clear()

    ended = await catch_up()

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("kgw: github.com/acme/infra: github.com answered 404")
    assert ended.err.count("\n") == 1


async def test_a_repository_that_no_api_is_for_is_named(settings: Mapping[str, str]) -> None:
    told = orjson.dumps([{"kind": "gitlab", "token": TOKEN}]).decode()
    with environment(**{**settings, "KGW_PROVIDER_API": told}):
        ended = await catch_up("--dry-run")

    assert (ended.code, ended.out) == (
        0,
        "not asked, because no [[provider_api]] is for them: github.com/acme/infra\n",
    )


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"KGW_PROVIDER_API": ""}, 78, "KGW_PROVIDER_API"),
        ({"KGW_PROVIDER_API": "[]"}, 78, "KGW_PROVIDER_API is not set"),
        ({"KGW_PROVIDER_API": '[{"kind": "github"}]'}, 78, "there is no token"),
        ({"KOMODO_API_KEY": ""}, 78, "KOMODO_API_KEY is not set"),
        ({"KOMODO_ADDRESS": "http://127.0.0.1:1"}, 69, "Komodo does not answer"),
        ({"KGW_AMQP_URL": "amqp://kgw:hunter2@127.0.0.1:1/"}, 69, "try again"),
    ],
)
async def test_what_is_missing_is_said_in_one_line(
    settings: Mapping[str, str], changed: dict[str, str], code: int, said: str
) -> None:
    with environment(**{**settings, **changed}):
        ended = await catch_up()

    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err.splitlines()[-1]
    assert "hunter2" not in ended.err
