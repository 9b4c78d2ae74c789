"""What holds for every sender of image events, and for whatever it sends."""

import base64
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers import PROVIDERS
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.provider import Request
from ingress.providers.signing import Refused, Verdict, Verified, check_authorization
from shared.event import Kind, WebhookEvent
from tests.unit.ingress.providers.registries import DIGEST, MANIFEST
from tests.unit.ingress.senders import OLD_SECRET, SECRET

SECRETS = [OLD_SECRET.encode(), SECRET.encode()]
RECEIVED_AT = datetime(2026, 11, 2, tzinfo=UTC)


def basic(pair: str) -> bytes:
    return b"Basic " + base64.b64encode(pair.encode())


def verify(auth: str, *values: bytes) -> Verdict:
    headers = Headers([(b"authorization", value) for value in values])
    return PROVIDERS[auth].verify(Request(headers, Body(b"{}")), SECRETS)


@pytest.mark.parametrize("auth", ["harbor", "registry", "acr"])
@pytest.mark.parametrize(
    "value",
    [
        SECRET.encode(),
        f"Bearer {SECRET}".encode(),
        f"bearer {SECRET}".encode(),
        basic(f"kgw:{SECRET}"),
        basic(f":{SECRET}"),
    ],
)
def test_a_header_with_the_secret_in_any_usual_form_is_accepted(auth: str, value: bytes) -> None:
    assert verify(auth, value) == Verified(1)


@pytest.mark.parametrize("auth", ["harbor", "registry", "acr"])
@pytest.mark.parametrize(
    "values",
    [
        (),
        (b"",),
        (b" ",),
        (b"Bearer",),
        (b"Bearer ",),
        (b"Basic",),
        (b"Basic ",),
        (b"Basic !!!",),
        (b"Basic " + base64.b64encode(SECRET.encode()),),
        (basic(f"{SECRET}:"),),
        (basic(f"kgw:{SECRET}x"),),
        (f"Token {SECRET}".encode(),),
        (f"{SECRET} ".encode(),),
        ("é".encode(),),
        (SECRET.encode(), SECRET.encode()),
    ],
)
def test_a_missing_or_wrong_header_is_refused(auth: str, values: tuple[bytes, ...]) -> None:
    assert isinstance(verify(auth, *values), Refused)


def test_a_secret_that_itself_begins_with_a_scheme_is_compared_whole() -> None:
    assert check_authorization(b"Bearer xyz", [b"Bearer xyz"]) == Verified(0)
    assert check_authorization(b"Bearer xyz", [b"other", b"xyz"]) == Verified(1)


@pytest.mark.parametrize("secrets", [[], [b""]])
@pytest.mark.parametrize("value", [None, b"", b"Bearer ", b"Basic Og=="])
def test_a_hook_without_a_secret_lets_nobody_in(value: bytes | None, secrets: list[bytes]) -> None:
    assert isinstance(check_authorization(value, secrets), Refused)


@given(st.binary(max_size=100))
def test_any_header_of_a_stranger_is_refused_without_an_exception(value: bytes) -> None:
    assert isinstance(check_authorization(value, SECRETS), Refused)


KEYS = [
    "action",
    "actor",
    "callback_url",
    "container_metadata",
    "data",
    "digest",
    "docker_url",
    "ecosystem",
    "event_data",
    "events",
    "full_name",
    "host",
    "html_url",
    "id",
    "login",
    "manifest",
    "mediaType",
    "name",
    "namespace",
    "operator",
    "owner",
    "package",
    "package_type",
    "package_url",
    "package_version",
    "push_data",
    "pushed_at",
    "pusher",
    "registry_package",
    "repo_name",
    "repository",
    "request",
    "resource_url",
    "resources",
    "specversion",
    "tag",
    "target",
    "type",
    "updated_tags",
    "version",
]
TEXTS = [
    "",
    ":",
    "/",
    "1",
    "a b",
    "acme/shop",
    "Acme",
    "container",
    "created",
    "delete",
    "deleted",
    "DELETE_ARTIFACT",
    "ghcr.io/Acme/Shop:",
    "ghcr.io/acme/shop:1",
    "harbor.artifact.pushed",
    "https://git.acme.example:3000/x",
    "https://[",
    "ping",
    "published",
    "push",
    "PUSH_ARTIFACT",
    "quay.io/acme/shop",
    "registry:5000",
    "nora@fields.example",
    "\x00é🚀",
    DIGEST,
    MANIFEST,
    "x" * 700,
]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.sampled_from(TEXTS), st.text(max_size=20)
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8),
    max_leaves=30,
)
objects = st.dictionaries(st.sampled_from(KEYS), documents, max_size=8)
TAG_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_.-")
HEADERS = [
    [],
    [(b"x-github-event", b"package")],
    [(b"x-github-event", b"registry_package")],
    [(b"x-gitea-event", b""), (b"x-gitea-event-type", b"package")],
]
SENDERS = ["dockerhub", "harbor", "quay", "registry", "acr", "github", "gitea"]


def events_of(auth: str, headers: list[tuple[bytes, bytes]], body: dict[str, Any]) -> list[WebhookEvent]:
    provider = PROVIDERS[auth]
    identity = provider.identify(Headers(headers), body)
    return [
        WebhookEvent(
            id="i",
            delivery_id="d",
            receipt_id="r",
            provider=identity.provider,
            provider_delivery_id=identity.delivery_id,
            source_event=identity.source_event,
            received_at=RECEIVED_AT,
            **facts,
        )
        for facts in provider.normalize(identity, body)
    ]


@given(st.sampled_from(SENDERS), st.sampled_from(HEADERS), objects)
def test_any_json_object_becomes_valid_events(
    auth: str, headers: list[tuple[bytes, bytes]], body: dict[str, Any]
) -> None:
    events = events_of(auth, headers, body)

    assert events
    for event in events:
        assert WebhookEvent.from_bytes(event.to_bytes()) == event
        assert event.kind is not Kind.IMAGE or event.image is not None
        assert event.kind is not Kind.IMAGE or event.ignored or (event.image and event.image.tag)
        assert b"@fields.example" not in event.to_bytes()


def as_tagged(auth: str, tag: Any) -> tuple[list[tuple[bytes, bytes]], dict[str, Any]]:
    """A push of `acme/shop`, as each sender writes it, with something in the place of the tag."""
    target = {"mediaType": MANIFEST, "repository": "acme/shop", "tag": tag, "digest": DIGEST}
    event = {"action": "push", "target": target, "request": {"host": "r.example"}}
    resource = {"resource_url": "r.example/acme/shop", "tag": tag, "digest": DIGEST}
    gitea = {
        "type": "container",
        "name": "shop",
        "owner": {"login": "acme"},
        "version": tag,
        "html_url": "https://r.example",
    }
    version = {"package_url": "r.example/acme/shop", "version": DIGEST, "container_metadata": {"tag": {"name": tag}}}
    bodies: dict[str, tuple[list[tuple[bytes, bytes]], dict[str, Any]]] = {
        "dockerhub": ([], {"push_data": {"tag": tag}, "repository": {"repo_name": "acme/shop"}}),
        "quay": ([], {"docker_url": "r.example/acme/shop", "updated_tags": [tag]}),
        "harbor": ([], {"type": "PUSH_ARTIFACT", "event_data": {"resources": [resource]}}),
        "registry": ([], {"events": [event]}),
        "acr": ([], event),
        "gitea": (HEADERS[3], {"action": "created", "package": gitea}),
        "github": (
            HEADERS[1],
            {"action": "published", "package": {"package_type": "container", "package_version": version}},
        ),
    }
    return bodies[auth]


@pytest.mark.parametrize("auth", SENDERS)
@given(tag=st.one_of(scalars, st.lists(scalars, max_size=2)))
def test_only_a_push_with_a_valid_tag_counts(auth: str, tag: Any) -> None:
    headers, body = as_tagged(auth, tag)

    (event,) = events_of(auth, headers, body)

    valid = isinstance(tag, str) and 0 < len(tag) <= 128 and tag[0] not in ".-" and set(tag) <= TAG_CHARACTERS
    assert valid is (event.ignored is None)
    assert (event.image and event.image.tag) == (tag if valid else None)


@pytest.mark.parametrize("auth", SENDERS)
def test_every_sender_is_understood_with_a_plain_tag(auth: str) -> None:
    (event,) = events_of(auth, *as_tagged(auth, "RC-1"))

    assert event.kind is Kind.IMAGE
    assert event.image is not None
    assert (event.image.name, event.image.tag) == ("acme/shop", "RC-1")
    assert event.repository is None
