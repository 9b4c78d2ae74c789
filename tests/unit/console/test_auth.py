"""Who may ask the console."""

from __future__ import annotations

import hmac

import pytest
from pydantic import SecretStr

from console import auth
from shared.errors import Misconfigured
from shared.store.engine import Store
from tests.unit.console.asking import TOKEN, client_of, settings_with

PATHS = ("/api/v1/deliveries", "/api/v1/deliveries/x", "/api/v1/runs", "/api/v1/runs/x", "/api/v1/runs/x/events")
NONE = SecretStr("")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])  # noqa: S104
def test_without_a_token_the_console_is_not_reachable_from_elsewhere(address: str) -> None:
    with pytest.raises(Misconfigured, match=r"^KGW_API_TOKEN is not set"):
        auth.guard(settings_with(api_token=NONE, console_bind_ip=address))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
async def test_without_a_token_this_machine_may_ask(address: str, sqlite_store: Store) -> None:
    async with client_of(sqlite_store, settings_with(api_token=NONE, console_bind_ip=address)) as client:
        assert (await client.get("/api/v1/runs")).status_code == 200


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5"])  # noqa: S104
def test_with_a_token_the_console_may_listen_anywhere(address: str) -> None:
    assert auth.guard(settings_with(console_bind_ip=address)) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer {TOKEN}"},
        {"X-Api-Key": TOKEN},
        {"Authorization": "Basic a2d3Omtndw==", "X-Api-Key": TOKEN},
    ],
)
async def test_whoever_has_the_token_may_ask(headers: dict[str, str], sqlite_store: Store) -> None:
    async with client_of(sqlite_store, settings_with(), **headers) as client:
        assert (await client.get("/api/v1/runs")).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN.lower()}"},
        {"Authorization": "Bearer wrong", "X-Api-Key": TOKEN},
        {"X-Api-Key": ""},
        {"X-Api-Key": "wrong"},
    ],
)
async def test_whoever_has_not_is_answered_401(path: str, headers: dict[str, str], sqlite_store: Store) -> None:
    async with client_of(sqlite_store, settings_with(), **headers) as client:
        answer = await client.get(path)

    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["status"] == 401
    assert TOKEN not in answer.text


@pytest.mark.parametrize("token", ["schlüssel-schlüssel", "猫" * 12])
async def test_a_token_that_is_not_ascii_works_as_utf_8(token: str, sqlite_store: Store) -> None:
    async with client_of(sqlite_store, settings_with(api_token=SecretStr(token))) as client:
        right = await client.get("/api/v1/runs", headers={b"Authorization": b"Bearer " + token.encode()})
        wrong = await client.get("/api/v1/runs", headers={b"Authorization": b"Bearer " + token[1:].encode()})

    assert (right.status_code, wrong.status_code) == (200, 401)


async def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, sqlite_store: Store) -> None:
    compared = []
    compare = hmac.compare_digest

    def noting(one: bytes, other: bytes) -> bool:
        compared.append({one, other})
        return compare(one, other)

    monkeypatch.setattr("console.auth.hmac.compare_digest", noting)
    async with client_of(sqlite_store, settings_with(), **{"X-Api-Key": "wrong"}) as client:
        await client.get("/api/v1/runs")

    assert compared == [{b"wrong", TOKEN.encode()}]
