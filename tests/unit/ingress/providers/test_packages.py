"""Images among the packages of GitHub, Gitea and Forgejo."""

from typing import Any

import pytest

from ingress.providers.images import NO_IMAGE, UNTAGGED
from ingress.providers.provider import Facts
from ingress.providers.push import DELETION
from shared.event import Kind
from tests.unit.ingress.providers import registries
from tests.unit.ingress.providers.registries import DIGEST, OTHER, identify, names, reasons

REPOSITORY = {"full_name": "Acme/App", "clone_url": "https://github.com/Acme/App.git"}


def package(tag: Any = "1", url: Any = "ghcr.io/Acme/Shop:1", **changes: Any) -> dict[str, Any]:
    version = {"version": DIGEST, "name": DIGEST, "package_url": url, "container_metadata": {"tag": {"name": tag}}}
    found = {"name": "Shop", "namespace": "Acme", "package_type": "CONTAINER", "package_version": version}
    return {"action": "published", "package": found | changes}


def read(body: dict[str, Any], event: str = "package") -> tuple[Facts, ...]:
    return registries.read("github", body, x_github_event=event)


def test_an_upper_case_owner_becomes_lower_case() -> None:
    assert names(read(package())) == ["ghcr.io/acme/shop:1"]


def test_ghcrs_empty_tag_and_a_package_url_with_a_bare_colon_are_ignored() -> None:
    """So come the parts of a multi-platform image."""
    assert reasons(read(package(tag="", url="ghcr.io/Acme/Shop:"))) == [UNTAGGED]
    assert reasons(read(package(tag="", url="ghcr.io/Acme/Shop"))) == [UNTAGGED]
    assert reasons(read(package(tag=None, url=None))) == [UNTAGGED]


def test_the_tag_may_stand_in_either_place() -> None:
    assert names(read(package(tag="2", url="ghcr.io/Acme/Shop"))) == ["ghcr.io/acme/shop:2"]
    assert names(read(package(tag="", url="ghcr.io/Acme/Shop:3"))) == ["ghcr.io/acme/shop:3"]


@pytest.mark.parametrize("url", [None, 7, "", "https://ghcr.io/Acme/Shop:1"])
def test_without_a_package_url_the_name_is_made_of_its_parts(url: object) -> None:
    assert names(read(package(url=url))) == ["ghcr.io/acme/shop:1"]
    assert names(read(package(url=url, namespace=None, owner={"login": "Acme"}))) == ["ghcr.io/acme/shop:1"]
    assert names(read(package(url=url, name="shop/api"))) == ["ghcr.io/acme/shop/api:1"]
    assert reasons(read(package(url=url, namespace=None))) == [NO_IMAGE]


def test_an_enterprise_server_has_a_registry_of_its_own() -> None:
    assert names(read(package(url="containers.github.acme.example/Acme/Shop:1"))) == [
        "containers.github.acme.example/acme/shop:1"
    ]


def test_the_digest_of_the_tag_is_kept_and_a_malformed_one_is_not() -> None:
    body = package()
    version = body["package"]["package_version"]
    version["container_metadata"]["tag"]["digest"] = OTHER
    (tagged,) = read(body)
    version["container_metadata"]["tag"]["digest"] = "sha256:" + "4f" * 20
    (versioned,) = read(body)

    assert tagged["image"]
    assert tagged["image"].digest == OTHER
    assert versioned["image"]
    assert versioned["image"].digest == DIGEST


@pytest.mark.parametrize("event", ["package", "registry_package"])
@pytest.mark.parametrize(
    ("field", "kind"), [("package_type", "container"), ("ecosystem", "docker"), ("ecosystem", "CONTAINER")]
)
def test_both_events_and_both_names_of_the_type_are_read(event: str, field: str, kind: str) -> None:
    body = package(**{"package_type": "", field: kind})
    body[event] = body.pop("package")

    assert names(read(body, event)) == ["ghcr.io/acme/shop:1"]
    assert identify("github", body, x_github_event=event).provider == "ghcr"


@pytest.mark.parametrize("changes", [{"package_type": "npm"}, {"package_type": None}, {"package_type": ["container"]}])
def test_a_package_of_another_type_is_no_image(changes: dict[str, Any]) -> None:
    (facts,) = read(package(**changes))

    assert facts["kind"] is Kind.CUSTOM
    assert facts.get("image") is None
    assert identify("github", package(**changes), x_github_event="package").provider == "github"


def test_another_action_is_no_push_of_an_image() -> None:
    (facts,) = read(package() | {"action": "deleted"})

    assert facts["kind"] is Kind.CUSTOM
    assert names(read(package() | {"action": "updated"})) == ["ghcr.io/acme/shop:1"]


def test_the_repository_is_the_one_that_the_package_is_linked_to() -> None:
    (linked,), (unlinked,) = read(package() | {"repository": REPOSITORY}), read(package())

    assert linked["repository"] is not None
    assert linked["repository"].key == "github.com/acme/app"
    assert unlinked["repository"] is None


def test_an_event_that_is_no_package_stays_githubs() -> None:
    assert identify("github", package(), x_github_event="push").provider == "github"


def at_gitea(**changes: Any) -> dict[str, Any]:
    found = {
        "type": "container",
        "name": "Shop",
        "version": "1",
        "owner": {"login": "Acme"},
        "html_url": "https://git.acme.example:3000/Acme/-/packages/container/shop/1",
    }
    action = changes.pop("action", "created")
    return {"action": action, "package": found | changes, "repository": None}


def of_gitea(body: dict[str, Any], auth: str = "gitea") -> tuple[Facts, ...]:
    return registries.read(auth, body, x_gitea_event="", x_gitea_event_type="package")


@pytest.mark.parametrize("auth", ["gitea", "forgejo", "github"])
def test_an_instance_of_gitea_is_its_own_registry(auth: str) -> None:
    (facts,) = of_gitea(at_gitea(), auth)

    assert names((facts,)) == ["git.acme.example:3000/acme/shop:1"]
    assert facts["image"]
    assert facts["image"].digest is None
    assert facts["repository"] is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://git.acme.example:443/x", "git.acme.example"),
        ("http://git.acme.example:80/x", "git.acme.example"),
        ("http://git.acme.example:443/x", "git.acme.example:443"),
        ("https://user:pass@git.acme.example/x", "git.acme.example"),
        ("https://[2001:db8::1]:3000/x", "[2001:db8::1]:3000"),
        ("https://git.acme.example", "git.acme.example"),
    ],
)
def test_the_registrys_host_is_that_of_the_packages_page(url: str, host: str) -> None:
    assert names(of_gitea(at_gitea(html_url=url))) == [f"{host}/acme/shop:1"]


@pytest.mark.parametrize("url", [None, 7, "", "/Acme/-/packages", "ftp://git.acme.example/", "https://"])
def test_without_a_page_there_is_no_host_and_no_image(url: object) -> None:
    assert reasons(of_gitea(at_gitea(html_url=url))) == [NO_IMAGE]
    with_repository = at_gitea(html_url=url) | {
        "repository": REPOSITORY | {"html_url": "https://git.acme.example/Acme/App"}
    }
    assert names(of_gitea(with_repository)) == ["git.acme.example/acme/shop:1"]


def test_giteas_untagged_version_is_a_digest_and_ignored() -> None:
    (facts,) = of_gitea(at_gitea(version=DIGEST))

    assert facts["ignored"] == UNTAGGED
    assert facts["image"]
    assert (facts["image"].tag, facts["image"].digest) == (None, DIGEST)


def test_a_deleted_package_starts_nothing() -> None:
    (facts,) = of_gitea(at_gitea(action="deleted"))

    assert (facts["deleted"], facts["ignored"]) == (True, DELETION)


@pytest.mark.parametrize("changes", [{"type": "npm"}, {"type": None}, {"action": "renamed"}])
def test_other_news_of_giteas_packages_has_no_normal_form(changes: dict[str, Any]) -> None:
    (facts,) = of_gitea(at_gitea(**changes))

    assert facts["kind"] is Kind.CUSTOM
    assert facts.get("image") is None


@pytest.mark.parametrize("owner", [None, 7, {}, {"login": 7}, {"login": "a b"}])
def test_an_image_needs_an_owner(owner: object) -> None:
    assert reasons(of_gitea(at_gitea(owner=owner))) == [NO_IMAGE]
