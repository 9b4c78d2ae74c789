"""The registry "distribution", and whoever sends its envelope."""

from typing import Any

import orjson
import pytest

from ingress.providers.images import NO_IMAGE, NO_PUSH, UNTAGGED
from ingress.providers.push import DELETION
from ingress.providers.registry import NOT_AN_IMAGE
from tests.unit.ingress.providers.registries import DIGEST, MANIFEST, identify, names, notification, read, reasons
from tests.unit.ingress.senders import SECRET, Ingress, authorized

URL = "/listener/registry/global"


def envelope(*events: Any) -> dict[str, Any]:
    return {"events": list(events)}


def test_a_pushed_tag_has_the_host_that_the_client_asked() -> None:
    (facts,) = read("registry", envelope(notification()))

    assert names((facts,)) == ["registry.acme.example:5000/acme/shop:1"]
    assert facts["image"] is not None
    assert facts["image"].digest == DIGEST
    assert (facts["sender"], facts["repository"]) == ("nora", None)


def test_of_the_pushes_of_one_image_only_the_one_with_a_tag_counts() -> None:
    """Twenty layers, a manifest without a tag and the tag: a registry tells of each."""
    layers = [notification(target={"mediaType": "application/octet-stream", "tag": None})] * 20

    facts = read("registry", envelope(*layers, notification(target={"tag": None}), notification()))

    assert names(facts) == ["registry.acme.example:5000/acme/shop:1"]
    assert len(facts) == 1


def test_each_pushed_tag_of_an_envelope_is_an_event() -> None:
    facts = read("registry", envelope(*(notification(target={"tag": tag}) for tag in ("1", "2", "1"))))

    assert [name.rpartition(":")[2] for name in names(facts)] == ["1", "2", "1"]


@pytest.mark.parametrize(
    "media",
    [
        MANIFEST,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    ],
)
def test_every_kind_of_manifest_is_an_image(media: str) -> None:
    assert len(names(read("registry", envelope(notification(target={"mediaType": media}))))) == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (notification(target={"mediaType": "application/octet-stream"}), NOT_AN_IMAGE),
        (notification(target={"mediaType": None}), NOT_AN_IMAGE),
        (notification(target={"mediaType": [MANIFEST]}), NOT_AN_IMAGE),
        (notification(target={"tag": None}), UNTAGGED),
        (notification(target={"tag": ""}), UNTAGGED),
        (notification(target={"repository": 7}), NO_IMAGE),
        (notification(request={"host": ""}), NO_IMAGE),
        (notification(request=None), NO_IMAGE),
        (notification(action="pull"), NO_PUSH),
        (notification(action="mount"), NO_PUSH),
        (notification(action=["push"]), NO_PUSH),
        (notification(action="delete"), DELETION),
        (7, NO_PUSH),
    ],
)
def test_what_is_no_pushed_tag_is_ignored_with_a_reason(event: Any, reason: str) -> None:
    assert reasons(read("registry", envelope(event))) == [reason]
    assert reasons(read("registry", envelope(event, notification()))) == []


@pytest.mark.parametrize("events", [None, 7, {}, []])
def test_an_envelope_without_events_is_ignored(events: object) -> None:
    assert reasons(read("registry", {"events": events})) == [NO_IMAGE]
    assert identify("registry", {"events": events}).source_event == "events"


def test_an_envelope_that_is_sent_again_has_the_same_id() -> None:
    one, two = notification(id="1"), notification(id="2")

    assert identify("registry", envelope(one)).delivery_id == "1"
    assert identify("registry", envelope(one, two)).delivery_id == identify("registry", envelope(one, two)).delivery_id
    assert len({identify("registry", envelope(*events)).delivery_id for events in ([one], [two], [one, two])}) == 3
    assert identify("registry", envelope(one, notification(id=None))).delivery_id is None


@pytest.mark.parametrize("version", [b"v1", b"v2"])
async def test_the_registrys_own_media_type_is_accepted(version: bytes) -> None:
    ingress = Ingress()
    media = b"application/vnd.docker.distribution.events." + version + b"+json"

    answered = await ingress.post(URL, orjson.dumps(envelope(notification())), authorized("Bearer " + SECRET, media))

    assert answered.status == 202
    assert ingress.events[0].provider_delivery_id == "6df24a34"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"7", b"\xff", b"[" * 5_000, b"NaN", b'{"events": 7}'])
async def test_whatever_is_authentic_is_taken_so_that_the_registry_goes_on(raw: bytes) -> None:
    ingress = Ingress()

    answered = await ingress.post(URL, raw, authorized(SECRET))

    assert (answered.status, answered.json()["status"]) == (200, "ignored")
    assert len(ingress.events) == 1


async def test_what_is_not_authentic_is_not_taken() -> None:
    ingress = Ingress()

    assert (await ingress.post(URL, orjson.dumps(envelope(notification())), authorized("Bearer x"))).status == 401
    assert ingress.events == []
