"""Harbor, in both of its formats."""

from typing import Any

import pytest

from ingress.providers.images import NO_IMAGE, NO_PUSH, UNTAGGED
from ingress.providers.push import DELETION
from tests.unit.ingress.providers.registries import DIGEST, OTHER, identify, names, read, reasons


def resource(tag: Any = "1", **changes: Any) -> dict[str, Any]:
    return {"digest": DIGEST, "tag": tag, "resource_url": f"harbor.acme.example/acme/shop:{tag}"} | changes


def body(*resources: Any, kind: str = "PUSH_ARTIFACT") -> dict[str, Any]:
    return {"type": kind, "occur_at": 1793614800, "operator": "ci", "event_data": {"resources": list(resources)}}


def cloud_event(*resources: Any, kind: str = "harbor.artifact.pushed") -> dict[str, Any]:
    data = {"resources": list(resources)}
    return {
        "specversion": "1.0",
        "id": "66e18103",
        "source": "/projects/2",
        "type": kind,
        "operator": "ci",
        "data": data,
    }


@pytest.mark.parametrize("document", [body(resource()), cloud_event(resource()), body(resource(), kind="pushImage")])
def test_a_pushed_artifact_has_host_tag_and_digest_in_each_format(document: dict[str, Any]) -> None:
    (facts,) = read("harbor", document)

    assert names((facts,)) == ["harbor.acme.example/acme/shop:1"]
    assert facts["image"] is not None
    assert facts["image"].digest == DIGEST
    assert facts["sender"] == "ci"
    assert facts["repository"] is None


def test_a_harbor_artifact_whose_tag_is_its_digest_is_ignored() -> None:
    """The parts of a multi-platform image come like that, before the image itself."""
    part = resource(tag=OTHER, digest=OTHER, resource_url=f"harbor.acme.example/acme/shop@{OTHER}")

    assert reasons(read("harbor", body(part))) == [UNTAGGED]
    assert names(read("harbor", body(part, resource()))) == ["harbor.acme.example/acme/shop:1"]


def test_each_resource_is_an_event() -> None:
    assert names(read("harbor", body(resource("1"), resource("2")))) == [
        "harbor.acme.example/acme/shop:1",
        "harbor.acme.example/acme/shop:2",
    ]


def test_only_the_cloud_event_has_an_id() -> None:
    assert identify("harbor", cloud_event(resource())).delivery_id == "66e18103"
    assert identify("harbor", body(resource()) | {"id": "66e18103"}).delivery_id is None


@pytest.mark.parametrize(
    "kind", ["PULL_ARTIFACT", "SCANNING_COMPLETED", "QUOTA_EXCEED", "REPLICATION", "harbor.scan.completed"]
)
@pytest.mark.parametrize("form", [body, cloud_event])
def test_other_news_of_harbor_is_ignored(form: Any, kind: str) -> None:
    assert reasons(read("harbor", form(resource(), kind=kind))) == [NO_PUSH]


@pytest.mark.parametrize(
    "document", [body(resource(), kind="DELETE_ARTIFACT"), cloud_event(resource(), kind="harbor.artifact.deleted")]
)
def test_a_deletion_in_harbor_starts_nothing(document: dict[str, Any]) -> None:
    (facts,) = read("harbor", document)

    assert facts["deleted"]
    assert facts["ignored"] == DELETION


@pytest.mark.parametrize("url", [None, 7, "", "shop:1", "https://harbor.acme.example/acme/shop:1"])
def test_without_a_host_there_is_no_image(url: object) -> None:
    assert reasons(read("harbor", body(resource(resource_url=url)))) == [NO_IMAGE]


@pytest.mark.parametrize("data", [None, 7, [], {}, {"resources": {}}, {"resources": []}])
def test_a_push_without_resources_is_ignored(data: object) -> None:
    assert reasons(read("harbor", {"type": "PUSH_ARTIFACT", "event_data": data})) == [NO_IMAGE]
