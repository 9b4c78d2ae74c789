"""A sender of one's own proves itself as the hook's options say, and is read where they say."""

import hashlib
import hmac
from base64 import b64decode, b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingress.providers import PROVIDERS
from ingress.providers.body import Body
from ingress.providers.generic import NO_BRANCH, NO_TAG, Generic, GenericOptions
from ingress.providers.headers import Headers
from ingress.providers.images import NO_IMAGE, UNTAGGED
from ingress.providers.provider import Facts, Identity, Request
from ingress.providers.push import DELETION, MERGE_QUEUE, NO_REF
from ingress.providers.signing import Refused, Verdict, Verified, check_hmac
from shared.event import Image, Kind, WebhookEvent
from tests.unit.ingress.senders import OLD_SECRET, SECRET, SHA, Ingress, Pairs, basic, generic, hex_hmac, push_body

SECRETS = [SECRET.encode(), OLD_SECRET.encode()]
BODY = '{"ref": "refs/heads/größe"}'.encode()
DIGEST = "sha256:" + "4c" * 32


def provider_of(**options: Any) -> Generic:
    """A hook's options come as JSON."""
    return Generic(GenericOptions.model_validate_json(orjson.dumps(options)))


def verify(headers: Pairs, body: bytes = BODY, **options: Any) -> Verdict:
    return provider_of(**options).verify(Request(Headers(headers), Body(body)), SECRETS)


def read(document: dict[str, Any], headers: Pairs | None = None, **options: Any) -> Facts:
    provider = provider_of(**options)
    (facts,) = provider.normalize(provider.identify(Headers(headers or []), document), document)
    return facts


def identify(document: dict[str, Any], headers: Pairs | None = None, **options: Any) -> Identity:
    return provider_of(**options).identify(Headers(headers or []), document)


ENCODERS = {
    "hex": lambda digest: digest.hex().encode(),
    "base64": b64encode,
    "base64url": urlsafe_b64encode,
}


@pytest.mark.parametrize("prefix", ["", "sha256=", "v0:"])
@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
def test_every_algorithm_and_encoding_verifies_in_any_header(algorithm: str, encoding: str, prefix: str) -> None:
    digest = hmac.new(OLD_SECRET.encode(), BODY, getattr(hashlib, algorithm)).digest()
    value = prefix.encode() + ENCODERS[encoding](digest)
    way: dict[str, Any] = {
        "way": "hmac",
        "header": "X-My-Signature",
        "prefix": prefix,
        "encoding": encoding,
        "algorithm": algorithm,
    }
    way["allow_sha1"] = True

    assert verify([(b"x-my-signature", value)], verify=way) == Verified(1)
    assert isinstance(verify([(b"x-my-signature", value)], BODY + b" ", verify=way), Refused)
    assert isinstance(verify([(b"x-signature", value)], verify=way), Refused)


@pytest.mark.parametrize("header", [b"x-signature-256", b"x-signature"])
@pytest.mark.parametrize("prefix", [b"", b"sha256="])
def test_without_options_the_usual_signature_verifies(header: bytes, prefix: bytes) -> None:
    assert verify([(header, prefix + hex_hmac(BODY))]) == Verified(0)
    assert verify([(header, prefix + hex_hmac(BODY).upper())]) == Verified(0)


def test_of_two_headers_only_the_first_that_is_there_counts() -> None:
    right = hex_hmac(BODY)

    assert isinstance(verify([(b"x-signature-256", b"0" * 64), (b"x-signature", right)]), Refused)
    assert verify([(b"x-signature", b"0" * 64), (b"x-signature-256", right)]) == Verified(0)


GOOD = hex_hmac(BODY)
MALFORMED = {
    "absent": (),
    "empty": (b"",),
    "prefix alone": (b"sha256=",),
    "prefix twice": (b"sha256=sha256=" + GOOD,),
    "other prefix": (b"sha1=" + GOOD,),
    "too short": (GOOD[:-2],),
    "too long": (GOOD + b"00",),
    "not ascii": ("é".encode() * 32,),
    "blank": (GOOD + b" ",),
    "twice": (GOOD, GOOD),
    "base64": (b64encode(bytes.fromhex(GOOD.decode())),),
}


@pytest.mark.parametrize("values", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_signature_is_refused(values: tuple[bytes, ...]) -> None:
    assert isinstance(verify([(b"x-signature-256", value) for value in values]), Refused)


DIGEST_BYTES = hmac.new(SECRET.encode(), BODY, hashlib.sha256).digest()


@pytest.mark.parametrize(
    ("encoding", "signature", "is_right"),
    [
        ("base64", b64encode(DIGEST_BYTES), True),
        ("base64", b64encode(DIGEST_BYTES).rstrip(b"="), True),
        ("base64", b64encode(DIGEST_BYTES) + b"=", False),
        ("base64", b64encode(DIGEST_BYTES) + b"\n", False),
        ("base64", b64encode(DIGEST_BYTES + b"x"), False),
        ("base64", b64encode(DIGEST_BYTES)[:-4], False),
        ("base64", b"=" * 44, False),
        ("base64", "é".encode() * 22, False),
        ("base64url", urlsafe_b64encode(DIGEST_BYTES), True),
        ("base64url", urlsafe_b64encode(DIGEST_BYTES).rstrip(b"="), True),
        ("base64url", b"+" + b"A" * 43, False),
        ("hex", DIGEST_BYTES.hex().encode(), True),
    ],
)
def test_base64_is_taken_with_or_without_padding_and_in_no_other_spelling(
    encoding: Any, signature: bytes, is_right: bool
) -> None:
    verdict = check_hmac(BODY, signature, SECRETS, "sha256", encoding)

    assert isinstance(verdict, Verified) is is_right


def test_bits_that_base64_does_not_use_have_to_be_zero() -> None:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    right = b64encode(DIGEST_BYTES)
    last = alphabet[alphabet.index(right[-2]) + 1]
    wrong = right[:-2] + bytes([last]) + b"="

    assert b64decode(wrong) == DIGEST_BYTES
    assert isinstance(check_hmac(BODY, wrong, SECRETS, "sha256", "base64"), Refused)


def test_the_two_alphabets_of_base64_are_not_mixed() -> None:
    bodies = (b"%d" % number for number in range(1_000))
    digest_of = {body: hmac.new(SECRET.encode(), body, hashlib.sha256).digest() for body in bodies}
    body = next(body for body, digest in digest_of.items() if {b"+", b"/"} <= {bytes([c]) for c in b64encode(digest)})
    plain, safe = b64encode(digest_of[body]), urlsafe_b64encode(digest_of[body])

    assert isinstance(check_hmac(body, safe, SECRETS, "sha256", "base64"), Refused)
    assert isinstance(check_hmac(body, plain, SECRETS, "sha256", "base64url"), Refused)
    assert check_hmac(body, plain, SECRETS, "sha256", "base64") == Verified(0)
    assert check_hmac(body, safe, SECRETS, "sha256", "base64url") == Verified(0)


def test_the_prefix_does_not_choose_the_algorithm() -> None:
    sha1 = hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest().encode()

    for value in (b"sha1=" + sha1, b"sha256=" + sha1, sha1):
        assert isinstance(verify([(b"x-signature", value)]), Refused)


@pytest.mark.parametrize(
    ("way", "value", "is_right"),
    [
        ({"header": "X-Gitee-Token", "scheme": "plain"}, SECRET.encode(), True),
        ({"header": "X-Gitee-Token", "scheme": "plain"}, b"Bearer " + SECRET.encode(), False),
        ({"header": "X-Gitee-Token", "scheme": "plain"}, SECRET.encode() + b" ", False),
        ({}, b"Bearer " + SECRET.encode(), True),
        ({}, SECRET.encode(), False),
        ({}, b"", False),
        ({"scheme": "basic"}, basic("anyone", SECRET), True),
        ({"scheme": "basic"}, basic("", SECRET), True),
        ({"scheme": "basic", "user": "ci"}, basic("ci", SECRET), True),
        ({"scheme": "basic", "user": "ci"}, basic("CI", SECRET), False),
        ({"scheme": "basic", "user": "ci"}, basic("ci", "wrong"), False),
        ({"scheme": "basic"}, b"Basic " + b64encode(SECRET.encode()), False),
        ({"scheme": "basic"}, b"Basic not base64", False),
        ({"scheme": "basic"}, b"Bearer " + SECRET.encode(), False),
    ],
)
def test_a_token_is_taken_in_its_own_scheme_only(way: dict[str, str], value: bytes, is_right: bool) -> None:
    header = way.get("header", "Authorization").lower().encode()
    verdict = verify([(header, value)], verify={"way": "token", **way})

    assert verdict == Verified(0) if is_right else isinstance(verdict, Refused)
    assert isinstance(verify([(header, value), (header, value)], verify={"way": "token", **way}), Refused)


def test_a_hook_without_a_secret_lets_nobody_in() -> None:
    for way in ({"way": "hmac"}, {"way": "token"}, {"way": "token", "scheme": "basic"}):
        for secrets in ([], [b""]):
            for value in (b"", b"Bearer ", basic("", ""), hex_hmac(BODY, "")):
                names = (b"authorization", b"x-signature")
                request = Request(Headers([(name, value) for name in names]), Body(BODY))
                assert isinstance(provider_of(verify=way).verify(request, secrets), Refused)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": {"way": "hmac", "algorithm": "sha1"}}, "allow_sha1"),
        ({"verify": {"way": "hmac", "algorithm": "md5"}}, "'sha256', 'sha512' or 'sha1'"),
        ({"verify": {"way": "hmac", "encoding": "base32"}}, "'hex', 'base64' or 'base64url'"),
        ({"verify": {"way": "hmac", "header": []}}, "at least 1 item"),
        ({"verify": {"way": "hmac", "header": "X Signature"}}, "should match pattern"),
        ({"verify": {"way": "none"}}, "'hmac', 'token'"),
        ({"verify": {"way": "token", "user": "ci"}}, "only the scheme basic has a user"),
        ({"verify": {"way": "token", "scheme": "basic", "user": "a:b"}}, "should match pattern"),
        ({"ref": "ref"}, "begins with a slash"),
        ({"ref": 7}, "valid array"),
        ({"ref": [7]}, "a JSON pointer is a string"),
        ({"ref": ["/a"] * 9}, "at most 8 items"),
        ({"kind": "deploy"}, "'push'"),
        ({"kind": "manual"}, "a person starts"),
        ({"kind": {"x": "manual"}}, "a person starts"),
        ({"kind": {"x": "push"}, "event": None}, "where the event stands"),
        ({"image": {"tag": "/tag"}}, "Field required"),
        ({"image": {"name": []}}, "at least 1 item"),
        ({"secret": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_options_say_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        provider_of(**options)


FULL = {
    "verify": {"way": "hmac", "header": "X-Sig", "algorithm": "sha512", "encoding": "base64", "prefix": ""},
    "event": {"header": ["X-Kind"]},
    "kind": {"pushed": "push"},
    "delivery_id": "/a~1b/0",
    "ref": None,
    "branch": ["/b", "/c"],
    "image": {"name": "/n", "host": "hub.acme.example:5000", "tag": "/t"},
}


@pytest.mark.parametrize("options", [{}, FULL], ids=["none", "many"])
def test_options_survive_being_written_and_read(options: dict[str, Any]) -> None:
    read_once = GenericOptions.model_validate(options)

    assert GenericOptions.model_validate_json(read_once.model_dump_json()) == read_once
    assert GenericOptions.model_validate(read_once.model_dump(mode="json")) == read_once
    assert GenericOptions.model_json_schema(mode="validation")["additionalProperties"] is False


def test_a_push_by_hand_needs_nothing_but_a_ref() -> None:
    facts = read({"ref": "refs/heads/main"})

    assert (facts["kind"], facts["branch"], facts["repository"]) == (Kind.PUSH, "main", None)


def test_a_push_in_githubs_shape_is_read_without_options() -> None:
    facts = read(orjson.loads(push_body()))

    assert (facts["kind"], facts["branch"], facts["before"], facts["after"]) == (Kind.PUSH, "main", "1a" * 20, SHA)
    assert (facts["sender"], facts["message"]) == ("nora", "Change it")
    assert facts["repository"] is not None
    assert facts["repository"].key == "github.com/acme/app"
    assert facts["repository"].full_name == "Acme/App"
    # The sender does not say whether it lists all commits.
    assert (facts["changed_paths"], facts["changed_paths_complete"]) == (("a.txt",), False)


@pytest.mark.parametrize(
    ("document", "kind", "expected"),
    [
        ({"branch": "main"}, Kind.PUSH, {"ref": "refs/heads/main", "branch": "main"}),
        ({"branch": "feature/ü%"}, Kind.PUSH, {"branch": "feature/ü%"}),
        ({"tag": "v1"}, Kind.TAG, {"ref": "refs/tags/v1", "tag": "v1"}),
        ({"ref": "refs/tags/main"}, Kind.TAG, {"tag": "main", "branch": None}),
        ({"ref": "refs/heads/main", "branch": "other"}, Kind.PUSH, {"branch": "main"}),
        ({"ref": "main"}, Kind.CUSTOM, {"ignored": NO_REF}),
        ({"ref": "main", "branch": "main"}, Kind.PUSH, {"branch": "main"}),
        ({"ref": 7}, Kind.CUSTOM, {"ignored": NO_REF}),
        ({"branch": "a b"}, Kind.CUSTOM, {"branch": None}),
        ({"ref": "refs/heads/gh-readonly-queue/main/pr-1"}, Kind.PUSH, {"ignored": MERGE_QUEUE}),
        ({"hello": "world"}, Kind.CUSTOM, {"ignored": None}),
        ({}, Kind.CUSTOM, {"repository": None}),
    ],
)
def test_what_is_named_decides_the_kind(document: dict[str, Any], kind: Kind, expected: dict[str, Any]) -> None:
    facts = read(document)

    assert facts["kind"] is kind
    assert {key: facts.get(key) for key in expected} == expected


@pytest.mark.parametrize("changes", [{"after": "0" * 40}, {"after": "0" * 64}, {"deleted": True}])
@pytest.mark.parametrize("kind", [None, "push", "custom", "ci"])
def test_rule_1_a_deletion_never_deploys(changes: dict[str, Any], kind: str | None) -> None:
    facts = read({"ref": "refs/heads/main", "before": SHA} | changes, kind=kind)

    assert (facts["deleted"], facts["ignored"], facts["branch"]) == (True, DELETION, "main")


@pytest.mark.parametrize(
    ("changes", "paths", "complete"),
    [
        ({"changed_paths": ["a", "b"]}, ("a", "b"), True),
        ({"changed_paths": []}, (), False),
        ({"changed_paths": ["a", 7]}, ("a",), False),
        ({"changed_paths": ["a\x1b"]}, ("a",), False),
        ({"changed_paths": "a"}, None, None),
        ({"changed_paths": ["a"], "before": "0" * 40}, ("a",), False),
        ({"commits": [{"id": SHA, "added": ["a"], "modified": ["b"], "removed": []}]}, ("a", "b"), False),
        ({"commits": []}, (), False),
        ({}, None, None),
    ],
)
def test_a_list_of_files_is_complete_only_when_the_sender_lists_files(
    changes: dict[str, Any], paths: tuple[str, ...] | None, complete: bool | None
) -> None:
    facts = read({"ref": "refs/heads/main", "after": SHA} | changes)

    assert (facts.get("changed_paths"), facts.get("changed_paths_complete")) == (paths, complete)


@pytest.mark.parametrize(
    ("repository", "key", "full_name"),
    [
        ("https://git.acme.example/Team/App.git", "git.acme.example/team/app", "team/app"),
        ("git@git.acme.example:Team/App.git", "git.acme.example/team/app", "team/app"),
        ("Team/App", None, "Team/App"),
        ({"full_name": "Team/App"}, None, "Team/App"),
        ({"clone_url": "https://token:hunter2@git.acme.example/t/a"}, "git.acme.example/t/a", "t/a"),
        ({"full_name": 7, "url": "https://git.acme.example/t/a"}, "git.acme.example/t/a", "t/a"),
    ],
)
def test_a_repository_is_read_by_url_or_name(repository: object, key: str | None, full_name: str) -> None:
    found = read({"ref": "refs/heads/main", "repository": repository})["repository"]

    assert found is not None
    assert (found.key, found.full_name) == (key, full_name)
    assert "hunter2" not in found.model_dump_json()


@pytest.mark.parametrize("repository", [None, 7, [], {}, "", "file:///etc/passwd", "https://", "nora@acme.example"])
def test_what_names_no_repository_is_none(repository: object) -> None:
    assert read({"ref": "refs/heads/main", "repository": repository})["repository"] is None


IMAGE = Image(registry="ghcr.io", name="acme/app", tag="1.2", digest=DIGEST)


@pytest.mark.parametrize(
    ("document", "options", "image"),
    [
        ({"image": f"ghcr.io/Acme/App:1.2@{DIGEST}"}, {}, IMAGE),
        (
            {"r": "ghcr.io", "n": "acme/app", "t": "1.2", "d": DIGEST},
            {"image": {"registry": "/r", "name": "/n", "tag": "/t", "digest": "/d"}},
            IMAGE,
        ),
        (
            {"n": "acme/app", "t": "1.2", "d": DIGEST},
            {"image": {"registry": "/r", "host": "ghcr.io", "name": "/n", "tag": "/t", "digest": "/d"}},
            IMAGE,
        ),
        ({"image": "app:1.2"}, {}, Image(registry="docker.io", name="library/app", tag="1.2")),
    ],
)
def test_an_image_is_read_whole_or_by_its_parts(
    document: dict[str, Any], options: dict[str, Any], image: Image
) -> None:
    facts = read(document, **options)

    assert (facts["kind"], facts["image"], facts.get("ignored")) == (Kind.IMAGE, image, None)


def test_an_image_may_say_what_it_was_built_from() -> None:
    facts = read({"image": "ghcr.io/acme/app:1.2", "ref": "refs/heads/main", "commit": SHA, "tag": "1.2"})

    assert (facts["kind"], facts["branch"], facts["commit"], facts.get("tag")) == (Kind.IMAGE, "main", SHA, None)


@pytest.mark.parametrize(
    ("document", "kind", "reason"),
    [
        ({"image": "ghcr.io/acme/app"}, "image", UNTAGGED),
        ({"image": "https://acme.example/logo.png"}, "image", NO_IMAGE),
        ({}, "image", NO_IMAGE),
        ({"branch": "main"}, "release", NO_TAG),
        ({"tag": "v1"}, "merge", NO_BRANCH),
        ({}, "push", NO_REF),
        ({}, "tag", NO_REF),
    ],
)
def test_a_fixed_kind_without_what_it_needs_starts_nothing(document: dict[str, Any], kind: str, reason: str) -> None:
    facts = read(document, kind=kind)

    assert facts["ignored"] == reason


@pytest.mark.parametrize(
    ("document", "kind", "expected"),
    [
        ({"tag": "v1"}, "release", {"kind": Kind.RELEASE, "tag": "v1"}),
        ({"branch": "main", "commit": SHA}, "merge", {"kind": Kind.MERGE, "branch": "main", "commit": SHA}),
        ({"branch": "main", "sha": SHA}, "ci", {"kind": Kind.CI, "branch": "main", "commit": SHA}),
        ({}, "ping", {"kind": Kind.PING}),
        ({"ref": "refs/heads/main"}, "custom", {"kind": Kind.CUSTOM, "branch": "main"}),
        ({"ref": "refs/tags/v1"}, "push", {"kind": Kind.TAG, "tag": "v1"}),
    ],
)
def test_a_fixed_kind_is_the_kind(document: dict[str, Any], kind: str, expected: dict[str, Any]) -> None:
    facts = read(document, kind=kind)

    assert {key: facts.get(key) for key in expected} == expected
    assert facts.get("ignored") is None


def test_kinds_are_found_by_the_event_in_the_body_or_in_a_header() -> None:
    kinds = {"build.passed": "ci", "pushed": "push"}
    body = {"what": "build.passed", "branch": "main"}

    assert read(body, event="/what", kind=kinds)["kind"] is Kind.CI
    assert read({**body, "what": "build.failed"}, event="/what", kind=kinds)["kind"] is Kind.CUSTOM
    assert read(body, [(b"x-kind", b"pushed")], event={"header": "X-Kind"}, kind=kinds)["kind"] is Kind.PUSH
    assert read(body, event={"header": "X-Kind"}, kind=kinds)["kind"] is Kind.CUSTOM
    assert identify(body, event="/what").source_event == "build.passed"


@pytest.mark.parametrize(
    ("document", "headers", "options", "expected"),
    [
        ({"id": "x"}, [], {}, None),
        ({}, [(b"x-delivery-id", b"d1")], {}, "d1"),
        ({}, [(b"idempotency-key", b"d2")], {}, "d2"),
        ({"id": "d3"}, [(b"x-delivery-id", b"d1")], {"delivery_id": "/id"}, "d3"),
        ({"id": 4}, [], {"delivery_id": "/id"}, "4"),
        ({"id": True}, [], {"delivery_id": "/id"}, None),
        ({"id": 10**5000}, [], {"delivery_id": "/id"}, None),
        ({"id": "x" * 201}, [], {"delivery_id": "/id"}, None),
        ({"id": "a\nb"}, [], {"delivery_id": "/id"}, None),
        ({"id": ""}, [], {"delivery_id": ["/id", "/other"]}, None),
        ({"id": "", "other": "d5"}, [], {"delivery_id": ["/id", "/other"]}, "d5"),
    ],
)
def test_the_delivery_id_is_taken_whole_or_not_at_all(
    document: dict[str, Any], headers: Pairs, options: dict[str, Any], expected: str | None
) -> None:
    assert identify(document, headers, **options).delivery_id == expected


def test_a_pointer_can_be_switched_off() -> None:
    assert read({"branch": "main"}, branch=None)["kind"] is Kind.CUSTOM
    assert read({"branch": "main"}, branch=[])["kind"] is Kind.CUSTOM


def test_control_characters_and_addresses_do_not_get_through() -> None:
    facts = read(
        {"ref": "refs/heads/main", "message": "Hi\x1b[31m nora@acme.example\nmore", "sender": "nora@acme.example"}
    )

    assert (facts["message"], facts["sender"]) == ("Hi[31m …", None)


NEXUS: dict[str, Any] = {
    "verify": {
        "way": "hmac",
        "header": "X-Nexus-Webhook-Signature",
        "prefix": "",
        "algorithm": "sha1",
        "allow_sha1": True,
    },
    "event": "/action",
    "kind": {"CREATED": "image"},
    "delivery_id": {"header": "X-Nexus-Webhook-Delivery"},
    "sender": "/initiator",
    "image": {"host": "nexus.acme.example:8082", "name": "/component/name", "tag": "/component/version"},
}


def test_a_nexus_repository_is_read_by_options_alone() -> None:
    document = {
        "action": "CREATED",
        "initiator": "nora",
        "component": {"format": "docker", "name": "acme/app", "version": "1.2"},
    }
    body = orjson.dumps(document)
    signature = hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest().encode()

    facts = read(document, **NEXUS)

    assert verify([(b"x-nexus-webhook-signature", signature)], body, **NEXUS) == Verified(0)
    assert (facts["kind"], facts["sender"]) == (Kind.IMAGE, "nora")
    assert facts["image"] == Image(registry="nexus.acme.example:8082", name="acme/app", tag="1.2")
    assert read(document | {"action": "DELETED"}, **NEXUS)["kind"] is Kind.CUSTOM


async def test_a_signed_delivery_gets_through_the_listener() -> None:
    ingress = Ingress()
    body = orjson.dumps({"branch": "main", "repository": "https://git.acme.example/t/a", "changed_paths": ["x/y"]})

    accepted = await ingress.post("/listener/generic/global", body, generic(body))
    refused = await ingress.post("/listener/generic/global", body, generic(body + b" "))

    assert (accepted.status, refused.status) == (202, 401)
    (event,) = ingress.events
    assert (event.provider, event.source_event, event.provider_delivery_id) == ("generic", "push", "g1")
    assert (event.kind, event.branch, event.changed_paths) == (Kind.PUSH, "main", ("x/y",))


@given(st.binary(min_size=1, max_size=100), st.booleans(), st.integers(min_value=0), st.sampled_from(list(ENCODERS)))
def test_a_flipped_bit_is_never_accepted(body: bytes, in_body: bool, position: int, encoding: Any) -> None:
    for algorithm in ("sha256", "sha512", "sha1"):
        digest = hmac.new(SECRET.encode(), body, getattr(hashlib, algorithm)).digest()
        changed = bytearray(body if in_body else digest)
        changed[position // 8 % len(changed)] ^= 1 << position % 8
        right, wrong = ENCODERS[encoding](digest), ENCODERS[encoding](digest if in_body else bytes(changed))

        assert check_hmac(body, right, SECRETS, algorithm, encoding) == Verified(0)
        flipped = check_hmac(bytes(changed) if in_body else body, wrong, SECRETS, algorithm, encoding)
        assert isinstance(flipped, Refused)


WAYS = [
    {"way": "hmac"},
    {"way": "hmac", "encoding": "base64"},
    {"way": "hmac", "encoding": "base64url", "algorithm": "sha512"},
    {"way": "token"},
    {"way": "token", "scheme": "plain"},
    {"way": "token", "scheme": "basic", "user": "ci"},
]
header_values = st.one_of(
    st.binary(max_size=100),
    st.from_regex(rb"(sha256=|Bearer |Basic )?[0-9a-zA-Z+/=_-]{0,90}", fullmatch=True),
)


@given(
    st.sampled_from(WAYS),
    st.lists(st.tuples(st.sampled_from([b"x-signature", b"x-signature-256", b"authorization"]), header_values)),
    st.binary(max_size=50),
)
def test_any_request_of_a_stranger_is_refused_without_an_exception(
    way: dict[str, str], headers: Pairs, body: bytes
) -> None:
    assert isinstance(verify(headers, body, verify=way), Refused)


KEYS = ["repository", "clone_url", "full_name", "ref", "branch", "tag", "before", "after", "deleted", "commit", "image"]
KEYS += ["commits", "changed_paths", "message", "sender", "login", "added", "id", "head_commit", "default_branch"]
TEXTS = ["refs/heads/main", "refs/tags/v1", "main", "0" * 40, SHA, "https://git.acme.example/a/b", "ghcr.io/a/b:1"]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=8), st.sampled_from(TEXTS)
)
documents = st.dictionaries(
    st.sampled_from(KEYS),
    st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
        max_leaves=8,
    ),
    max_size=8,
)
OPTIONS: list[dict[str, Any]] = [
    {},
    NEXUS,
    {"delivery_id": ["/id", "/commit"], "event": ["/message", "/tag"], "kind": {"main": "ci"}},
    {"image": {"name": "/branch", "registry": "/tag", "tag": "/message", "digest": "/sender"}},
    *({"kind": kind.value} for kind in Kind if kind is not Kind.MANUAL),
]


@given(st.sampled_from(OPTIONS), documents)
def test_any_json_object_becomes_valid_facts(options: dict[str, Any], document: dict[str, Any]) -> None:
    identity = identify(document, **options)

    event = WebhookEvent(
        id="i",
        delivery_id="d",
        receipt_id="r",
        provider=identity.provider,
        provider_delivery_id=identity.delivery_id,
        source_event=identity.source_event,
        received_at=datetime(2026, 11, 2, tzinfo=UTC),
        **read(document, **options),
    )

    assert WebhookEvent.from_bytes(event.to_bytes()) == event


def test_the_row_of_the_table_has_the_defaults() -> None:
    request = Request(Headers(generic(BODY)), Body(BODY))

    assert PROVIDERS["generic"].verify(request, SECRETS) == Verified(0)
    assert PROVIDERS["generic"].identify(request.headers, {}) == Identity("generic", "push", "g1")
