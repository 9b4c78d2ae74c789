"""CI jobs without a secret: a token of a CI server on this machine, through the real ingress to its record in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from pydantic import SecretStr

from demo.sender import signed_headers
from ingress.oidc import Keys
from ingress.providers import PROVIDERS
from ingress.providers.oidc import Oidc
from shared import clock
from shared.event import Kind
from shared.states import RunState
from shared.store import deliveries, hooks, procedures
from shared.store.deliveries import ReceiptOutcome
from tests.integration.worker.scene import a_procedure, on_stack
from tests.named_hooks import KEY, a_hook
from tests.system import SECRET, System
from tests.unit.ingress.senders import SHA, push_body
from tests.unit.ingress.tokens import AUDIENCE, EC_KEY, Issuer, an_issuer, github_claims, jwk, token
from tests.waiting import until

URL = "/listener/oidc/global/ci"
CONDITIONS = {"repository": "Acme/*", "ref": "refs/heads/main", "environment": "production"}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with an_issuer() as issuer:
        yield issuer


@pytest.fixture
async def client(
    system: System, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """An ingress with a hook that trusts the issuer's jobs for the production of Acme's main branches."""
    monkeypatch.setitem(PROVIDERS, "oidc", Oidc(Keys(http_on_loopback=True)))
    options = {"issuer": issuer.url, "audience": AUDIENCE, "claims": CONDITIONS}
    async with system.store.begin() as db:
        await hooks.add(db, a_hook("ci", "a secret that nobody uses", provider="oidc", options=options))
    async with system.ingress(
        database_url=SecretStr(system.database_url),
        secret_key=SecretStr(KEY),
        hooks_file=str(tmp_path / "hooks.json"),
        hooks_interval=0.1,
    ) as client:
        await until((tmp_path / "hooks.json").exists)
        yield client


def job(issuer: Issuer, **changes: Any) -> bytes:
    """The token of a new job, made now."""
    return token(github_claims(clock.now(), **{"iss": issuer.url, "jti": str(uuid4()), **changes}))


async def post(client: httpx.AsyncClient, shown: bytes, body: object = None, url: str = URL) -> httpx.Response:
    headers = {"Authorization": f"Bearer {shown.decode()}"}
    return await client.post(url, json={} if body is None else body, headers=headers)


async def on_ci(system: System) -> None:
    """Let a procedure wait for CI."""
    waiting = a_procedure("after-ci", [on_stack("RestartStack", "web")], trigger={"events": ["ci"]})
    async with system.store.begin() as db:
        await procedures.save(db, waiting, now=clock.now())


async def receipts(system: System, delivery: str, count: int) -> list[ReceiptOutcome]:
    async def are_there() -> bool:
        return len(await system.receipts(delivery)) == count

    await until(are_there)
    return [receipt.outcome for receipt in await system.receipts(delivery)]


async def test_a_job_with_nothing_but_its_token_starts_a_run_and_its_token_starts_only_one(
    system: System, client: httpx.AsyncClient, issuer: Issuer
) -> None:
    await on_ci(system)
    shown = job(issuer)
    async with system.worker():
        first = await post(client, shown, {"repository": "Eve/Infra", "ref": "refs/heads/eve"})
        delivery = first.json()["delivery"]
        (run,) = await system.ended_runs(delivery)
        again = await post(client, shown)
        outcomes = await receipts(system, delivery, 2)
        other = await post(client, job(issuer))
        await system.ended_runs(other.json()["delivery"])
    async with system.store.read() as db:
        (event,) = await deliveries.events_of(db, delivery)

    assert (first.status_code, again.status_code) == (202, 202)
    assert (run.procedure_name, run.state) == ("after-ci", RunState.SUCCEEDED)
    assert again.json()["delivery"] == delivery != other.json()["delivery"]
    assert outcomes == [ReceiptOutcome.MATCHED, ReceiptOutcome.DUPLICATE]
    assert system.core.history.ran("web") == 2
    assert (event.provider, event.kind, event.source_event) == ("oidc", Kind.CI, "push")
    assert (event.branch, event.commit, event.sender) == ("main", SHA, "nora")
    assert event.repository is not None
    assert event.repository.full_name == "Acme/Infra"
    assert shown.decode() not in str(event)


async def test_whatever_is_wrong_with_a_token_the_answer_is_one(client: httpx.AsyncClient, issuer: Issuer) -> None:
    good = job(issuer)
    wrong = [
        good[:-2] + b"AA",
        job(issuer, repository="Eve/Infra"),
        job(issuer, environment="staging"),
        job(issuer, aud="https://vault.example.com"),
        job(issuer, iss="https://token.actions.githubusercontent.com"),
        job(issuer, exp=1),
        token(github_claims(clock.now(), iss=issuer.url), EC_KEY),
        SECRET.encode(),
    ]
    with structlog.testing.capture_logs() as lines:
        answers = [await post(client, shown) for shown in wrong]
        answers.append(await client.post(URL, json={}))
        answers += [await post(client, good, url=f"/listener/oidc/global{name}") for name in ("", "/nobody")]
        accepted = await post(client, good)
        await until(lambda: any(line["event"] == "delivery_received" for line in lines))

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert accepted.status_code == 202
    assert issuer.fetched == 1
    assert not [shown for shown in (*wrong, good) if shown.rpartition(b".")[2].decode() in str(lines)]


async def test_a_new_key_of_the_issuer_is_fetched_when_it_is_first_used(
    client: httpx.AsyncClient, issuer: Issuer
) -> None:
    issuer.keys.append(jwk(EC_KEY, "k2"))
    claims = github_claims(clock.now(), iss=issuer.url)

    answer = await post(client, token(claims, EC_KEY, kid="k2"))

    assert answer.status_code == 202


async def test_an_issuer_that_is_slow_holds_up_no_other_sender(client: httpx.AsyncClient, issuer: Issuer) -> None:
    issuer.gate.clear()
    waiting = [asyncio.create_task(post(client, job(issuer))) for _ in range(5)]
    await until(lambda: issuer.fetched == 1)
    body = push_body()

    for _ in range(20):
        headers = signed_headers(body, SECRET, delivery=str(uuid4()))
        assert (await client.post("/listener/github/global", content=body, headers=headers)).status_code == 202

    assert not any(task.done() for task in waiting)
    issuer.gate.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [202] * 5
    assert issuer.fetched == 1


async def test_an_issuer_that_is_away_refuses_its_jobs_and_nobody_else(
    client: httpx.AsyncClient, issuer: Issuer
) -> None:
    issuer.status = 503
    body = push_body()

    refused = await post(client, job(issuer))
    pushed = await client.post("/listener/github/global", content=body, headers=signed_headers(body, SECRET))

    assert (refused.status_code, pushed.status_code) == (401, 202)


async def test_the_image_that_a_job_has_pushed_is_an_image_event(
    system: System, client: httpx.AsyncClient, issuer: Issuer
) -> None:
    async with system.worker():
        answer = await post(client, job(issuer), {"image": "ghcr.io/acme/web:1.2"})
        await receipts(system, answer.json()["delivery"], 1)
    async with system.store.read() as db:
        (event,) = await deliveries.events_of(db, answer.json()["delivery"])

    assert (event.kind, event.image and event.image.tag) == (Kind.IMAGE, "1.2")
    assert event.repository is not None
    assert event.repository.full_name == "Acme/Infra"
