"""Each provider's API by our side of it: pages, logging in, and every way to be told no."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.responses import JSONResponse, Response

from shared import clock
from shared.errors import KgwError, Permanent, RateLimited, Transient
from shared.provider_api.client import MAX_PAGES, TRIES, Refused
from shared.provider_api.github import GitHub
from shared.provider_api.opening import opened
from tests.integration.catchup.providers import HTML, KINDS, TOKEN, Delivery, Provider, served

SHAS = {name: f"{number:x}" * 40 for number, name in enumerate(("a", "main", "f/ü x", "z", "release/1.0"))}
PATHS = {"azure": "org/my proj/repo", "gitlab": "group/sub/app"}
HOSTS = {"gitea": "git.example.com", "forgejo": "codeberg.org"}


@pytest.fixture(params=KINDS)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    kind = str(request.param)
    async with served(Provider(kind, repositories={path_of(kind): dict(SHAS)})) as provider:
        yield provider


@pytest.fixture
async def github() -> AsyncIterator[Provider]:
    async with served(Provider("github", repositories={"acme/app": dict(SHAS)})) as provider:
        yield provider


def path_of(kind: str) -> str:
    return PATHS.get(kind, "acme/app")


async def heads(provider: Provider, *wanted: str, path: str | None = None, token: str = TOKEN) -> dict[str, str]:
    access = provider.access(host=HOSTS.get(provider.kind, ""), token=token)
    async with opened(access) as api:
        return await api.heads(path or path_of(provider.kind), frozenset(wanted))


async def test_heads_are_found_on_whichever_page_they_are(provider: Provider) -> None:
    assert await heads(provider, "main", "release/1.0", "f/ü x") == {
        name: SHAS[name] for name in ("main", "release/1.0", "f/ü x")
    }
    assert len(provider.asked) == 3


async def test_no_page_is_read_after_the_last_wanted_head(provider: Provider) -> None:
    assert await heads(provider, "main") == {"main": SHAS["main"]}
    assert len(provider.asked) == 1


async def test_a_branch_that_is_not_there_is_missing(provider: Provider) -> None:
    assert await heads(provider, "main", "gone") == {"main": SHAS["main"]}


async def test_a_repository_that_is_not_there_is_a_no_that_stays(provider: Provider) -> None:
    missing = "org/proj/other" if provider.kind == "azure" else "acme/other"
    with pytest.raises(Permanent, match="no such repository"):
        await heads(provider, "main", path=missing)

    assert len(provider.asked) == 1


async def test_i9_a_wrong_token_is_refused_once_and_not_repeated(provider: Provider) -> None:
    with pytest.raises(Refused) as caught:
        await heads(provider, "main", token="Xk7-another-token")

    assert "Xk7" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert len(provider.asked) == 1


NOES: list[tuple[Response, type[KgwError], int]] = [
    (JSONResponse({"message": "no"}, 403), Permanent, 1),
    (JSONResponse({"message": "limit"}, 403, {"x-ratelimit-remaining": "0"}), RateLimited, TRIES),
    (JSONResponse({"message": "limit"}, 429, {"retry-after": "3600"}), RateLimited, 1),
    (JSONResponse({"message": "limit"}, 429), RateLimited, TRIES),
    (JSONResponse({"message": "moved"}, 301, {"location": "http://elsewhere.invalid/x"}), Permanent, 1),
    (Response("<html>", 502, media_type="text/html"), Transient, TRIES),
    (JSONResponse({"message": "down"}, 503), Transient, TRIES),
    (HTML, Transient, TRIES),
    (Response("<html>sign in", 203, media_type="text/html"), Refused, 1),
    (JSONResponse({"status": "maintenance"}), Transient, 1),
    (Response(b"[" * 9_000_000), Transient, TRIES),
]


@pytest.mark.parametrize(("no", "error", "asked"), NOES, ids=lambda value: str(getattr(value, "status_code", "")))
async def test_every_no_is_tried_again_as_often_as_it_helps(
    github: Provider, no: Response, error: type[KgwError], asked: int
) -> None:
    github.always = no

    with pytest.raises(error) as caught:
        await heads(github, "main")

    assert type(caught.value) is error
    assert len(github.asked) == asked
    assert TOKEN not in caught.value.reason


async def test_what_passes_is_waited_for(provider: Provider) -> None:
    provider.faults = [JSONResponse({}, 503), JSONResponse({}, 429, {"retry-after": "0"})]

    assert await heads(provider, "main") == {"main": SHAS["main"]}


async def test_a_list_without_end_is_given_up(github: Provider) -> None:
    github.repositories["acme/app"] = {f"branch-{number}": "a" * 40 for number in range(2 * MAX_PAGES + 1)}

    with pytest.raises(Permanent, match="pages"):
        await heads(github, "main")

    assert len(github.asked) == MAX_PAGES


async def test_nobody_there_is_said_in_one_line() -> None:
    provider = Provider("github", url="http://127.0.0.1:1")
    with pytest.raises(Transient, match=r"github\.com does not answer"):
        await heads(provider, "main")


async def test_bitbucket_takes_an_api_token_with_its_user() -> None:
    async with served(Provider("bitbucket", repositories={"acme/app": dict(SHAS)})) as provider:
        with pytest.raises(Refused):
            async with opened(provider.access(user="ops@example.com")) as api:
                await api.heads("acme/app", frozenset({"main"}))


async def test_github_lists_attempts_down_to_an_instant_and_only_hooks_that_are_on(github: Provider) -> None:
    now = clock.now()
    github.deliveries = [
        Delivery(number, f"g{number}", now - number * (now - now.replace(year=2025)) / 10) for number in range(9)
    ]
    async with opened(github.access()) as api:
        assert isinstance(api, GitHub)
        hooks = await api.hooks("acme/app")
        found = await api.attempts("acme/app", hooks[-1], since=github.deliveries[2].at)

    assert [(hook.id, hook.url) for hook in hooks] == [(1, "https://ci.example.com/hook"), (7, github.hook_url)]
    assert [attempt.id for attempt in found] == [0, 1, 2]
    assert sum("deliveries" in asked for asked in github.asked) == 2
