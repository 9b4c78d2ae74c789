"""Standard Webhooks and GitLab's signing token: who does not sign, or signed long ago, does not get in."""

import hashlib
import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers import PROVIDERS
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.provider import Request
from ingress.providers.signing import Refused, Stamped, Verdict, Verified, check_standard, signing_key
from shared.event import Kind
from tests.unit.ingress.senders import SECRET, SHA, SIGNING_SECRET, Ingress, Pairs, gitlab, standard

AT = datetime(2026, 11, 2, 12, tzinfo=UTC)
OLD_SIGNING = "whsec_" + b64encode(b"o" * 24).decode()
BODY = b'{"type": "deploy.wanted", "data": {"ref": "refs/heads/main"}}'


def verify(
    auth: str, headers: Pairs, body: bytes = BODY, secrets: tuple[str, ...] = (SIGNING_SECRET,), at: datetime = AT
) -> Verdict:
    request = Request(Headers(headers), Body(body), at=at)
    return PROVIDERS[auth].verify(request, [secret.encode() for secret in secrets])


def replaced(headers: Pairs, name: bytes, *values: bytes) -> Pairs:
    return [pair for pair in headers if pair[0] != name] + [(name, value) for value in values]


def signature(headers: Pairs, names: bytes = b"webhook") -> bytes:
    return dict(headers)[names + b"-signature"]


def test_the_published_example_verifies() -> None:
    """The example of the libraries of https://github.com/standard-webhooks/standard-webhooks."""
    stamped = Stamped(
        id=b"msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=b"1614265330",
        signatures=b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        body=b'{"test": 2432232314}',
    )
    at = datetime.fromtimestamp(1614265330, UTC)

    assert check_standard(stamped, [b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], at) == Verified(0)
    assert check_standard(stamped, [b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], at) == Verified(0)


@pytest.mark.parametrize("names", ["webhook", "svix"])
def test_both_families_of_headers_are_read(names: str) -> None:
    headers = standard(BODY, AT, names=names)
    identity = PROVIDERS["standard"].identify(Headers(headers), orjson.loads(BODY))

    assert verify("standard", headers) == Verified(0)
    assert (identity.provider, identity.source_event, identity.delivery_id) == ("standard", "deploy.wanted", "msg_1")


def test_the_families_are_not_mixed() -> None:
    headers = standard(BODY, AT, names="svix")

    assert isinstance(verify("standard", [*headers, (b"webhook-id", b"msg_1")]), Refused)


@pytest.mark.parametrize(("secret", "index"), [(SIGNING_SECRET, 0), (OLD_SIGNING, 1)])
@pytest.mark.parametrize("auth", ["standard", "gitlab"])
def test_the_secret_that_was_used_is_reported_by_its_position(auth: str, secret: str, index: int) -> None:
    assert verify(auth, standard(BODY, AT, secret=secret), secrets=(SIGNING_SECRET, OLD_SIGNING)) == Verified(index)


@pytest.mark.parametrize("auth", ["standard", "gitlab"])
@pytest.mark.parametrize("sign", [1, -1])
def test_rule_20_a_clock_may_be_off_by_up_to_five_minutes_either_way(auth: str, sign: int) -> None:
    headers = standard(BODY, AT)

    assert verify(auth, headers, at=AT + sign * timedelta(minutes=4, seconds=59)) == Verified(0)
    assert verify(auth, headers, at=AT + sign * timedelta(minutes=5)) == Verified(0)
    late = verify(auth, headers, at=AT + sign * timedelta(minutes=5, seconds=1))
    assert isinstance(late, Refused)
    assert "5 minutes" in late.reason


@pytest.mark.parametrize("auth", ["standard", "gitlab"])
def test_rule_20_a_retry_has_the_same_delivery_id_under_a_new_timestamp(auth: str) -> None:
    provider = PROVIDERS[auth]
    first, second = standard(BODY, AT), standard(BODY, AT + timedelta(hours=5))

    assert first != second
    assert provider.identify(Headers(first), {}).delivery_id == provider.identify(Headers(second), {}).delivery_id


def test_what_is_wrongly_signed_is_told_nothing_about_its_clock() -> None:
    refused = verify("standard", standard(BODY, AT, secret=OLD_SIGNING), at=AT + timedelta(days=1))

    assert isinstance(refused, Refused)
    assert "5 minutes" not in refused.reason


@pytest.mark.parametrize("auth", ["standard", "gitlab"])
@pytest.mark.parametrize("form", ["%b v2,unknown", "v2,unknown %b", "v1a,c2ln %b", "v1,d3Jvbmc= %b", "%b  ", "x %b y"])
def test_one_right_entry_among_others_is_enough(auth: str, form: str) -> None:
    headers = standard(BODY, AT)
    entries = form.encode() % signature(headers)

    assert verify(auth, replaced(headers, b"webhook-signature", entries)) == Verified(0)


GOOD = standard(BODY, AT)
RIGHT = signature(GOOD)
MALFORMED: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "no signature": (b"webhook-signature", ()),
    "empty signature": (b"webhook-signature", (b"",)),
    "version alone": (b"webhook-signature", (b"v1,",)),
    "other version": (b"webhook-signature", (RIGHT.replace(b"v1,", b"v2,"),)),
    "key pair's version": (b"webhook-signature", (RIGHT.replace(b"v1,", b"v1a,"),)),
    "no version": (b"webhook-signature", (RIGHT.removeprefix(b"v1,"),)),
    "upper case version": (b"webhook-signature", (RIGHT.replace(b"v1", b"V1"),)),
    "without padding": (b"webhook-signature", (RIGHT.rstrip(b"="),)),
    "other last bits": (b"webhook-signature", (RIGHT[:-2] + bytes([RIGHT[-2] + 1]) + b"=",)),
    "comma separated": (b"webhook-signature", (RIGHT + b"," + RIGHT,)),
    "not ascii": (b"webhook-signature", ("v1,é".encode() * 10,)),
    "two signature headers": (b"webhook-signature", (RIGHT, RIGHT)),
    "too many entries": (b"webhook-signature", (b"v2,x " * 32 + RIGHT,)),
    "no id": (b"webhook-id", ()),
    "empty id": (b"webhook-id", (b"",)),
    "another id": (b"webhook-id", (b"msg_2",)),
    "two ids": (b"webhook-id", (b"msg_1", b"msg_1")),
    "no timestamp": (b"webhook-timestamp", ()),
    "empty timestamp": (b"webhook-timestamp", (b"",)),
    "another timestamp": (b"webhook-timestamp", (b"%d" % (AT.timestamp() + 1),)),
    "two timestamps": (b"webhook-timestamp", (dict(GOOD)[b"webhook-timestamp"],) * 2),
}


@pytest.mark.parametrize(("name", "values"), MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("auth", ["standard", "gitlab"])
def test_a_malformed_stamp_is_refused(auth: str, name: bytes, values: tuple[bytes, ...]) -> None:
    assert isinstance(verify(auth, replaced(GOOD, name, *values)), Refused)


def stamped(identifier: bytes, timestamp: bytes, body: bytes = BODY, secret: str = SIGNING_SECRET) -> Stamped:
    """Rightly signed, whatever it is."""
    key = signing_key(secret.encode())
    assert key is not None
    digest = hmac.new(key, identifier + b"." + timestamp + b"." + body, hashlib.sha256).digest()
    return Stamped(identifier, timestamp, b"v1," + b64encode(digest), body)


@pytest.mark.parametrize(
    "timestamp",
    ["1793620800.0", "+1793620800", " 1793620800", "1793620800 ", "1_793_620_800", "-1", "1e9", "٣", "²", "9" * 16],
)
def test_a_timestamp_that_is_not_digits_is_refused_though_it_is_signed(timestamp: str) -> None:
    at = datetime.fromtimestamp(1793620800, UTC)

    assert check_standard(stamped(b"m", b"1793620800"), [SIGNING_SECRET.encode()], at) == Verified(0)
    assert isinstance(check_standard(stamped(b"m", timestamp.encode()), [SIGNING_SECRET.encode()], at), Refused)


def test_a_dot_in_the_id_is_refused_though_it_is_signed() -> None:
    """Else a part of the id could be read as the timestamp, and the timestamp as the beginning of the body."""
    timestamp = b"%d" % AT.timestamp()

    assert isinstance(check_standard(stamped(b"a.b", timestamp), [SIGNING_SECRET.encode()], AT), Refused)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + b64encode(b"k" * 23).decode(),
        "whsec_" + b64encode(b"k" * 65).decode(),
        "whsec_not base64 at all, but long enough to be a key",
        "whpk_" + b64encode(b"k" * 32).decode(),
        SECRET + "!",
    ],
)
def test_a_secret_that_is_no_key_of_24_to_64_bytes_lets_nobody_in(secret: str) -> None:
    empty = Stamped(b"m", b"%d" % AT.timestamp(), None, BODY)
    signed = b"m.%d." % AT.timestamp() + BODY
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in (b"", secret.encode(), b"k" * 23, b"k" * 65)]

    for digest in digests:
        forged = Stamped(empty.id, empty.timestamp, b"v1," + b64encode(digest), BODY)
        assert isinstance(check_standard(forged, [secret.encode()], AT), Refused)
    assert isinstance(check_standard(forged, [], AT), Refused)
    assert signing_key(secret.encode()) is None


@pytest.mark.parametrize("size", [24, 32, 64])
def test_keys_of_the_allowed_sizes_verify(size: int) -> None:
    secret = "whsec_" + b64encode(b"k" * size).decode()

    assert verify("standard", standard(BODY, AT, secret=secret), secrets=(secret,)) == Verified(0)


def test_rule_7_a_signing_token_is_not_replaced_by_the_plain_one() -> None:
    """Neither when GitLab's signature is missing, nor when it is wrong."""
    assert isinstance(verify("gitlab", gitlab(SIGNING_SECRET)), Refused)
    assert isinstance(verify("gitlab", [*gitlab(SIGNING_SECRET), *standard(BODY, AT, secret=OLD_SIGNING)]), Refused)
    assert isinstance(verify("gitlab", [*gitlab("whsec_short")], secrets=("whsec_short",)), Refused)


def test_rule_7_an_old_timestamp_is_refused_beside_a_right_looking_token() -> None:
    headers = [*gitlab(SIGNING_SECRET), *standard(BODY, AT - timedelta(hours=1))]

    assert isinstance(verify("gitlab", headers), Refused)


def test_rule_7_entries_of_other_versions_are_ignored() -> None:
    headers = replaced(GOOD, b"webhook-signature", b"v2,newer " + RIGHT)

    assert verify("gitlab", headers) == Verified(0)
    assert isinstance(verify("gitlab", replaced(GOOD, b"webhook-signature", b"v2,newer")), Refused)


def test_a_gitlab_hook_with_both_kinds_of_secret_takes_each_in_its_own_way() -> None:
    secrets = (SIGNING_SECRET, SECRET)

    assert verify("gitlab", GOOD, secrets=secrets) == Verified(0)
    assert verify("gitlab", gitlab(SECRET), secrets=secrets) == Verified(1)
    assert verify("gitlab", [*gitlab("another"), *GOOD], secrets=secrets) == Verified(0)
    assert verify("gitlab", [*gitlab(SECRET), *standard(BODY, AT, secret=OLD_SIGNING)], secrets=secrets) == Verified(1)
    assert isinstance(verify("gitlab", gitlab(SIGNING_SECRET), secrets=secrets), Refused)


def test_a_plain_gitlab_secret_is_never_taken_for_a_key() -> None:
    plain = SIGNING_SECRET.removeprefix("whsec_")

    assert verify("standard", standard(BODY, AT, secret=plain), secrets=(plain,)) == Verified(0)
    assert isinstance(verify("gitlab", standard(BODY, AT, secret=plain), secrets=(plain,)), Refused)


def test_gitlab_is_told_by_the_id_that_it_signs() -> None:
    headers = Headers([(b"idempotency-key", b"unsigned"), (b"webhook-id", b"signed")])

    assert PROVIDERS["gitlab"].identify(headers, {}).delivery_id == "signed"


@given(st.binary(max_size=100), st.sampled_from(["id", "timestamp", "body", "signature"]), st.integers(min_value=0))
def test_a_flipped_bit_is_never_accepted(body: bytes, part: str, position: int) -> None:
    right = stamped(b"msg_1", b"%d" % AT.timestamp(), body)
    parts = {"id": right.id, "timestamp": right.timestamp, "body": body + b"x", "signature": right.signatures}
    right = stamped(b"msg_1", b"%d" % AT.timestamp(), parts["body"] or b"")
    parts["signature"] = right.signatures
    changed = bytearray(parts[part] or b"")
    changed[position // 8 % len(changed)] ^= 1 << position % 8
    parts[part] = bytes(changed)

    flipped = Stamped(parts["id"], parts["timestamp"], parts["signature"], parts["body"] or b"")

    assert check_standard(right, [SIGNING_SECRET.encode()], AT) == Verified(0)
    assert isinstance(check_standard(flipped, [SIGNING_SECRET.encode()], AT), Refused)


NAMES = [f"{names}-{part}".encode() for names in ("webhook", "svix") for part in ("id", "timestamp", "signature")]
stamps = st.one_of(
    st.binary(max_size=80), st.from_regex(rb"(v1,[A-Za-z0-9+/=]{0,44} ?){1,3}|[0-9]{1,16}", fullmatch=True)
)


@given(
    st.sampled_from(["standard", "gitlab"]),
    st.lists(st.tuples(st.sampled_from([*NAMES, b"x-gitlab-token", b"idempotency-key"]), stamps), max_size=8),
    st.binary(max_size=50),
    st.lists(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(b"whsec_".__add__)), max_size=3),
)
def test_any_request_of_a_stranger_is_refused_without_an_exception(
    auth: str, headers: Pairs, body: bytes, others: list[bytes]
) -> None:
    tokens = {value for name, value in headers if name == b"x-gitlab-token"}
    secrets = [SIGNING_SECRET.encode(), *(secret for secret in others if secret not in tokens)]

    assert isinstance(PROVIDERS[auth].verify(Request(Headers(headers), Body(body), at=AT), secrets), Refused)


def test_data_with_a_ref_is_a_push_and_other_data_is_named_by_its_type() -> None:
    provider = PROVIDERS["standard"]
    about = {"repository": "https://github.com/Acme/App", "ref": "refs/heads/main", "after": SHA}

    (inside,) = provider.normalize(provider.identify(Headers([]), {}), {"type": "git.pushed", "data": about})
    (itself,) = provider.normalize(provider.identify(Headers([]), {}), about)
    (other,) = provider.normalize(provider.identify(Headers([]), {}), {"type": "invoice.paid", "data": {"id": 7}})

    assert inside == itself
    assert (inside["kind"], inside["branch"], inside["after"]) == (Kind.PUSH, "main", SHA)
    assert inside["repository"] is not None
    assert inside["repository"].key == "github.com/acme/app"
    assert (other["kind"], other.get("ignored")) == (Kind.CUSTOM, None)


async def test_a_signed_delivery_gets_through_the_listener_and_an_old_one_does_not() -> None:
    ingress = Ingress(secrets=[SIGNING_SECRET], now=lambda: AT)

    accepted = await ingress.post("/listener/standard/global", BODY, standard(BODY, AT))
    refused = await ingress.post("/listener/standard/global", BODY, standard(BODY, AT - timedelta(minutes=6)))

    assert (accepted.status, refused.status) == (202, 401)
    (event,) = ingress.events
    assert (event.provider, event.source_event, event.branch) == ("standard", "deploy.wanted", "main")
    assert event.provider_delivery_id == "msg_1"
