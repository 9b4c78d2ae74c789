"""A named hook from its making to its end: a running ingress follows `kgw hook`, and needs the store for nothing that it knows already."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import structlog
from pydantic import SecretStr

from demo.core.serve import serving
from demo.core.world import World
from demo.sender import signed_headers
from shared.broker.topology import Names
from shared.store.deliveries import ReceiptOutcome
from shared.store.engine import Store
from tests.integration.broker.relay import Relay, relaying
from tests.named_hooks import KEY
from tests.system import SECRET, System
from tests.unit.kgw.command import environment, kgw_beside
from tests.waiting import until

ACCEPTED, IGNORED, UNAUTHORIZED, TOO_LARGE = 202, 200, 401, 413
PAYLOADS = Path(__file__).parents[2] / "payloads"
AWAY = "postgresql://kgw@127.0.0.1:1/kgw"
PUSH = orjson.dumps(
    {
        "ref": "refs/heads/main",
        "before": "a" * 40,
        "after": "b" * 40,
        "repository": {"id": 1, "full_name": "acme/infra", "clone_url": "https://github.com/acme/infra.git"},
        "commits": [],
    }
)


@pytest.fixture
async def system(amqp_url: str, names: Names, store: Store) -> AsyncIterator[System]:
    """A service of which nothing runs yet, on each database in turn."""
    async with serving(World.monorepo("web")) as core:
        yield System(amqp_url, names.prefix, core, store)


@pytest.fixture(autouse=True)
def _shell(store_url: str) -> Iterator[None]:
    with environment(KGW_DATABASE_URL=store_url, KGW_SECRET_KEY=KEY):
        yield


@pytest.fixture
def start(system: System, tmp_path: Path, store_url: str) -> Callable[..., Any]:
    """Starts an ingress that asks the store often."""

    @asynccontextmanager
    async def start(**overrides: Any) -> AsyncIterator[Sender]:
        values: dict[str, Any] = {
            "database_url": SecretStr(store_url),
            "secret_key": SecretStr(KEY),
            "hooks_file": str(tmp_path / "hooks.json"),
            "hooks_interval": 0.1,
        }
        async with system.ingress(**{**values, **overrides}) as client:
            yield Sender(client)

    return start


class Sender:
    """Sends GitHub's pushes to named hooks."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def send(self, secret: str, hook: str = "web", *, auth: str = "github", body: bytes = PUSH) -> httpx.Response:
        url = f"/listener/{auth}/global/{hook}"
        return await self.client.post(url, content=body, headers=signed_headers(body, secret))

    async def status(self, secret: str, hook: str = "web") -> int:
        return (await self.send(secret, hook)).status_code

    async def until(self, status: int, secret: str, hook: str = "web") -> None:
        async def is_answered() -> bool:
            return await self.status(secret, hook) == status

        await until(is_answered)


def received(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [line for line in lines if line["event"] == "delivery_received"]


def are_told(lines: Sequence[Mapping[str, Any]], event: str) -> bool:
    return any(line["event"] == event for line in lines)


async def kgw_hook(*arguments: str) -> None:
    ended = await kgw_beside("hook", *arguments)
    assert ended.code == 0, ended.err


async def issue(*arguments: str) -> str:
    """Make or rotate a hook; its new secret."""
    ended = await kgw_beside("hook", *arguments, "--format", "json")
    assert ended.code == 0, ended.err
    # The ingress of this process may log beside it.
    told = next(line for line in ended.out.splitlines() if line.startswith("{"))
    return str(orjson.loads(told)["secret"])


async def test_what_is_signed_with_a_new_hooks_secret_is_accepted(start: Callable[..., Any]) -> None:
    async with start() as sender:
        secret = await issue("create", "web", "--provider", "github")
        await sender.until(ACCEPTED, secret)

        assert await sender.status(secret, "global") == UNAUTHORIZED
        assert await sender.status(secret, "other") == UNAUTHORIZED
        assert (await sender.send(secret, auth="gitea")).status_code == UNAUTHORIZED


async def test_a_hook_from_before_the_start_is_there_when_it_answers(start: Callable[..., Any]) -> None:
    secret = await issue("create", "web")
    async with start() as sender:
        await sender.until(ACCEPTED, secret)


async def test_an_old_secret_is_accepted_until_its_grace_has_ended_and_the_log_says_which(
    start: Callable[..., Any],
) -> None:
    old = await issue("create", "web")
    async with start() as sender:
        await sender.until(ACCEPTED, old)
        clock = asyncio.get_running_loop().time
        new = await issue("rotate", "web", "--grace", "3s")
        rotated = clock()
        await sender.until(ACCEPTED, new)

        with structlog.testing.capture_logs() as lines:
            assert [await sender.status(secret) for secret in (new, old)] == [ACCEPTED, ACCEPTED]
            await until(lambda: len(received(lines)) == 2)
        assert [line["secret_index"] for line in received(lines)] == [0, 1]
        assert not [secret for secret in (new, old) if secret in str(lines)]

        await sender.until(UNAUTHORIZED, old)
        assert clock() - rotated > 2
        assert await sender.status(new) == ACCEPTED


async def test_a_hook_can_be_disabled_enabled_and_deleted(start: Callable[..., Any]) -> None:
    secret = await issue("create", "web")
    async with start() as sender:
        await sender.until(ACCEPTED, secret)
        for verb, status in (("disable", UNAUTHORIZED), ("enable", ACCEPTED), ("delete", UNAUTHORIZED)):
            await kgw_hook(verb, "web")
            await sender.until(status, secret)


async def test_i1_what_a_hook_may_not_speak_for_is_ignored_and_recorded(
    start: Callable[..., Any], system: System
) -> None:
    secret = await issue("create", "web", "--repo", "acme/web")
    async with start() as sender, system.worker():
        await sender.until(IGNORED, secret)

        told = (await sender.send(secret)).json()
        assert told["status"] == "ignored"
        assert told["reason"] == "this hook may not speak for the repository github.com/acme/infra"

        (receipt,) = await _receipts(system, told["delivery"])
    assert receipt.outcome is ReceiptOutcome.UNMATCHED
    assert told["reason"] in str(receipt.trace)


async def _receipts(system: System, delivery: str) -> list[Any]:
    async def are_there() -> bool:
        return bool(await system.receipts(delivery))

    await until(are_there)
    return await system.receipts(delivery)


async def test_a_body_over_the_hooks_limit_is_refused_and_a_stranger_learns_nothing_of_it(
    start: Callable[..., Any],
) -> None:
    secret = await issue("create", "web", "--max-body", "1024")
    body = PUSH + b" " * 1024
    async with start() as sender:
        await sender.until(ACCEPTED, secret)

        answer = await sender.send(secret, body=body)
        stranger, nobody = await sender.send("x", body=body), await sender.send("x", "nobody", body=body)

    assert (answer.status_code, answer.json()["reason"]) == (TOO_LARGE, "this hook takes 1024 bytes")
    assert stranger.status_code == nobody.status_code == UNAUTHORIZED
    assert stranger.content == nobody.content


async def test_a_restart_while_the_store_is_down_knows_every_hook(start: Callable[..., Any], tmp_path: Path) -> None:
    secret = await issue("create", "web")
    async with start() as sender:
        await sender.until(ACCEPTED, secret)
        await until((tmp_path / "hooks.json").exists)

    assert stat.S_IMODE((tmp_path / "hooks.json").stat().st_mode) == 0o600
    assert secret not in (tmp_path / "hooks.json").read_text()
    async with start(database_url=SecretStr(AWAY)) as sender:
        assert await sender.status(secret) == ACCEPTED


async def test_a_first_start_while_the_store_is_down_has_the_global_hook(start: Callable[..., Any]) -> None:
    async with start(database_url=SecretStr(AWAY)) as sender:
        assert await sender.status(SECRET, "global") == ACCEPTED
        assert await sender.status("x") == UNAUTHORIZED


async def test_a_wrong_key_leaves_the_named_hooks_out(start: Callable[..., Any]) -> None:
    secret = await issue("create", "web")
    with structlog.testing.capture_logs() as lines:
        async with start(secret_key=SecretStr("another key of 32 characters or more")) as sender:
            await until(lambda: are_told(lines, "hook_left_out"))

            assert await sender.status(secret) == UNAUTHORIZED
            assert await sender.status(SECRET, "global") == ACCEPTED


@pytest.fixture
async def relay(postgres_url: str) -> AsyncIterator[Relay]:
    """The way to a PostgreSQL that can be cut."""
    async with relaying(postgres_url) as relay:
        yield relay


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_a_store_that_goes_down_is_not_noticed_by_senders(start: Callable[..., Any], relay: Relay) -> None:
    first = await issue("create", "first")
    async with start(database_url=SecretStr(relay.url)) as sender:
        await sender.until(ACCEPTED, first, "first")

        with structlog.testing.capture_logs() as lines:
            relay.cut()
            await until(lambda: are_told(lines, "hooks_not_kept"))
        second = await issue("create", "second")
        assert await sender.status(first, "first") == ACCEPTED
        assert await sender.status(second, "second") == UNAUTHORIZED

        relay.mend()
        await sender.until(ACCEPTED, second, "second")
        assert await sender.status(first, "first") == ACCEPTED


async def test_who_can_not_sign_comes_by_the_url_that_was_printed(start: Callable[..., Any]) -> None:
    body = (PAYLOADS / "dockerhub" / "push.json").read_bytes()
    image = orjson.loads(body)["repository"]["repo_name"]
    ended = await kgw_beside("hook", "create", "hub", "--provider", "dockerhub", "--image", image, "-f", "json")
    url = httpx.URL(orjson.loads(ended.out)["url"]).raw_path.decode()
    headers = {"Content-Type": "application/json"}
    async with start() as sender:
        with structlog.testing.capture_logs() as lines:

            async def is_accepted() -> bool:
                return bool((await sender.client.post(url, content=body, headers=headers)).status_code == ACCEPTED)

            await until(is_accepted)
            wrong = await sender.client.post(url + "x", content=body, headers=headers)
            await kgw_hook("change", "hub", "--image", "other/*")
            await until(lambda: _is_ignored(sender.client, url, body, headers))

    assert wrong.status_code == UNAUTHORIZED
    assert url.rpartition("/")[2] not in str(lines)


async def _is_ignored(client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]) -> bool:
    return bool((await client.post(url, content=body, headers=headers)).json()["status"] == "ignored")


async def test_a_generic_hook_is_read_by_its_own_options(start: Callable[..., Any], tmp_path: Path) -> None:
    options = tmp_path / "options.json"
    options.write_bytes(orjson.dumps({"verify": {"way": "token"}, "branch": "/on", "repository_url": "/of"}))
    secret = await issue("create", "own", "--provider", "generic", "--options", str(options), "--repo", "acme/infra")
    body = orjson.dumps({"on": "main", "of": "https://github.com/acme/infra.git"})
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {secret}"}
    async with start() as sender:

        async def is_accepted() -> bool:
            answer = await sender.client.post("/listener/generic/global/own", content=body, headers=headers)
            return bool(answer.status_code == ACCEPTED)

        await until(is_accepted)
        signed = await sender.send(secret, "own", auth="generic")

    assert signed.status_code == UNAUTHORIZED
