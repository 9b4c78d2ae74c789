"""Quay: several tags in one push, no id, no digest."""

from typing import Any

import orjson
import pytest

from ingress.providers.images import NO_IMAGE, UNTAGGED
from ingress.providers.quay import NO_TAGS
from tests.unit.ingress.providers.registries import identify, names, read, reasons
from tests.unit.ingress.senders import SECRET, Ingress


def body(**changes: Any) -> dict[str, Any]:
    return {"repository": "acme/shop", "docker_url": "quay.io/acme/shop", "updated_tags": ["1", "latest"]} | changes


def test_each_tag_of_a_push_is_an_event() -> None:
    facts = read("quay", body(updated_tags=[f"v{number}" for number in range(7)]))

    assert names(facts) == [f"quay.io/acme/shop:v{number}" for number in range(7)]
    assert reasons(facts) == []
    assert all(fact["repository"] is None for fact in facts)


async def test_all_of_them_are_published() -> None:
    ingress = Ingress()
    headers = [(b"content-type", b"application/json")]

    answered = await ingress.post(f"/listener/quay/global/global/{SECRET}", orjson.dumps(body()), headers)

    assert answered.json()["events"] == 2
    assert [event.image and event.image.tag for event in ingress.events] == ["1", "latest"]


def test_quay_gives_its_deliveries_no_id() -> None:
    assert identify("quay", body()).delivery_id is None


def test_the_host_of_an_own_quay_needs_no_dot() -> None:
    assert names(read("quay", body(docker_url="quay:8443/acme/shop", updated_tags=["1"]))) == ["quay:8443/acme/shop:1"]


def test_a_tag_that_is_named_twice_counts_once() -> None:
    assert names(read("quay", body(updated_tags=["1", "1"]))) == ["quay.io/acme/shop:1"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"updated_tags": None}, NO_TAGS),
        ({"updated_tags": "1"}, NO_TAGS),
        ({"updated_tags": []}, NO_IMAGE),
        ({"updated_tags": [7, None]}, NO_IMAGE),
        ({"updated_tags": ["a b", ""]}, UNTAGGED),
        ({"docker_url": None}, NO_IMAGE),
        ({"docker_url": "https://quay.io/acme/shop"}, NO_IMAGE),
    ],
)
def test_what_names_no_tag_of_an_image_is_ignored(changes: dict[str, Any], reason: str) -> None:
    assert reasons(read("quay", body(**changes))) == [reason]


def test_wrong_tags_do_not_hide_the_right_ones() -> None:
    assert names(read("quay", body(updated_tags=[7, "a b", "1", {}]))) == ["quay.io/acme/shop:1"]
