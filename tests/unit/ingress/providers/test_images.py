"""One form for each image's name, and what of a delivery counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers import images
from ingress.providers.images import MAX_IMAGES, TOO_MANY, counting, from_text, image, not_pushed, pushed
from shared.event import Image

DIGEST = "sha256:" + "4f" * 32


@pytest.mark.parametrize("host", ["docker.io", "Docker.IO", "index.docker.io", "registry-1.docker.io", ""])
def test_docker_hub_has_one_name(host: str) -> None:
    assert image(host, "acme/shop") == Image(registry="docker.io", name="acme/shop")


@pytest.mark.parametrize(
    ("host", "name", "full"),
    [
        ("docker.io", "nginx", "docker.io/library/nginx"),
        ("docker.io", "library/nginx", "docker.io/library/nginx"),
        ("acme.azurecr.io", "shop", "acme.azurecr.io/shop"),
        ("GHCR.io", "Acme/Shop", "ghcr.io/acme/shop"),
        ("registry.acme.example:5000", "a/b/c", "registry.acme.example:5000/a/b/c"),
        ("registry", "a", "registry/a"),
        ("[2001:db8::1]:5000", "a", "[2001:db8::1]:5000/a"),
        ("docker.io", "a/b_c.d-e__f", "docker.io/a/b_c.d-e__f"),
    ],
)
def test_host_and_repository_are_in_lower_case_and_a_port_stays(host: str, name: str, full: str) -> None:
    found = image(host, name)

    assert found is not None
    assert f"{found.registry}/{found.name}" == full


def test_the_case_of_a_tag_is_kept() -> None:
    assert image("ghcr.io", "acme/shop", "RC-1") == Image(registry="ghcr.io", name="acme/shop", tag="RC-1")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (None, "a"),
        (7, "a"),
        ("ghcr.io", None),
        ("ghcr.io", ["a"]),
        ("ghcr.io", ""),
        ("ghcr.io", "/a"),
        ("ghcr.io", "a/"),
        ("ghcr.io", "a//b"),
        ("ghcr.io", "../a"),
        ("ghcr.io", "a b"),
        ("ghcr.io", "a\n"),
        ("ghcr.io", "a:1"),
        ("ghcr.io", "a@b"),
        ("ghcr.io", "é"),
        ("ghcr.io", "-a"),
        ("ghcr.io", "a" * 256),
        ("ghcr io", "a"),
        ("https://ghcr.io", "a"),
        ("user@ghcr.io", "a"),
        ("ghcr.io/x", "a"),
        ("ghcr.io:", "a"),
        ("ghcr.io:port", "a"),
        (".io", "a"),
        ("a" * 256, "a"),
    ],
)
def test_what_no_registry_would_accept_is_no_image(host: object, name: object) -> None:
    assert image(host, name, "1", DIGEST) is None


@pytest.mark.parametrize("tag", [None, 7, "", " ", "a b", "a\n", ".a", "-a", "a/b", "a:b", "a" * 129, DIGEST, ["1"]])
def test_a_tag_that_is_none_counts_as_not_sent(tag: object) -> None:
    assert image("ghcr.io", "a", tag, DIGEST) == Image(registry="ghcr.io", name="a", digest=DIGEST)


@pytest.mark.parametrize(
    "digest",
    [None, 7, "", "4f" * 32, "sha256:" + "4f" * 20, "sha256:" + "4F" * 32, "sha512:" + "4f" * 64, DIGEST + "\n"],
)
def test_a_digest_that_is_none_counts_as_not_sent(digest: object) -> None:
    assert image("ghcr.io", "a", "1", digest) == Image(registry="ghcr.io", name="a", tag="1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", ("docker.io", "library/nginx", None)),
        ("nginx:1.27", ("docker.io", "library/nginx", "1.27")),
        ("acme/shop:RC-1", ("docker.io", "acme/shop", "RC-1")),
        ("localhost/shop", ("localhost", "shop", None)),
        ("localhost:5000/shop", ("localhost:5000", "shop", None)),
        ("localhost:5000/shop:1", ("localhost:5000", "shop", "1")),
        ("ghcr.io/Acme/Shop:", ("ghcr.io", "acme/shop", None)),
        ("Registry/shop", ("registry", "shop", None)),
        ("registry/shop", ("docker.io", "registry/shop", None)),
        ("index.docker.io/nginx", ("docker.io", "library/nginx", None)),
    ],
)
def test_a_name_in_text_is_read_as_docker_reads_it(text: str, expected: tuple[str, str, str | None]) -> None:
    found = from_text(text)

    assert found is not None
    assert (found.registry, found.name, found.tag) == expected


def test_a_host_without_a_dot_is_one_where_the_sender_always_names_it() -> None:
    assert from_text("registry/acme/shop:1", has_host=True) == Image(registry="registry", name="acme/shop", tag="1")
    assert from_text("shop:1", has_host=True) is None
    assert from_text("/shop:1", has_host=True) is None


@pytest.mark.parametrize(
    "text", [None, 7, "", ":", "@", "/", "https://ghcr.io/a", "a b", "ghcr.io/", "../a", "@" + DIGEST]
)
def test_text_that_names_no_image_is_none(text: object) -> None:
    assert from_text(text) is None


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
hosts = st.builds(
    lambda parts, port: ".".join(parts) + (f":{port}" if port else ""),
    st.lists(labels, min_size=2, max_size=4),
    st.one_of(st.none(), st.integers(1, 65_535)),
)
components = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
names = st.lists(components, min_size=1, max_size=4).map("/".join)
tags = st.one_of(st.none(), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True))
digests = st.one_of(st.none(), st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True))


def written(found: Image) -> str:
    tag, digest = f":{found.tag}" if found.tag else "", f"@{found.digest}" if found.digest else ""
    return f"{found.registry}/{found.name}{tag}{digest}"


@given(hosts, names, tags, digests)
def test_image_names_round_trip(host: str, name: str, tag: str | None, digest: str | None) -> None:
    found = image(host, name, tag, digest)

    assert found is not None
    assert (found.tag, found.digest) == (tag, digest)
    assert from_text(written(found)) == found
    assert from_text(written(found), has_host=True) == found
    assert image(found.registry.upper(), found.name.upper(), found.tag, found.digest) == found


@given(st.text(max_size=80), st.booleans())
def test_what_is_read_from_any_text_reads_the_same_again(text: str, has_host: bool) -> None:
    found = from_text(text, has_host=has_host)

    assert found is None or from_text(written(found), has_host=True) == found


def test_what_does_not_count_is_left_out_beside_what_does() -> None:
    counted = pushed(image("ghcr.io", "a", "1"))

    assert counting([not_pushed(), counted, pushed(None), counted]) == (counted, counted)


def test_a_delivery_where_nothing_counts_has_one_event_that_says_why() -> None:
    assert counting([pushed(image("ghcr.io", "a")), not_pushed()]) == (pushed(image("ghcr.io", "a")),)
    assert counting([]) == (not_pushed(images.NO_IMAGE),)


def test_one_delivery_has_only_so_many_images_and_says_so() -> None:
    found = counting([pushed(image("ghcr.io", "a", "1"))] * (MAX_IMAGES + 1))

    assert len(found) == MAX_IMAGES + 1
    assert [fact["ignored"] for fact in found if fact["ignored"]] == [TOO_MANY]
    assert len(counting(found[:MAX_IMAGES])) == MAX_IMAGES
