"""One request in, one outcome out: nothing is published that is not authentic and whole, and everything that is."""

import asyncio
from typing import Any
from urllib.parse import quote_plus

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from ingress.answer import Outcome
from ingress.receive import MAX_HEADER_BYTES
from shared.event import Kind, ProcedureListener, StackListener
from tests.unit.ingress.senders import (
    OLD_SECRET,
    SECRET,
    SHA,
    Ingress,
    Pairs,
    family,
    github,
    gitlab,
    hex_hmac,
    push_body,
)

GLOBAL = "/listener/github/global"
JSON = [(b"content-type", b"application/json")]
FORM = b"application/x-www-form-urlencoded"


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_push_is_published_and_then_answered_202() -> None:
    ingress = Ingress(public_url="https://kgw.example")
    body = push_body()

    answer = await ingress.post(GLOBAL, body, github(body))

    (event,) = ingress.events
    assert answer.status == 202
    assert answer.json() == {
        "status": "queued",
        "delivery": event.delivery_id,
        "events": 1,
        "status_url": f"https://kgw.example/api/v1/deliveries/{event.delivery_id}",
    }
    assert (event.kind, event.branch, event.provider, event.hook) == (Kind.PUSH, "main", "github", "global")
    assert event.repository is not None
    assert event.repository.key == "github.com/acme/app"
    assert event.payload is None


async def test_a_receipt_says_what_the_log_needs_and_no_secret() -> None:
    ingress = Ingress()
    body = push_body()

    await ingress.post(GLOBAL, body, github(body, secret=OLD_SECRET))

    (receipt,) = ingress.receipts
    assert (receipt.outcome, receipt.provider, receipt.source_event) == (Outcome.QUEUED, "github", "push")
    assert (receipt.provider_delivery_id, receipt.secret_index, receipt.events) == ("7e1f1c0a", 1, 1)
    assert receipt.took is not None
    assert SECRET not in repr(receipt)
    assert OLD_SECRET not in repr(receipt)


async def test_the_senders_retry_has_the_same_ids_but_a_receipt_of_its_own() -> None:
    ingress = Ingress()
    body = push_body()

    for _ in range(2):
        await ingress.post(GLOBAL, body, github(body))

    first, second = ingress.events
    assert (first.id, first.delivery_id) == (second.id, second.delivery_id)
    assert first.receipt_id != second.receipt_id


async def test_one_id_sent_to_two_urls_is_two_deliveries() -> None:
    """GitHub's delivery id is shared by all hooks that an event is sent to."""
    ingress = Ingress()
    body = push_body()
    paths = [
        GLOBAL,
        "/listener/github/procedure/web/main",
        "/listener/github/procedure/web/next",
        "/listener/github/stack/web/deploy",
    ]

    for path in paths:
        await ingress.post(path, body, github(body))

    assert len({event.delivery_id for event in ingress.events}) == len(paths)


async def test_a_delivery_without_an_id_is_new_every_time() -> None:
    ingress = Ingress()
    body = push_body()
    headers = [pair for pair in github(body) if pair[0] != b"x-github-delivery"]

    for _ in range(2):
        await ingress.post(GLOBAL, body, headers)

    first, second = ingress.events
    assert first.delivery_id != second.delivery_id
    assert first.provider_delivery_id is None


@pytest.mark.parametrize(
    ("event", "body", "status", "told", "kind"),
    [
        ("ping", {"zen": "x"}, 200, {"status": "pong"}, Kind.PING),
        ("issues", {"action": "opened"}, 202, {"status": "queued"}, Kind.CUSTOM),
        (
            "push",
            {"ref": "refs/heads/main", "after": "0" * 40},
            200,
            {"status": "ignored", "reason": "a deletion never deploys"},
            Kind.PUSH,
        ),
        (
            "push",
            {"ref": "refs/heads/gh-readonly-queue/main/pr-1", "after": SHA},
            200,
            {"status": "ignored", "reason": "a merge queue's branch is temporary"},
            Kind.PUSH,
        ),
        ("push", {"ref": 7}, 200, {"status": "ignored", "reason": "the push names no valid ref"}, Kind.CUSTOM),
        ("push", [], 200, {"status": "ignored", "reason": "the body is not a JSON object"}, Kind.CUSTOM),
        ("push", "text", 200, {"status": "ignored", "reason": "the body is not a JSON object"}, Kind.CUSTOM),
        ("push", None, 200, {"status": "ignored", "reason": "the body is not a JSON object"}, Kind.CUSTOM),
    ],
)
async def test_whatever_is_authentic_and_parseable_is_published(
    event: str, body: Any, status: int, told: dict[str, str], kind: Kind
) -> None:
    ingress = Ingress()
    raw = orjson.dumps(body)

    answer = await ingress.post(GLOBAL, raw, github(raw, event))

    (published,) = ingress.events
    assert answer.status == status
    assert answer.json() == told | {"delivery": published.delivery_id, "events": 1}
    assert published.kind is kind
    assert published.ignored == told.get("reason")


async def test_a_request_whose_event_no_header_names_is_ignored_at_the_global_url() -> None:
    ingress = Ingress()
    body = push_body()
    headers = [pair for pair in github(body) if pair[0] != b"x-github-event"]

    answer = await ingress.post(GLOBAL, body, headers)

    assert (answer.status, answer.json()["reason"]) == (200, "no header names the event")
    assert ingress.events[0].ignored == "no header names the event"


INVALID_JSON = {
    "empty": b"",
    "cut": b'{"ref": "refs/heads/main"',
    "not a number": b'{"ref": NaN}',
    "infinite": b'{"x": 1e999}',
    "invalid utf-8": b'{"ref": "\xff"}',
    "lone surrogate": b'{"ref": "\\ud800"}',
    "too deep": b"[" * 10_000,
    "too deep but closed": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "byte order mark": b"\xef\xbb\xbf{}",
    "form": b"payload=%7B%7D",
}


@pytest.mark.parametrize("body", INVALID_JSON.values(), ids=INVALID_JSON.keys())
async def test_what_is_authentic_but_no_json_is_the_senders_fault(body: bytes) -> None:
    ingress = Ingress()

    answer = await ingress.post(GLOBAL, body, github(body))

    assert (answer.status, answer.json()["status"]) == (400, "invalid body")
    assert ingress.events == []


ODD_JSON = {
    "huge integer": b'{"ref": "refs/heads/main", "id": ' + b"9" * 300 + b"}",
    "duplicate key": b'{"ref": "refs/heads/other", "ref": "refs/heads/main"}',
    "deep inside": b'{"ref": "refs/heads/main", "x": ' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "nul": b'{"ref": "refs/heads/main", "sender": {"login": "a\\u0000b"}}',
}


@pytest.mark.parametrize("body", ODD_JSON.values(), ids=ODD_JSON.keys())
async def test_odd_json_is_read_like_any_other(body: bytes) -> None:
    ingress = Ingress()

    answer = await ingress.post(GLOBAL, body, github(body))

    assert answer.status == 202
    assert ingress.events[0].branch == "main"


async def test_an_unknown_hook_and_a_bad_signature_get_the_same_answer() -> None:
    ingress = Ingress()
    body = push_body()

    bad = await ingress.post(GLOBAL, body, github(body, secret="x" * 32))
    unknown = await ingress.post("/listener/github/global/nobody", body, github(body))
    unsigned = await ingress.post(GLOBAL, body, [*JSON, (b"x-github-event", b"push")])

    assert bad.sent == unknown.sent == unsigned.sent
    assert bad.status == 401
    assert ingress.events == []


async def test_a_stranger_learns_nothing_of_what_is_wrong_with_the_json() -> None:
    ingress = Ingress()

    answer = await ingress.post(GLOBAL, b"{", github(b"{", secret="x"))

    assert answer.status == 401


async def test_a_broker_that_is_away_is_answered_503_with_a_time_to_come_back() -> None:
    ingress = Ingress(broken=True)
    body = push_body()

    answer = await ingress.post(GLOBAL, body, github(body))

    assert answer.status == 503
    assert answer.headers[b"retry-after"] == b"30"
    assert "delivery" not in answer.json()


@pytest.mark.parametrize(
    ("media", "status"),
    [
        (b"application/json", 202),
        (b"application/json; charset=utf-8", 202),
        (b"Application/JSON", 202),
        (b"application/vnd.github+json", 202),
        (b"text/plain", 415),
        (b"", 415),
        (b"application/jsonp", 415),
        (b"\xff\xfe", 415),
        (b"multipart/form-data; boundary=x", 415),
    ],
)
async def test_the_global_url_takes_json(media: bytes, status: int) -> None:
    ingress = Ingress()
    body = push_body()
    headers = [(b"content-type", media), *github(body)[1:]]

    assert (await ingress.post(GLOBAL, body, headers)).status == status


async def test_a_missing_or_double_content_type_is_415() -> None:
    ingress = Ingress()
    body = push_body()

    assert (await ingress.post(GLOBAL, body, github(body)[1:])).status == 415
    assert (await ingress.post(GLOBAL, body, JSON + github(body))).status == 415


@pytest.mark.parametrize("auth", ["github", "gitea"])
async def test_forms_are_read_from_their_payload(auth: str) -> None:
    ingress = Ingress()
    body = push_body(sender={"login": "a & b + ü"})
    form = b"payload=" + quote_plus(body).encode()
    headers = github(form) if auth == "github" else family("gitea", body)

    answer = await ingress.post(f"/listener/{auth}/global", form, [(b"content-type", FORM), *headers[1:]])

    assert answer.status == 202
    assert ingress.events[0].sender == "a & b + ü"


async def test_gitlab_sends_no_forms() -> None:
    ingress = Ingress()

    answer = await ingress.post("/listener/gitlab/global", b"payload=%7B%7D", [(b"content-type", FORM), *gitlab()[1:]])

    assert answer.status == 415


@pytest.mark.parametrize(
    "form",
    [
        b"other=1",
        b"payload=%7B%7D&payload=%7B%7D",
        b"payload=%7B%7D&%70ayload=1",
        b"a=1&b=2&c=3&d=4&payload=%7B%7D",
        b"payload",
    ],
)
async def test_a_form_without_exactly_one_payload_is_invalid(form: bytes) -> None:
    ingress = Ingress()

    answer = await ingress.post(GLOBAL, form, [(b"content-type", FORM), *github(form)[1:]])

    assert answer.status == 400
    assert ingress.events == []


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"deflate", b"gzip, identity", b""])
async def test_an_encoded_body_is_415(encoding: bytes) -> None:
    ingress = Ingress()
    body = push_body()

    assert (await ingress.post(GLOBAL, body, [*github(body), (b"content-encoding", encoding)])).status == 415


async def test_the_identity_encoding_is_none() -> None:
    ingress = Ingress()
    body = push_body()

    assert (await ingress.post(GLOBAL, body, [*github(body), (b"content-encoding", b"Identity")])).status == 202


async def test_a_body_at_the_cap_is_taken_and_one_byte_more_is_not() -> None:
    body = push_body()
    ingress = Ingress(max_body_bytes=len(body))
    longer = body + b" "

    assert (await ingress.post(GLOBAL, body, github(body))).status == 202
    assert (await ingress.post(GLOBAL, longer, github(longer))).status == 413


async def test_a_body_over_the_cap_is_refused_before_it_is_read() -> None:
    ingress = Ingress(max_body_bytes=1024)

    answer = await ingress.send(GLOBAL, [*github(b""), (b"content-length", b"1025")])

    assert answer.status == 413


async def test_a_chunked_body_is_read_to_the_cap_and_no_further() -> None:
    ingress = Ingress(max_body_bytes=1024)
    endless = [part(b"x" * 500, more=True)] * 3

    answer = await ingress.send(GLOBAL, [*github(b""), (b"transfer-encoding", b"chunked")], *endless)

    assert answer.status == 413


async def test_a_chunked_body_is_put_together() -> None:
    ingress = Ingress()
    body = push_body()

    answer = await ingress.send(
        GLOBAL,
        [*github(body), (b"transfer-encoding", b"chunked")],
        part(body[:10], more=True),
        part(b"", more=True),
        part(body[10:]),
    )

    assert answer.status == 202


LENGTHS: dict[str, Pairs] = {
    "negative": [(b"content-length", b"-1")],
    "signed": [(b"content-length", b"+5")],
    "words": [(b"content-length", b"ten")],
    "empty": [(b"content-length", b"")],
    "fraction": [(b"content-length", b"1.0")],
    "list": [(b"content-length", b"5, 5")],
    "endless": [(b"content-length", b"9" * 5_000)],
    "twice": [(b"content-length", b"5"), (b"content-length", b"5")],
    "not ascii": [(b"content-length", "٣".encode())],
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
async def test_bad_framing_is_refused_before_anything_else(lengths: Pairs) -> None:
    ingress = Ingress()
    body = push_body()

    assert (await ingress.send(GLOBAL, [*github(body), *lengths], part(body))).status == 400
    assert ingress.events == []


async def test_a_right_length_beside_chunked_encoding_is_refused_too() -> None:
    ingress = Ingress()
    body = push_body()

    answer = await ingress.post(GLOBAL, body, [*github(body), (b"transfer-encoding", b"chunked")])

    assert answer.status == 400
    assert ingress.events == []


@pytest.mark.parametrize("declared", [-1, 1])
async def test_a_body_of_another_length_than_declared_is_refused(declared: int) -> None:
    ingress = Ingress()
    body = push_body()

    answer = await ingress.send(
        GLOBAL, [*github(body), (b"content-length", b"%d" % (len(body) + declared))], part(body)
    )

    assert answer.status == 400
    assert ingress.events == []


async def test_a_sender_that_goes_away_in_the_middle_has_sent_nothing() -> None:
    ingress = Ingress()
    body = push_body()

    answer = await ingress.send(GLOBAL, github(body), part(body, more=True))

    assert answer.sent == []
    assert ingress.events == []
    assert ingress.receipts[0].outcome is Outcome.DISCONNECTED


async def test_a_sender_that_is_too_slow_is_answered_408() -> None:
    ingress = Ingress(read_seconds=0.01)
    sent: list[Message] = []

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": GLOBAL,
        "raw_path": GLOBAL.encode(),
        "query_string": b"",
        "headers": github(b""),
    }
    await ingress.app(scope, never, send)

    assert sent[0]["status"] == 408


async def test_headers_beyond_the_cap_are_refused() -> None:
    ingress = Ingress()
    body = push_body()

    assert (await ingress.post(GLOBAL, body, [*github(body), (b"x-filler", b"x" * MAX_HEADER_BYTES)])).status == 431


async def test_the_curl_of_komodos_documents_works_on_komodos_own_urls() -> None:
    """`curl -d` names the form content type, sends no event header and has no repository."""
    ingress = Ingress()
    headers = [(b"content-type", FORM), (b"x-gitlab-token", SECRET.encode())]

    deploy = await ingress.post("/listener/gitlab/stack/web-prod/deploy", b'{"ref":"refs/heads/main"}', headers)
    tagged = await ingress.post("/listener/gitlab/procedure/all/__ANY__", b'{"ref":"refs/tags/v1"}', headers)

    push, tag = ingress.events
    assert deploy.status == tagged.status == 202
    assert (push.kind, push.branch, push.repository) == (Kind.PUSH, "main", None)
    assert push.listener == StackListener(name="web-prod", execution="deploy")
    assert (tag.kind, tag.tag, tag.branch) == (Kind.TAG, "v1", None)
    assert tag.listener == ProcedureListener(name="all", branch="__ANY__")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"why": "because"}'])
async def test_a_request_by_hand_without_a_ref_is_kept_for_procedures_that_take_any(body: bytes) -> None:
    ingress = Ingress()
    headers = [(b"x-hub-signature-256", hex_hmac(body))]

    answer = await ingress.post("/listener/github/procedure/all/__ANY__", body, headers)

    assert answer.status == 202
    assert (ingress.events[0].kind, ingress.events[0].ignored) == (Kind.CUSTOM, None)


async def test_a_deletion_by_hand_is_a_deletion() -> None:
    ingress = Ingress()
    body = orjson.dumps({"ref": "refs/heads/main", "after": "0" * 40})

    await ingress.post("/listener/github/stack/web/deploy", body, [(b"x-hub-signature-256", hex_hmac(body))])

    assert ingress.events[0].deleted
    assert ingress.events[0].ignored


async def test_githubs_form_works_on_komodos_own_urls() -> None:
    ingress = Ingress()
    form = b"payload=" + quote_plus(push_body()).encode()

    answer = await ingress.post("/listener/github/stack/web/deploy", form, [(b"content-type", FORM), *github(form)[1:]])

    assert answer.status == 202
    assert ingress.events[0].branch == "main"


@pytest.mark.parametrize("name", ["gitea", "forgejo", "gogs"])
async def test_the_family_at_githubs_url_is_read_as_itself(name: str) -> None:
    ingress = Ingress()
    body = push_body()

    answer = await ingress.post(GLOBAL, body, family(name, body))

    assert answer.status == 202
    assert ingress.events[0].provider == name


async def test_gitlab_is_read_through_an_ordinary_client() -> None:
    ingress = Ingress()
    body = orjson.dumps(
        {"object_kind": "push", "ref": "refs/heads/main", "after": SHA, "project": {"path_with_namespace": "a/b"}}
    )
    transport = httpx.ASGITransport(app=ingress.app)

    async with httpx.AsyncClient(transport=transport, base_url="https://kgw.example") as client:
        response = await client.post(
            "/listener/gitlab/global",
            content=body,
            headers={"Content-Type": "application/json", "X-Gitlab-Token": SECRET, "X-Gitlab-Event": "Push Hook"},
        )

    assert response.status_code == 202
    assert ingress.events[0].provider == "gitlab"
    assert ingress.events[0].source_event == "Push Hook"


names = st.sampled_from(
    [name for name, _ in github(b"")] + [b"content-length", b"content-encoding", b"x-gitea-event", b"x-gitlab-token"]
)


@given(
    st.sampled_from(["github", "gitlab", "gitea", "forgejo", "gogs"]),
    st.sampled_from(["global", "global/x", "stack/web/deploy", "procedure/p/__ANY__"]),
    st.lists(st.tuples(names, st.binary(max_size=80)), max_size=8),
    st.lists(st.binary(max_size=50), min_size=1, max_size=3),
)
def test_any_request_of_a_stranger_ends_in_a_refusal(auth: str, place: str, headers: Pairs, parts: list[bytes]) -> None:
    ingress = Ingress()
    chunks = [part(body, more=index < len(parts) - 1) for index, body in enumerate(parts)]

    answer = asyncio.run(ingress.send(f"/listener/{auth}/{place}", headers, *chunks))

    assert answer.status is not None
    assert 400 <= answer.status < 500
    assert ingress.events == []


@given(st.binary(max_size=300), st.sampled_from(["push", "ping", "delete", "release", "x"]))
def test_any_authentic_bytes_are_published_or_called_invalid(body: bytes, event: str) -> None:
    ingress = Ingress()

    answer = asyncio.run(ingress.post(GLOBAL, body, github(body, event)))

    assert answer.status in {200, 202, 400}
    assert len(ingress.events) == (answer.status != 400)
