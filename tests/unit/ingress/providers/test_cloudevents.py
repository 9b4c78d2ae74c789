"""CloudEvents in their three modes become the same events, and only who has the token sends them."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers import PROVIDERS
from ingress.providers.body import Body
from ingress.providers.cloudevents import MAX_EVENTS, NO_EVENT, NO_EVENTS, TOO_MANY_EVENTS
from ingress.providers.headers import Headers
from ingress.providers.images import NO_IMAGE, UNTAGGED
from ingress.providers.provider import Facts, Identity, Request
from ingress.providers.push import DELETION, NO_REF
from ingress.providers.signing import Refused, Verified
from shared.event import Image, Kind, WebhookEvent
from tests.unit.ingress.senders import SECRET, SHA, Ingress, Pairs, cloudevents

PROVIDER = PROVIDERS["cloudevents"]
JSON = b"application/json"
BATCH = b"application/cloudevents-batch+json"
DIGEST = "sha256:" + "4c" * 32


def event(kind: str = "org.example.wanted", **changes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "type": kind, "source": "/ci", "id": "1"} | changes


def read(headers: Pairs, body: bytes) -> tuple[Identity, tuple[Facts, ...]]:
    request = Request(Headers(headers), Body(body))
    document = PROVIDER.parse(request)
    assert isinstance(document, dict)
    identity = PROVIDER.identify(request.headers, document)
    return identity, PROVIDER.normalize(identity, document)


def facts_of(*events: object) -> tuple[Facts, ...]:
    return read(cloudevents(BATCH), orjson.dumps(events))[1]


PUSH = {"ref": "refs/heads/main", "after": SHA, "repository": {"clone_url": "https://github.com/Acme/App.git"}}


def test_the_three_modes_say_the_same() -> None:
    whole = event(data=PUSH)
    attributes = {"specversion": "1.0", "type": "org.example.wanted", "source": "/ci", "id": "1"}

    structured = read(cloudevents(), orjson.dumps(whole))
    plain = read(cloudevents(JSON), orjson.dumps(whole))
    binary = read(cloudevents(JSON, **attributes), orjson.dumps(PUSH))
    (identity, facts) = read(cloudevents(BATCH), orjson.dumps([whole]))

    assert structured == plain == binary == (identity, facts)
    assert identity == Identity("cloudevents", "org.example.wanted", "/ci 1")
    (fact,) = facts
    assert (fact["kind"], fact["branch"], fact["after"]) == (Kind.PUSH, "main", SHA)
    assert fact["repository"] is not None
    assert fact["repository"].key == "github.com/acme/app"


@pytest.mark.parametrize("text", ["plain", "größe", "50% & more", 'with "quotes"', "a\u2028b", "🚀"])
def test_attributes_in_headers_are_percent_decoded(text: str) -> None:
    headers = cloudevents(JSON, specversion="1.0", type="t", source="/ci", id=quote(text))

    (identity, _) = read(headers, b"{}")

    assert identity.delivery_id == read(cloudevents(), orjson.dumps(event("t", id=text)))[0].delivery_id


def test_attributes_in_headers_may_be_quoted() -> None:
    assert read(cloudevents(JSON, specversion="1.0", type='"t"', source="/ci", id="1"), b"{}")[0].source_event == "t"


def test_headers_say_nothing_where_the_body_is_the_event() -> None:
    headers = cloudevents(specversion="1.0", type="other", source="/other", id="2")

    assert read(headers, orjson.dumps(event("t")))[0] == Identity("cloudevents", "t", "/ci 1")


def test_a_binary_event_may_have_no_data() -> None:
    identity, facts = read(cloudevents(JSON, specversion="1.0", type="t", source="/ci", id="1"), b"")

    assert identity.source_event == "t"
    assert [fact["kind"] for fact in facts] == [Kind.CUSTOM]


def test_a_refused_request_is_named_by_its_headers() -> None:
    headers = Headers(cloudevents(JSON, specversion="1.0", type="t", source="/ci", id="1"))

    assert PROVIDER.identify(headers, {}) == Identity("cloudevents", "t", "/ci 1")


def test_a_batch_has_an_event_for_each_of_its_own() -> None:
    batch = [event("a", id="1", data=PUSH), event("b", id="2"), event("a", id="3", data={"ref": "no ref"})]

    identity, facts = read(cloudevents(BATCH), orjson.dumps(batch))

    assert [(fact["kind"], fact.get("ignored")) for fact in facts] == [
        (Kind.PUSH, None),
        (Kind.CUSTOM, None),
        (Kind.CUSTOM, NO_REF),
    ]
    assert identity.source_event == "batch"
    assert read(cloudevents(BATCH), orjson.dumps(batch[::2]))[0].source_event == "a"


def test_a_batch_is_told_from_others_by_its_events() -> None:
    def delivery_id(*events: dict[str, Any]) -> str | None:
        return read(cloudevents(BATCH), orjson.dumps(events))[0].delivery_id

    assert delivery_id(event(id="1"), event(id="2")) == delivery_id(event(id="1"), event(id="2", data=7))
    assert delivery_id(event(id="1"), event(id="2")) != delivery_id(event(id="1"), event(id="3"))
    assert delivery_id(event(id="1"), {}) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"source": "/a", "id": "b"}, {"source": "/b", "id": "b"}),
        ({"source": "/a", "id": "b c"}, {"source": "/a b", "id": "c"}),
        ({"id": "x" * 300}, {"id": "x" * 299 + "y"}),
        ({"id": "a\n"}, {"id": "a"}),
    ],
)
def test_events_with_another_source_or_id_are_other_deliveries(one: dict[str, str], other: dict[str, str]) -> None:
    first, second = (read(cloudevents(), orjson.dumps(event(**changes)))[0].delivery_id for changes in (one, other))

    assert first is not None
    assert first != second


@pytest.mark.parametrize("changes", [{"id": ""}, {"source": None}, {"id": 7}, {"source": "two words"}])
def test_an_event_that_can_not_be_told_from_others_has_no_delivery_id(changes: dict[str, Any]) -> None:
    assert read(cloudevents(), orjson.dumps(event(**changes)))[0].delivery_id is None


@pytest.mark.parametrize(
    "document", [{}, {"type": "t"}, event(specversion="0.3"), event(specversion=1.0), event(type=""), event(type=None)]
)
def test_what_is_no_event_of_version_1_starts_nothing(document: dict[str, Any]) -> None:
    (fact,) = read(cloudevents(), orjson.dumps(document))[1]

    assert (fact["kind"], fact["ignored"]) == (Kind.CUSTOM, NO_EVENT)


def test_an_empty_batch_and_one_that_is_too_large_start_nothing() -> None:
    (empty,) = facts_of()
    (large,) = facts_of(*[event()] * (MAX_EVENTS + 1))
    resources = [{"resource_url": "hub.acme.example/a/b:1", "tag": "1"}] * 2
    (wide,) = facts_of(*[event("harbor.artifact.pushed", data={"resources": resources})] * MAX_EVENTS)

    assert empty["ignored"] == NO_EVENTS
    assert large["ignored"] == wide["ignored"] == TOO_MANY_EVENTS
    assert len(facts_of(*[event()] * MAX_EVENTS)) == MAX_EVENTS


def test_harbors_push_is_an_image() -> None:
    """The shape that Harbor's CloudEvents formatter writes."""
    data = {
        "resources": [
            {
                "digest": DIGEST,
                "tag": "1.2",
                "resource_url": "harbor.acme.example:8443/Team/App:1.2",
            }
        ],
        "repository": {"name": "app", "namespace": "team", "repo_full_name": "team/app", "repo_type": "private"},
    }
    pushed = event("harbor.artifact.pushed", source="/projects/2/webhook/policies/1", operator="nora", data=data)

    (fact,) = read(cloudevents(), orjson.dumps(pushed))[1]
    (gone,) = facts_of(pushed | {"type": "harbor.artifact.deleted"})

    assert (fact["kind"], fact["sender"], fact["ignored"]) == (Kind.IMAGE, "nora", None)
    assert fact["image"] == Image(registry="harbor.acme.example:8443", name="team/app", tag="1.2", digest=DIGEST)
    assert (gone["deleted"], gone["ignored"]) == (True, DELETION)


def test_rule_9_a_tag_that_is_the_digest_is_no_tag() -> None:
    resource = {"digest": DIGEST, "tag": DIGEST, "resource_url": f"harbor.acme.example/team/app@{DIGEST}"}

    (fact,) = facts_of(event("harbor.artifact.pushed", data={"resources": [resource]}))

    assert fact["ignored"] == UNTAGGED


ECR = {"repositoryName": "Team/App", "imageTag": "v1", "imageDigest": DIGEST, "registryId": "123456789012"}
ECR_SOURCE = "urn:aws:ecr:eu-central-1:123456789012:repository/team/app"
ECR_HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("source", "data", "image", "ignored"),
    [
        (ECR_SOURCE, ECR, Image(registry=ECR_HOST, name="team/app", tag="v1", digest=DIGEST), None),
        (
            ECR_SOURCE.replace("urn:aws", "arn:aws-cn").replace("eu-central-1", "cn-north-1"),
            ECR,
            Image(
                registry="123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", name="team/app", tag="v1", digest=DIGEST
            ),
            None,
        ),
        (
            ECR_SOURCE,
            ECR | {"imageTag": ""},
            Image(registry=ECR_HOST, name="team/app", digest=DIGEST),
            UNTAGGED,
        ),
        ("aws.ecr", ECR, None, NO_IMAGE),
        ("urn:aws:ecr:eu-central-1/evil:123456789012:repository/x", ECR, None, NO_IMAGE),
        (ECR_SOURCE, ECR | {"repositoryName": "../x"}, None, NO_IMAGE),
        (ECR_SOURCE, None, None, NO_IMAGE),
    ],
)
def test_ecrs_push_is_an_image_whose_host_is_made_of_the_source(
    source: str, data: object, image: Image | None, ignored: str | None
) -> None:
    (fact,) = facts_of(event("com.amazon.ecr.image.push", source=source, data=data))

    assert (fact["image"], fact["ignored"]) == (image, ignored)
    assert fact["kind"] is (Kind.CUSTOM if image is None else Kind.IMAGE)


@pytest.mark.parametrize(
    "authorization",
    [
        (),
        (b"",),
        (SECRET.encode(),),
        (b"Basic " + SECRET.encode(),),
        (b"Bearer",),
        (b"Bearer ",),
        (b"Bearer x",),
        ("Bearer é".encode(),),
        (b"Bearer " + SECRET.encode(),) * 2,
    ],
)
def test_without_the_bearer_token_nobody_gets_in(authorization: tuple[bytes, ...]) -> None:
    headers = Headers([(b"authorization", value) for value in authorization])

    assert isinstance(PROVIDER.verify(Request(headers, Body(b"{}")), [SECRET.encode()]), Refused)
    assert isinstance(PROVIDER.verify(Request(headers, Body(b"{}")), [b""]), Refused)


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_the_case_of_the_scheme_is_free(scheme: bytes) -> None:
    headers = Headers([(b"authorization", scheme + b" " + SECRET.encode())])

    assert PROVIDER.verify(Request(headers, Body(b"{}")), [b"newer", SECRET.encode()]) == Verified(1)


async def test_a_batch_gets_through_the_listener() -> None:
    ingress = Ingress()
    batch = orjson.dumps([event(id="1", data=PUSH), event(id="2", data=PUSH)])

    answered = await ingress.post("/listener/cloudevents/global", batch, cloudevents(BATCH))
    binary = cloudevents(JSON, specversion="1.0", type="t", source="/ci", id="3")
    single = await ingress.post("/listener/cloudevents/global", orjson.dumps(PUSH), binary)
    query = await ingress.send("/listener/cloudevents/global", [], query=b"access_token=" + SECRET.encode())

    assert [(answer.status, answer.json().get("events")) for answer in (answered, single)] == [(202, 2), (202, 1)]
    assert [found.branch for found in ingress.events] == ["main"] * 3
    assert len({found.id for found in ingress.events}) == 3
    assert query.status == 400


async def test_a_binary_event_that_is_not_json_is_told_so() -> None:
    headers = cloudevents(JSON, specversion="1.0", type="t", source="/ci", id="1")

    assert (await Ingress().post("/listener/cloudevents/global", b"{", headers)).status == 400


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.text(max_size=8),
    st.sampled_from([ECR_SOURCE, "1.0"]),
)
KEYS = [*event(), "data", "batch", "resources", "resource_url", "tag", "digest", *ECR, *PUSH]
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)),
    max_leaves=15,
)
types = st.sampled_from(["t", "harbor.artifact.pushed", "com.amazon.ecr.image.push"])
documents = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), values, max_size=8),
    st.builds(lambda kind, data, source: event(kind, data=data, source=source), types, values, scalars),
    st.lists(values, max_size=4).map(lambda events: {"batch": events}),
)


@given(documents)
def test_any_json_object_becomes_valid_facts(document: dict[str, Any]) -> None:
    identity = PROVIDER.identify(Headers([]), document)
    facts = PROVIDER.normalize(identity, document)

    assert facts
    for fact in facts:
        found = WebhookEvent(
            id="i",
            delivery_id="d",
            receipt_id="r",
            provider=identity.provider,
            provider_delivery_id=identity.delivery_id,
            source_event=identity.source_event,
            received_at=datetime(2026, 11, 2, tzinfo=UTC),
            **fact,
        )
        assert WebhookEvent.from_bytes(found.to_bytes()) == found


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"content-type", b"ce-specversion", b"ce-type", b"ce-source", b"ce-id", b"authorization"]),
            st.one_of(st.binary(max_size=40), st.sampled_from([JSON, BATCH, b"1.0", b"%ff%00", b"Bearer x"])),
        ),
        max_size=8,
    ),
    st.one_of(st.binary(max_size=40), values.map(orjson.dumps)),
)
def test_any_request_is_refused_and_read_without_an_exception_but_for_json(headers: Pairs, body: bytes) -> None:
    request = Request(Headers(headers), Body(body))

    assert isinstance(PROVIDER.verify(request, [SECRET.encode()]), Refused)
    PROVIDER.identify(request.headers, {})
    try:
        document = PROVIDER.parse(request)
    except ValueError:
        return
    if isinstance(document, dict):
        assert PROVIDER.normalize(PROVIDER.identify(request.headers, document), document)
