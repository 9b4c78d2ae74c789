"""What senders are answered over real HTTP: as the table in `ingress.answer` says, and never 5xx while the broker is there (I8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from pydantic import SecretStr
from pytest_asyncio import fixture

from demo.processes import free_port
from demo.sender import signed_headers
from ingress import app
from ingress.spool import OFF
from shared.broker.topology import Names
from shared.settings import IngressSettings
from tests.conftest import delete_topology
from tests.system import SECRET, until

# One ingress answers them all.
pytestmark = pytest.mark.asyncio(loop_scope="module")

GLOBAL = "/listener/github/global"
PUSH = orjson.dumps(
    {
        "ref": "refs/heads/main",
        "before": "a" * 40,
        "after": "b" * 40,
        "repository": {"id": 1, "full_name": "acme/infra", "clone_url": "https://github.com/acme/infra.git"},
        "commits": [],
    }
)

_CLIENTS = IPv4Network("198.18.0.0/15").hosts()


@dataclass(frozen=True)
class Request:
    """A request and the answer that it must get; `headers` replace those of a well-formed push."""

    status: int
    told: str | None = None
    body: bytes = PUSH
    headers: Mapping[str, str | bytes | None] = field(default_factory=dict)
    event: str = "push"
    path: str = GLOBAL
    method: str = "POST"

    def arguments(self) -> dict[str, Any]:
        """As httpx takes it."""
        # Each from a client of its own: what is answered must not hang on how many were refused before it.
        signed: dict[str, Any] = {
            "X-Forwarded-For": str(next(_CLIENTS)),
            **signed_headers(self.body, SECRET, event=self.event),
            **self.headers,
        }
        headers = [(name, value) for name, value in signed.items() if value is not None]
        return {"method": self.method, "url": self.path, "content": self.body, "headers": headers}


def nested(depth: int) -> bytes:
    return b'{"ref": "refs/heads/main", "deep": ' + b"[" * depth + b"]" * depth + b"}"


ROWS: dict[str, Request] = {
    "a push": Request(202, "queued"),
    "a push without a repository": Request(202, "queued", b'{"ref": "refs/heads/main"}'),
    "a push that says nothing": Request(200, "ignored", b"{}"),
    "a ping": Request(200, "pong", b'{"zen": "Keep it simple."}', event="ping"),
    "a push whose fields have the wrong types": Request(
        200, "ignored", b'{"ref": 7, "commits": {"a": 1}, "repository": [null], "after": true, "sender": "x"}'
    ),
    "an event that nobody knows": Request(202, "queued", b"{}", event="something_new"),
    "a wrong signature": Request(401, "unauthorized", headers={"X-Hub-Signature-256": "sha256=" + "0" * 64}),
    "a signature of another body": Request(401, "unauthorized", headers=signed_headers(PUSH + b" ", SECRET)),
    "no signature": Request(401, "unauthorized", headers={"X-Hub-Signature-256": None}),
    "an empty signature": Request(401, "unauthorized", headers={"X-Hub-Signature-256": ""}),
    "a signature that is no hex": Request(401, "unauthorized", headers={"X-Hub-Signature-256": "sha256=zz"}),
    "a signature beyond ASCII": Request(401, "unauthorized", headers={"X-Hub-Signature-256": b"sha256=\xff\xfe\xe9"}),
    "the older signature alone": Request(
        401, "unauthorized", headers={"X-Hub-Signature-256": None, "X-Hub-Signature": "sha1=" + "0" * 40}
    ),
    "an unknown hook": Request(401, "unauthorized", path="/listener/github/global/nobody"),
    "a token beyond ASCII": Request(
        401, "unauthorized", path="/listener/gitlab/global", headers={"X-Gitlab-Token": b"\xc3\x28\xff"}
    ),
    "another content type": Request(415, "unsupported media type", headers={"Content-Type": "text/xml"}),
    "no content type": Request(415, "unsupported media type", headers={"Content-Type": None}),
    "a compressed body": Request(415, "unsupported content encoding", headers={"Content-Encoding": "gzip"}),
    "no JSON": Request(400, "invalid body", b"{ref"),
    "an empty body": Request(400, "invalid body", b""),
    "bytes that are no text": Request(400, "invalid body", b'{"ref": "\xff"}'),
    "half of a surrogate pair": Request(400, "invalid body", b'{"ref": "\\ud800"}'),
    "JSON that is nested 10 000 deep": Request(400, "invalid body", nested(10_000)),
    "JSON that is nested 1 000 deep": Request(202, "queued", nested(1_000)),
    "JSON that is no object": Request(200, "ignored", b"[1]"),
    "a number without end": Request(400, "invalid body", b'{"ref": 1e99999999}'),
    "too long a body": Request(413, "too large", b"{" + b" " * 70_000 + b"}"),
    "too long headers": Request(431, "headers too large", headers={"X-Long": "x" * 20_000}),
    "another method": Request(405, "method not allowed", method="PUT"),
    "a filter that is none": Request(400, "unknown parameter", path=f"{GLOBAL}?deploy=all"),
    "an unknown sender": Request(404, "not found", path="/listener/nobody/global"),
    "an unknown path": Request(404, "not found", path="/listener/github/everything/web/now"),
    "a path that climbs": Request(404, "not found", path="/listener/github/stack/..%2f..%2fetc/passwd"),
    "a path beyond UTF-8": Request(404, "not found", path="/listener/github/stack/%ff%fe/deploy"),
    "a repository whose URL is none": Request(
        202,
        "queued",
        b'{"ref": "refs/heads/main", "repository": {"full_name": "a/b", "clone_url": "javascript:alert(1)"}}',
    ),
}


@fixture(scope="module", loop_scope="module")
async def ingress(amqp_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingress that takes bodies of up to 64 KiB."""
    names, stop = Names(f"t{uuid4().hex[:10]}."), asyncio.Event()
    settings = IngressSettings(
        amqp_url=SecretStr(amqp_url),
        amqp_prefix=names.prefix,
        ingress_port=free_port(),
        webhook_secret=SecretStr(SECRET),
        max_body_bytes=64 * 1024,
        trusted_proxies="127.0.0.1",
        spool=OFF,
    )
    async with (
        asyncio.TaskGroup() as group,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.ingress_port}") as client,
    ):
        group.create_task(app.run(settings, stop))
        await until(partial(is_up, client), "the ingress answers")
        yield client
        stop.set()
    await delete_topology(amqp_url, names)


async def is_up(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("request_", ROWS.values(), ids=ROWS)
async def test_every_request_has_its_answer(ingress: httpx.AsyncClient, request_: Request) -> None:
    answer = await ingress.request(**request_.arguments())

    assert answer.status_code == request_.status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["status"] == request_.told
    assert ("delivery" in answer.json()) == answer.is_success


async def test_an_unknown_hook_and_a_wrong_signature_are_answered_alike(ingress: httpx.AsyncClient) -> None:
    unknown = await ingress.request(**ROWS["an unknown hook"].arguments())
    wrong = await ingress.request(**ROWS["a wrong signature"].arguments())

    assert unknown.content == wrong.content
    assert sorted(unknown.headers) == sorted(wrong.headers)


async def test_the_same_delivery_has_the_same_id_however_often_it_comes(ingress: httpx.AsyncClient) -> None:
    headers = signed_headers(PUSH, SECRET, delivery=str(uuid4()))

    answers = [(await ingress.post(GLOBAL, content=PUSH, headers=headers)).json() for _ in range(3)]

    assert len({answer["delivery"] for answer in answers}) == 1


async def test_a_body_without_a_length_is_cut_off_where_it_becomes_too_long(ingress: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 16_384
            await asyncio.sleep(0)

    headers = signed_headers(b"", SECRET)
    try:
        answer = await ingress.post(GLOBAL, content=endless(), headers=headers)
    except httpx.TransportError:
        # The answer may be lost with the connection that the sender kept writing to.
        assert sent < 1_000
    else:
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")


async def test_a_body_in_chunks_is_taken(ingress: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(PUSH), 50):
            yield PUSH[start : start + 50]

    answer = await ingress.post(GLOBAL, content=chunks(), headers=signed_headers(PUSH, SECRET))

    assert answer.status_code == 202


RAW: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "a body that ends too early": (b"Content-Length: 4000\r\n\r\n{}", (b"",)),
    "two lengths": (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", (b"400",)),
    "a length and chunks": (b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (b"400",)),
    "a length that is none": (b"Content-Length: two\r\n\r\n{}", (b"400",)),
    "a negative length": (b"Content-Length: -2\r\n\r\n{}", (b"400",)),
    "chunks that are none": (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", (b"", b"400")),
}


@pytest.mark.parametrize(("rest", "statuses"), RAW.values(), ids=RAW)
async def test_a_body_whose_end_is_not_clear_is_not_taken(
    ingress: httpx.AsyncClient, rest: bytes, statuses: tuple[bytes, ...]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ingress.base_url.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed_headers(b"{}", SECRET).items())
    writer.write(f"POST {GLOBAL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}".encode() + rest)
    writer.write_eof()
    async with asyncio.timeout(15):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    status = answer.split(b" ")[1] if answer else b""
    assert status in statuses, answer
    assert (await ingress.request(**ROWS["a push"].arguments())).status_code == 202


async def test_many_senders_at_once_are_all_answered(ingress: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(ingress.request(**row.arguments()) for row in ROWS.values() for _ in range(4)))

    assert {answer.status_code for answer in answers} == {row.status for row in ROWS.values()}
