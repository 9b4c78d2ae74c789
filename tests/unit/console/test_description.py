"""What the console says of itself: its OpenAPI description, and no page that needs others' servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from console import auth
from console.app import application
from console.context import Context
from console.follow import Following
from shared.settings import ConsoleSettings
from shared.store.engine import open_store


@pytest.fixture
async def app(sqlite_url: str) -> AsyncIterator[FastAPI]:
    async with open_store(sqlite_url) as store:
        settings = ConsoleSettings(api_token=SecretStr("a token of the tests"))
        yield application(Context(store, Following()), auth.guard(settings))


async def get(app: FastAPI, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
        return await client.get(path)


def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    return {path: methods["get"] for path, methods in app.openapi()["paths"].items()}


async def test_every_route_is_described_with_its_login_and_its_problems(app: FastAPI) -> None:
    found = operations(app)

    assert set(found) == {
        "/api/v1/deliveries",
        "/api/v1/deliveries/{delivery_id}",
        "/api/v1/deliveries/{delivery_id}/explanation",
        "/api/v1/deliveries/{delivery_id}/events",
        "/api/v1/runs",
        "/api/v1/runs/{run_id}",
        "/api/v1/runs/{run_id}/events",
    }
    for operation in found.values():
        assert {name for each in operation["security"] for name in each} == {"HTTPBearer", "APIKeyHeader"}
        for status in ("401", "404", "422", "503"):
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]


async def test_streams_are_described_as_server_sent_events(app: FastAPI) -> None:
    for path, operation in operations(app).items():
        kind = "text/event-stream" if path.endswith("/events") else "application/json"
        assert list(operation["responses"]["200"]["content"]) == [kind]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_there_is_no_page_that_loads_what_others_serve(app: FastAPI, path: str) -> None:
    assert (await get(app, path)).status_code == 404


async def test_the_description_is_served(app: FastAPI) -> None:
    assert (await get(app, "/openapi.json")).json()["openapi"].startswith("3.1")
