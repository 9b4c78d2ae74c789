"""
The table of error bodies and status codes, row by row, over real HTTP.
"""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from demo.core.accounts import Limiter
from demo.core.serve import Core
from tests.unit.demo.conftest import Komodo


@pytest.fixture
def more() -> dict[str, list[dict[str, Any]]]:
    stack_reader = {"key": "K_reader_K", "secret": "S_reader_S", "all": {"Stack": "Read"}}
    return {
        "user": [
            {"username": "reader", **stack_reader},
            {"username": "disabled", "key": "K_off_K", "secret": "S_off_S", "enabled": False},
            {"username": "expired", "key": "K_old_K", "secret": "S_old_S", "expires": 1},
            {
                "username": "granted",
                "key": "K_one_K",
                "secret": "S_one_S",
                "permissions": [{"kind": "Stack", "name": "blog", "level": "Execute"}],
            },
        ]
    }


async def ask(core: Core, headers: dict[str, str], path: str = "/read/GetVersion") -> httpx.Response:
    async with httpx.AsyncClient(base_url=core.url) as http:
        return await http.post(path, json={}, headers=headers)


def keys(key: str, secret: str) -> dict[str, str]:
    return {"X-Api-Key": key, "X-Api-Secret": secret}


LOGINS: dict[str, tuple[dict[str, str], int, str]] = {
    "no credentials": ({}, 401, "Invalid client credentials"),
    "unknown key": (keys("K_x_K", "S_x_S"), 401, "Invalid user credentials | You have 4 attempts remaining"),
    "wrong secret": (keys("K_reader_K", "S_x_S"), 401, "Invalid user credentials | You have 4 attempts remaining"),
    "expired key": (keys("K_old_K", "S_old_S"), 401, "Invalid user credentials | You have 4 attempts remaining"),
    "disabled user": (keys("K_off_K", "S_off_S"), 401, "Invalid user credentials | You have 4 attempts remaining"),
    "a token": ({"Authorization": "Bearer x"}, 500, "Invalid user credentials"),
    "key alone": ({"X-Api-Key": "K_x_K"}, 500, "Request headers have X-API-KEY but missing X-API-SECRET"),
    "address with a port": (
        {**keys("K_reader_K", "S_reader_S"), "X-Forwarded-For": "198.51.100.7:443"},
        401,
        "invalid IP address syntax",
    ),
}


@pytest.mark.parametrize(("headers", "status", "error"), LOGINS.values(), ids=LOGINS.keys())
async def test_a_login_that_fails_says_so_as_komodo_does(
    core: Core, headers: dict[str, str], status: int, error: str
) -> None:
    response = await ask(core, headers)

    assert response.status_code == status
    assert response.json() == {"error": error, "trace": []}
    assert response.headers["content-type"] == "application/json"


async def test_after_five_failures_even_the_right_key_gets_429(komodo: Komodo) -> None:
    wrong = keys("K_x_K", "S_x_S")
    answers = [(await ask(komodo.core, wrong)).json()["error"] for _ in range(5)]

    response = await komodo.post("read", "GetVersion")

    assert [answer.split()[6] for answer in answers] == ["4", "3", "2", "1", "0"]
    assert response.status_code == 429
    assert response.json()["error"].startswith("Too many attempts | Try again in ")


async def test_another_client_address_is_not_locked_out(komodo: Komodo) -> None:
    for _ in range(5):
        await ask(komodo.core, keys("K_x_K", "S_x_S"))

    response = await ask(komodo.core, {**komodo.core.headers, "X-Forwarded-For": "198.51.100.7, 10.0.0.1"})

    assert response.status_code == 200


async def test_the_limiter_can_be_off(core: Core) -> None:
    core.knobs.auth_rate_limit = False

    answers = [await ask(core, keys("K_x_K", "S_x_S")) for _ in range(7)]

    assert {answer.json()["error"] for answer in answers} == {"Invalid user credentials"}


def test_the_limiter_lets_in_again_when_the_failures_leave_the_window() -> None:
    limiter = Limiter()
    for second in range(5):
        limiter.fail("ip", now=second, attempts=5, window=15)

    waits = [limiter.retry_in("ip", now=now, attempts=5, window=15) for now in (4, 14.8, 15)]

    assert waits == [11, 1, None]


async def test_checking_a_secret_costs_what_the_knob_says(komodo: Komodo) -> None:
    komodo.core.knobs.auth_cost_ms = 60
    began = time.monotonic()

    await komodo.read("GetVersion")

    assert time.monotonic() - began >= 0.06


async def test_a_disabled_user_may_still_ask_who_it_is(core: Core) -> None:
    async with httpx.AsyncClient(base_url=core.url, headers=keys("K_off_K", "S_off_S")) as http:
        response = await http.get("/user")

    assert response.status_code == 200
    assert (response.json()["username"], response.json()["enabled"]) == ("disabled", False)


REFUSALS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "no such stack": ("read", "GetStack", {"stack": "x"}, "Did not find any Stack matching x"),
    "an id is no name": ("read", "GetStack", {"stack": "a" * 24}, f"Did not find any Stack matching {'a' * 24}"),
    "empty name": ("read", "GetStack", {"stack": ""}, "Cannot find Stack with empty name / id"),
    "no such update": ("read", "GetUpdate", {"id": "0" * 24}, "no update exists with given id"),
    "no such tag in a query": ("read", "ListStacks", {"query": {"tags": ["x"]}}, "No tag found matching name or id: x"),
    "no such tag in a batch": (
        "execute",
        "BatchDeployStack",
        {"pattern": "*", "tags": ["x"]},
        "No tag found matching name or id: x",
    ),
    "bad regex": ("execute", "BatchDeployStack", {"pattern": r"\(\ "}, "Regex matching string invalid"),
    "look-ahead": ("execute", "BatchDeployStack", {"pattern": "\\(?!a)\\"}, "Regex matching string invalid"),
    "bad wildcard": ("execute", "BatchDeployStack", {"pattern": r"a\b"}, "Wildcard matching string invalid"),
    "missing param": ("execute", "DeployStack", {"id": "web"}, "missing field `stack`"),
    "wrong type": ("execute", "DeployStack", {"stack": 5}, "invalid type: integer `5`, expected a string"),
}


@pytest.mark.parametrize(("area", "variant", "params", "error"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_refusal_is_a_500_with_komodos_text(
    komodo: Komodo, area: str, variant: str, params: dict[str, Any], error: str
) -> None:
    response = await komodo.post(area, variant, **params)

    assert response.status_code == 500
    assert response.json()["error"] == error


async def test_reading_without_the_right_is_a_500(core: Core) -> None:
    headers = keys("K_one_K", "S_one_S")
    async with httpx.AsyncClient(base_url=core.url, headers=headers) as http:
        response = await http.post("/read/GetStack", json={"stack": "web"})

    assert response.status_code == 500
    assert (
        response.json()["error"]
        == "User does not have required permissions on this Stack. Must have at least Read permissions"
    )


async def test_lists_and_batches_silently_leave_out_what_the_user_has_no_right_to(core: Core) -> None:
    headers = keys("K_one_K", "S_one_S")
    async with httpx.AsyncClient(base_url=core.url, headers=headers) as http:
        listed = (await http.post("/read/ListStacks", json={})).json()
        started = (await http.post("/execute/BatchDeployStack", json={"pattern": "*"})).json()

    assert [item["name"] for item in listed] == ["blog"]
    assert len(started) == 1


async def test_an_unknown_variant_is_500_by_path_and_422_by_type(komodo: Komodo) -> None:
    by_path = await komodo.post("read", "Nonsense")
    by_type = await komodo.http.post("/read", json={"type": "Nonsense", "params": {}})

    assert by_path.status_code == 500
    assert by_path.json()["error"].startswith("unknown variant `Nonsense`, expected one of `GetVersion`")
    assert by_type.status_code == 422
    assert by_type.json()["error"].startswith("Failed to deserialize the JSON body into the target type: unknown")


async def test_both_forms_of_a_request_answer_alike(komodo: Komodo) -> None:
    by_path = await komodo.http.post("/read/GetVersion", json={})
    by_type = await komodo.http.post("/read", json={"type": "GetVersion", "params": {}})

    assert by_path.json() == by_type.json() == {"version": "2.3.2"}


BODIES: dict[str, tuple[str, bytes, str | None, int]] = {
    "params missing": ("/read", b'{"type":"GetVersion"}', "application/json", 422),
    "malformed": ("/read/GetVersion", b"{", "application/json", 400),
    "empty": ("/read/GetVersion", b"", "application/json", 400),
    "no content type": ("/read/GetVersion", b"{}", None, 415),
    "form": ("/read/GetVersion", b"a=b", "application/x-www-form-urlencoded", 415),
    "json with charset": ("/read/GetVersion", b"{}", "application/json; charset=utf-8", 200),
    "unknown fields": ("/read/GetVersion", b'{"what":1}', "application/json", 200),
    "just two mebibytes": ("/read/GetVersion", b'{"a":"' + b"x" * (2**21 - 8) + b'"}', "application/json", 200),
    "one byte more": ("/read/GetVersion", b'{"a":"' + b"x" * (2**21 - 7) + b'"}', "application/json", 413),
}


@pytest.mark.parametrize(("path", "body", "content_type", "status"), BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_does_not_fit_has_its_status(
    komodo: Komodo, path: str, body: bytes, content_type: str | None, status: int
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    response = await komodo.http.post(path, content=body, headers=headers)

    assert response.status_code == status


ROUTES = [
    ("GET", "/nowhere", 404, "text/html"),
    ("GET", "/stacks/web", 404, "text/html"),
    ("GET", "/_sim/history", 404, "text/html"),
    ("POST", "/nowhere", 405, "text/plain"),
    ("PUT", "/read/GetVersion", 405, "text/plain"),
    ("GET", "/read/GetVersion", 405, "text/plain"),
    ("POST", "/version", 405, "text/plain"),
]


@pytest.mark.parametrize(("method", "path", "status", "content_type"), ROUTES)
async def test_an_unknown_get_is_the_html_page_and_other_methods_are_405(
    komodo: Komodo, method: str, path: str, status: int, content_type: str
) -> None:
    response = await komodo.http.request(method, path)

    assert response.status_code == status
    assert response.headers["content-type"] == content_type


async def test_a_lone_backslash_in_a_pattern_drops_the_connection(komodo: Komodo) -> None:
    with pytest.raises(httpx.TransportError):
        await komodo.post("execute", "BatchDeployStack", pattern="\\")
