"""Which URL means what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Scope

from ingress.answer import Outcome
from ingress.providers import PROVIDERS
from ingress.receive import Address
from ingress.routes import application, resolve
from shared.event import GlobalListener, ProcedureListener, StackListener
from tests.unit.ingress.senders import Ingress, github, push_body

FOUND = {
    b"/listener/github/global": Address("github", "global", GlobalListener()),
    b"/listener/gogs/global": Address("gogs", "global", GlobalListener()),
    b"/listener/gitlab/global/team": Address("gitlab", "team", GlobalListener()),
    b"/listener/github/procedure/home/main": Address("github", "global", ProcedureListener(name="home", branch="main")),
    b"/listener/github/procedure/my%20home/feature%2Fx": Address(
        "github", "global", ProcedureListener(name="my home", branch="feature/x")
    ),
    b"/listener/gitea/procedure/a%252Fb/%C3%BC": Address(
        "gitea", "global", ProcedureListener(name="a%2Fb", branch="ü")
    ),
    b"/listener/github/procedure/global/__ANY__": Address(
        "github", "global", ProcedureListener(name="global", branch="__ANY__")
    ),
    b"/listener/forgejo/stack/web/deploy": Address("forgejo", "global", StackListener(name="web", execution="deploy")),
    b"/listener/forgejo/stack/web/refresh": Address(
        "forgejo", "global", StackListener(name="web", execution="refresh")
    ),
}

UNKNOWN = [
    b"/listener/",
    b"/listener/github",
    b"/listener/github/",
    b"/listener/github/global/",
    b"/listener/github/global/a/b",
    b"/listener/svn/global",
    b"/listener/GitHub/global",
    b"/listener/github/procedure/home",
    b"/listener/github/procedure//main",
    b"/listener/github/procedure/home/feature/x",
    b"/listener/github/stack/web/destroy",
    b"/listener/github/repo/web/pull",
    b"/listener/github/procedure/%ff/main",
    b"/listener/github/procedure/a%00b/main",
    b"/listener/github/procedure/a%0ab/main",
    b"/listener/github/procedure/" + b"a" * 256 + b"/main",
    b"/listener//github/global",
]


@pytest.mark.parametrize(("path", "address"), FOUND.items())
def test_a_listener_url_means_one_address(path: bytes, address: Address) -> None:
    assert resolve(path) == address


@pytest.mark.parametrize("path", UNKNOWN)
async def test_any_other_path_below_listener_is_404(path: bytes) -> None:
    ingress = Ingress()
    body = push_body()

    assert resolve(path) is None
    assert (await ingress.post(path.decode(), body, github(body))).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_405_and_told_which_is_right(method: str) -> None:
    answer = await Ingress().send("/listener/github/global", [], method=method)

    assert (answer.status, answer.headers[b"allow"]) == (405, b"POST")


@pytest.mark.parametrize("query", [b"stack=web", b"branch=", b"x", b"%00=1", b"\xff=1", b"server=a&type=docker"])
async def test_a_filter_that_nothing_acts_on_is_refused(query: bytes) -> None:
    ingress = Ingress()
    body = push_body()

    answer = await ingress.send(
        "/listener/github/global", github(body), {"type": "http.request", "body": body}, query=query
    )

    assert answer.status == 400
    assert ingress.events == []
    assert ingress.receipts[0].outcome is Outcome.UNKNOWN_PARAMETER


async def test_the_filters_of_the_global_url_travel_with_the_event_and_are_a_place_of_their_own() -> None:
    ingress, body = Ingress(), push_body()
    for query in (b"", b"server=prod-1&server=prod-2&stack_name=w*"):
        await ingress.send("/listener/github/global", github(body), {"type": "http.request", "body": body}, query=query)

    plain, filtered = ingress.events

    assert plain.listener == GlobalListener()
    assert filtered.listener == GlobalListener(filters={"server": "prod-1,prod-2", "name": "w*"})
    assert plain.delivery_id != filtered.delivery_id


@pytest.mark.parametrize("path", ["/listener/github/stack/web/deploy", "/listener/github/procedure/web/main"])
async def test_only_the_global_url_takes_filters(path: str) -> None:
    ingress, body = Ingress(), push_body()

    answer = await ingress.send(path, github(body), {"type": "http.request", "body": body}, query=b"server=a")

    assert (answer.status, ingress.events) == (400, [])


async def test_everything_else_is_handed_on_with_start_and_stop() -> None:
    handed: list[Any] = []

    async def elsewhere(scope: Any, _: Any, __: Any) -> None:
        handed.append((scope["type"], scope.get("path")))

    async def unused() -> Message:
        raise AssertionError("nothing is read here")

    async def send(_: Message) -> None:
        raise AssertionError("nothing is sent here")

    app = application(Ingress().desk, elsewhere=elsewhere, observe=lambda *_: None)
    scopes: list[Scope] = [
        {"type": "lifespan"},
        {"type": "http", "path": "/healthz"},
        {"type": "http", "path": "/listener", "raw_path": b"/listener"},
    ]
    for scope in scopes:
        await app(scope, unused, send)

    assert handed == [("lifespan", None), ("http", "/healthz"), ("http", "/listener")]


async def test_a_server_that_gives_no_raw_path_is_served_from_the_decoded_one() -> None:
    ingress = Ingress()
    sent: list[Message] = []

    async def chunks() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/listener/github/procedure/my home/main",
        "query_string": b"",
        "headers": [],
    }
    await ingress.app(scope, chunks, send)

    assert sent[0]["status"] == 401


@given(st.binary(max_size=100), st.sampled_from(sorted(PROVIDERS)))
def test_any_path_means_something_or_nothing(rest: bytes, auth: str) -> None:
    address = resolve(f"/listener/{auth}/".encode() + rest)

    assert address is None or address.auth == auth
