"""Docker Hub: a hint without id and digest, from a URL that holds the secret."""

from typing import Any

import orjson
import pytest

from ingress.answer import Outcome
from ingress.providers.images import NO_IMAGE, UNTAGGED
from shared.event import Kind
from tests.unit.ingress.providers.registries import identify, names, read, reasons
from tests.unit.ingress.senders import SECRET, Ingress

JSON = [(b"content-type", b"application/json")]


def body(**changes: Any) -> dict[str, Any]:
    return {
        "callback_url": "https://registry.hub.docker.com/u/acme/shop/hook/2141/",
        "push_data": {"tag": "1", "pusher": "nora", "pushed_at": 1793614800} | changes.pop("push_data", {}),
        "repository": {"repo_name": "acme/shop", "repo_url": "https://hub.docker.com/r/acme/shop"},
    } | changes


def test_a_pushed_tag_has_no_digest_and_no_git_repository() -> None:
    (facts,) = read("dockerhub", body())

    assert facts["image"] is not None
    assert facts["image"].digest is None
    assert facts["repository"] is None
    assert names((facts,)) == ["docker.io/acme/shop:1"]


def test_an_official_image_is_in_the_library() -> None:
    assert names(read("dockerhub", body(repository={"repo_name": "nginx"}))) == ["docker.io/library/nginx:1"]


async def test_the_callback_url_is_not_kept() -> None:
    ingress = Ingress()

    answered = await ingress.post(f"/listener/dockerhub/global/global/{SECRET}", orjson.dumps(body()), JSON)

    assert answered.status == 202
    assert b"hook/2141" not in ingress.events[0].to_bytes()


def test_the_same_push_sent_again_has_the_same_id_however_its_time_is_written() -> None:
    first = identify("dockerhub", body(push_data={"pushed_at": 1793614800}))
    again = identify("dockerhub", body(push_data={"pushed_at": 1.7936148e9}, callback_url="another"))

    assert first.delivery_id == again.delivery_id == "acme/shop:1@1793614800"


@pytest.mark.parametrize(
    "changes",
    [{"tag": "2"}, {"pushed_at": 1793614801}, {"pushed_at": 1793614800.5}],
)
def test_another_push_has_another_id(changes: dict[str, Any]) -> None:
    found = identify("dockerhub", body(push_data=changes)).delivery_id

    assert found is not None
    assert found != identify("dockerhub", body()).delivery_id


@pytest.mark.parametrize("at", [None, True, "1793614800", [], 0, -1, 1e300, float("inf"), float("nan"), 10**400])
def test_without_a_time_there_is_no_id(at: object) -> None:
    assert identify("dockerhub", body(push_data={"pushed_at": at})).delivery_id is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"push_data": {"tag": None}}, UNTAGGED),
        ({"push_data": {"tag": 7}}, UNTAGGED),
        ({"repository": None}, NO_IMAGE),
        ({"repository": {"repo_name": ["a"]}}, NO_IMAGE),
    ],
)
def test_what_names_no_tag_of_an_image_is_ignored(changes: dict[str, Any], reason: str) -> None:
    assert reasons(read("dockerhub", body(**changes))) == [reason]


@pytest.mark.parametrize("auth", ["dockerhub", "quay"])
@pytest.mark.parametrize("token", ["", "/", f"/{SECRET}x", "/%ff", f"/{SECRET}/{SECRET}"])
async def test_without_the_token_in_the_url_nobody_gets_in(auth: str, token: str) -> None:
    ingress = Ingress()

    answered = await ingress.post(f"/listener/{auth}/global/global{token}", orjson.dumps(body()), JSON)

    assert answered.status in (401, 404)
    assert ingress.events == []


@pytest.mark.parametrize("auth", ["dockerhub", "quay"])
async def test_the_token_in_a_header_is_not_enough(auth: str) -> None:
    ingress = Ingress()
    headers = [*JSON, (b"authorization", SECRET.encode())]

    assert (await ingress.post(f"/listener/{auth}/global", orjson.dumps(body()), headers)).status == 401


async def test_the_token_is_in_no_receipt_and_no_event() -> None:
    ingress = Ingress()

    await ingress.post(f"/listener/dockerhub/global/global/{SECRET}", orjson.dumps(body()), JSON)

    assert ingress.receipts[0].outcome is Outcome.QUEUED
    assert ingress.events[0].kind is Kind.IMAGE
    assert SECRET not in repr(ingress.receipts) + repr(ingress.events)
