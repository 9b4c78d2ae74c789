"""Every error of the API is a problem (RFC 9457) that says enough for a person and nothing for an attacker."""

from __future__ import annotations

import httpx
import pytest

from shared.store.engine import Store, StoreUnreachable
from tests.unit.console.asking import TOKEN, FailingStore, client_of, settings_with

LOGIN = {"X-Api-Key": TOKEN}
ID = "0198f3a0-0000-7000-8000-000000000000"


def assert_problem(answer: httpx.Response, status: int) -> None:
    """It has the form of one, and nothing of a stack trace."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, "about:blank")
    assert problem["title"]
    assert problem["detail"]
    for word in ("Traceback", 'File "', ".py", "SELECT", TOKEN):
        assert word not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", f"/api/v1/runs/{ID}", 404),
        ("GET", f"/api/v1/runs/{ID}/events", 404),
        ("GET", f"/api/v1/deliveries/{ID}", 404),
        ("GET", "/api/v1/runs/%00", 404),
        ("GET", "/api/v1/runs/%ff", 404),
        ("GET", "/api/v1/deliveries/" + "x" * 5000, 404),
        ("POST", "/api/v1/runs", 405),
        ("DELETE", f"/api/v1/deliveries/{ID}", 405),
        ("GET", "/api/v1/runs?limit=0", 422),
        ("GET", "/api/v1/runs?limit=201", 422),
        ("GET", "/api/v1/deliveries?limit=many", 422),
        ("GET", "/api/v1/runs?before=yesterday", 422),
        ("GET", "/api/v1/runs?before=2026-03-01T12:00:00", 422),
        ("GET", "/api/v1/deliveries?before=²", 422),
        ("GET", "/api/v1/deliveries?before=" + "9" * 40 + ".x", 422),
        ("GET", f"/api/v1/runs/{ID}?trace=perhaps", 422),
    ],
)
async def test_what_can_not_be_answered_is_a_problem(method: str, path: str, status: int, sqlite_store: Store) -> None:
    async with client_of(sqlite_store, settings_with(), **LOGIN) as client:
        assert_problem(await client.request(method, path), status)


async def test_a_wrong_parameter_is_named(sqlite_store: Store) -> None:
    async with client_of(sqlite_store, settings_with(), **LOGIN) as client:
        answer = await client.get("/api/v1/runs?limit=0")

    assert answer.json()["detail"].startswith("limit: ")


@pytest.mark.parametrize("path", ["/api/v1/runs", f"/api/v1/runs/{ID}", "/api/v1/deliveries"])
async def test_a_store_that_is_away_is_503_with_a_time_to_come_back(path: str) -> None:
    store = FailingStore(StoreUnreachable())
    async with client_of(store, settings_with(), **LOGIN) as client:
        answer = await client.get(path)

    assert_problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_defect_is_500_and_tells_only_its_kind() -> None:
    store = FailingStore(RuntimeError("password=Xk7fQ2mZ9wLr in /srv/kgw/secrets"))
    async with client_of(store, settings_with(), **LOGIN) as client:
        answer = await client.get("/api/v1/runs")

    assert_problem(answer, 500)
    assert "RuntimeError" in answer.text
    assert "Xk7fQ2mZ9wLr" not in answer.text
    assert "/srv" not in answer.text
