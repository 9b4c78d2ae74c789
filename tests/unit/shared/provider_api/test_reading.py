"""What is made of a provider's answers, and of those that are none of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import clock
from shared.errors import KgwError, Permanent, RateLimited, Transient
from shared.provider_api import azure, bitbucket, client, gitea, github, gitlab
from shared.provider_api.client import ApiClient, Refused, query_of, quoted, sha

A, B = "a" * 40, "b" * 64
API = ApiClient(httpx.AsyncClient(trust_env=False), "git.example.com")

Parse = Callable[[Any], Mapping[str, str]]

BRANCHES: list[tuple[Parse, Any]] = [
    (github._branches, [{"name": "main", "commit": {"sha": A}}, {"name": "f/x", "commit": {"sha": B}}]),
    (gitlab._branches, [{"name": "main", "commit": {"id": A}}, {"name": "f/x", "commit": {"id": B}}]),
    (gitea._branches, [{"name": "main", "commit": {"id": A}}, {"name": "f/x", "commit": {"id": B}}]),
    (
        bitbucket._branches,
        {"values": [{"name": "main", "target": {"hash": A}}, {"name": "f/x", "target": {"hash": B}}]},
    ),
    (
        azure._branches,
        {
            "value": [
                {"name": "refs/heads/main", "objectId": A},
                {"name": "refs/heads/f/x", "objectId": B},
                {"name": "refs/tags/main", "objectId": B},
            ]
        },
    ),
]
MODULES = [parse.__module__.rpartition(".")[2] for parse, _ in BRANCHES]


@pytest.mark.parametrize(("parse", "body"), BRANCHES, ids=MODULES)
def test_branches_are_read_with_their_heads(parse: Parse, body: Any) -> None:
    assert parse(body) == {"main": A, "f/x": B}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "commit", "sha", "id", "value", "values", "target"]), inner)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("parse", [*(parse for parse, _ in BRANCHES), github._hooks, github._attempts])
@given(body=JSON)
def test_whatever_else_is_json_is_the_providers_failure_and_not_ours(parse: Callable[[Any], Any], body: Any) -> None:
    with suppress(Transient):
        API.parsed(parse, body)


async def test_what_is_not_the_providers_names_who_said_it() -> None:
    with pytest.raises(Transient, match=r"git\.example\.com answered with other JSON"):
        API.parsed(github._branches, {"status": "maintenance"})


@pytest.mark.parametrize("value", ["", "main", A[:-1], A.upper(), A + "\n", 5, None, ["a"]])
def test_what_is_no_commit_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not a commit id"):
        sha(value)


def test_a_path_leads_nowhere_else() -> None:
    assert quoted("acme/a b?c#d%2f..") == "acme/a%20b%3Fc%23d%252f.."


def test_of_the_next_pages_address_only_the_query_counts() -> None:
    assert query_of("https://elsewhere.example.com/other?page=2&per_page=5") == {"page": "2", "per_page": "5"}
    assert query_of(None) is None


ANSWERS = [
    (401, {}, Refused),
    (403, {}, Permanent),
    (403, {"x-ratelimit-remaining": "0"}, RateLimited),
    (403, {"x-ratelimit-remaining": "7"}, Permanent),
    (403, {"retry-after": "60"}, RateLimited),
    (404, {}, Permanent),
    (301, {"location": "https://elsewhere.example.com"}, Permanent),
    (302, {"location": "/login"}, Permanent),
    (408, {}, Transient),
    (410, {}, Permanent),
    (422, {}, Permanent),
    (429, {}, RateLimited),
    (500, {}, Transient),
    (502, {}, Transient),
    (503, {"retry-after": "1"}, Transient),
]


@pytest.mark.parametrize(("status", "headers", "error"), ANSWERS)
def test_every_no_is_one_of_our_errors(status: int, headers: dict[str, str], error: type[KgwError]) -> None:
    found = client._refusal("git.example.com", httpx.Response(status, headers=headers))

    assert type(found) is error
    assert "git.example.com" in found.reason


def test_how_long_to_wait_is_told_in_seconds_as_a_date_or_as_the_limits_end() -> None:
    soon = clock.now() + timedelta(minutes=5)
    told = [
        client._retry_after({"retry-after": "300"}),
        client._retry_after({"retry-after": format_datetime(soon.astimezone(UTC), usegmt=True)}),
        client._retry_after({"x-ratelimit-reset": str(int(soon.timestamp()))}),
        client._retry_after({"ratelimit-reset": str(int(soon.timestamp()))}),
    ]

    assert all(seconds is not None and 290 < seconds <= 301 for seconds in told)
    assert client._retry_after({}) is None
    assert client._retry_after({"retry-after": "soon"}) is None
    assert client._retry_after({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}) == 0.0


def test_attempts_are_read_as_github_lists_them() -> None:
    # https://docs.github.com/rest/repos/webhooks#list-deliveries-for-a-repository-webhook
    body = orjson.loads(
        """[{"id": 12345678, "guid": "0b989ba4-242f-11e5-81e1-c7b6966d2516", "delivered_at": "2026-11-03T00:57:16Z",
        "redelivery": false, "duration": 0.27, "status": "OK", "status_code": 200, "event": "push", "action": null,
        "installation_id": null, "repository_id": 456, "throttled_at": null}]"""
    )

    (attempt,) = github._attempts(body)

    assert (attempt.id, attempt.guid) == (12345678, "0b989ba4-242f-11e5-81e1-c7b6966d2516")
    assert (attempt.event, attempt.status_code) == ("push", 200)
    assert attempt.delivered_at == datetime(2026, 11, 3, 0, 57, 16, tzinfo=UTC)
