"""Only who knows a secret gets in, and no header can make the check raise."""

from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers import PROVIDERS
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.provider import Request
from ingress.providers.signing import Refused, Verdict, Verified, check_hmac_sha256, check_token
from tests.unit.ingress.senders import OLD_SECRET, SECRET, Pairs, family, github, gitlab, hex_hmac

SECRETS = [SECRET.encode(), OLD_SECRET.encode()]
BODY = '{"ref": "refs/heads/größe & more"}'.encode()


def verify(auth: str, headers: Pairs, body: bytes, *, is_form: bool = False) -> Verdict:
    return PROVIDERS[auth].verify(Request(Headers(headers), Body(body, is_form=is_form)), SECRETS)


def replaced(headers: Pairs, name: bytes, *values: bytes) -> Pairs:
    return [pair for pair in headers if pair[0] != name] + [(name, value) for value in values]


def test_githubs_published_example_verifies() -> None:
    """The example of https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries."""
    signature = b"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert check_hmac_sha256(b"Hello, World!", signature, [b"It's a Secret to Everybody"]) == Verified(0)


@pytest.mark.parametrize(("secret", "index"), [(SECRET, 0), (OLD_SECRET, 1)])
def test_the_secret_that_was_used_is_reported_by_its_position(secret: str, index: int) -> None:
    assert verify("github", github(BODY, secret=secret), BODY) == Verified(index)
    assert verify("gitlab", gitlab(secret), BODY) == Verified(index)


@pytest.mark.parametrize("auth", ["gitea", "forgejo", "gogs", "github"])
@pytest.mark.parametrize("name", ["gitea", "forgejo", "gogs"])
def test_the_family_is_accepted_at_each_of_its_urls_and_at_githubs(auth: str, name: str) -> None:
    headers = family(name, BODY)

    assert verify(auth, headers, BODY) == Verified(0)
    assert PROVIDERS[auth].identify(Headers(headers), {}).provider == name


def test_github_signs_the_form_and_gitea_the_json_inside_it() -> None:
    form = b"payload=" + quote_plus(BODY).encode()

    assert verify("github", github(form), form, is_form=True) == Verified(0)
    assert verify("gitea", family("gitea", BODY), form, is_form=True) == Verified(0)
    assert verify("github", family("gitea", BODY), form, is_form=True) == Verified(0)
    assert isinstance(verify("github", github(BODY), form, is_form=True), Refused)
    assert isinstance(verify("gitea", family("gitea", form), form, is_form=True), Refused)
    assert isinstance(verify("github", family("gitea", form), form, is_form=True), Refused)


def test_a_form_without_a_payload_is_not_taken_for_an_empty_one() -> None:
    """A signature over nothing, once seen, must not open the door for any form that holds no JSON."""
    assert isinstance(verify("gitea", family("gitea", b""), b"other=1", is_form=True), Refused)


GOOD = hex_hmac(BODY)
MALFORMED = {
    "absent": (),
    "empty": (b"",),
    "prefix alone": (b"sha256=",),
    "too short": (GOOD[:-1],),
    "too long": (GOOD + b"0",),
    "no hex": (b"z" * 64,),
    "not ascii": ("é".encode() * 32,),
    "inner blank": (GOOD[:31] + b" " + GOOD[32:],),
    "outer blank": (b" " + GOOD,),
    "sent twice": (GOOD, GOOD),
    "one good of two": (b"0" * 64, GOOD),
    "other prefix": (b"sha1=" + GOOD,),
    "prefix twice": (b"sha256=sha256=" + GOOD,),
    "all zeros": (b"0" * 64,),
}


@pytest.mark.parametrize("values", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("name", ["github", "forgejo", "gitea", "gogs"])
def test_a_malformed_signature_is_refused(name: str, values: tuple[bytes, ...]) -> None:
    headers = github(BODY) if name == "github" else family(name, BODY)
    header = b"x-hub-signature-256" if name == "github" else f"x-{name}-signature".encode()

    assert isinstance(verify(name, replaced(headers, header, *values), BODY), Refused)


@pytest.mark.parametrize("values", [(b"sha256=" + GOOD,), (GOOD,), (GOOD.upper(),), (b"sha256=" + GOOD.upper(),)])
def test_githubs_prefix_and_the_case_of_the_digits_are_free(values: tuple[bytes, ...]) -> None:
    assert verify("github", replaced(github(BODY), b"x-hub-signature-256", *values), BODY) == Verified(0)


@pytest.mark.parametrize(
    "values", [(), (b"",), (b" ",), (SECRET.encode() + b" ",), ("é".encode(),), (SECRET.encode(), SECRET.encode())]
)
def test_a_missing_or_wrong_token_is_refused(values: tuple[bytes, ...]) -> None:
    assert isinstance(verify("gitlab", replaced(gitlab(), b"x-gitlab-token", *values), BODY), Refused)


def test_sha1_is_never_enough() -> None:
    headers = [*replaced(github(BODY), b"x-hub-signature-256"), (b"x-hub-signature", b"sha1=" + b"0" * 40)]

    assert isinstance(verify("github", headers, BODY), Refused)


def test_a_hook_without_a_secret_lets_nobody_in() -> None:
    for secrets in ([], [b""]):
        assert isinstance(check_hmac_sha256(BODY, hex_hmac(BODY, ""), secrets), Refused)
        assert isinstance(check_token(b"", secrets), Refused)


def test_an_event_header_of_gitea_does_not_open_githubs_form_rule() -> None:
    """A sender's headers are not signed; adding one must not turn a refused request into an accepted one."""
    headers = [*github(b"other"), (b"x-gitea-event", b"push")]

    assert isinstance(verify("github", headers, BODY), Refused)


@given(st.binary(max_size=200), st.integers(min_value=0))
def test_a_flipped_bit_is_never_accepted(body: bytes, position: int) -> None:
    signature = bytearray(bytes.fromhex(hex_hmac(body).decode()))
    signature[position // 8 % len(signature)] ^= 1 << position % 8

    assert check_hmac_sha256(body, hex_hmac(body), SECRETS) == Verified(0)
    assert isinstance(check_hmac_sha256(body, bytes(signature).hex().encode(), SECRETS), Refused)


@given(st.binary(min_size=1, max_size=200), st.integers(min_value=0))
def test_a_body_with_a_flipped_bit_is_never_accepted(body: bytes, position: int) -> None:
    changed = bytearray(body)
    changed[position // 8 % len(body)] ^= 1 << position % 8

    assert isinstance(check_hmac_sha256(bytes(changed), hex_hmac(body), SECRETS), Refused)


HEADER_NAMES = [
    b"content-type",
    b"x-github-event",
    b"x-hub-signature-256",
    b"x-gitlab-token",
    b"x-gitlab-event",
    b"x-gitea-event",
    b"x-gitea-signature",
    b"x-forgejo-event",
    b"x-forgejo-signature",
    b"x-gogs-event",
    b"x-gogs-signature",
    b"idempotency-key",
]
header_values = st.one_of(st.binary(max_size=100), st.from_regex(rb"(sha256=)?[0-9a-fA-F]{60,66}", fullmatch=True))


@given(
    st.sampled_from(sorted(PROVIDERS)),
    st.lists(st.tuples(st.sampled_from(HEADER_NAMES), header_values), max_size=12),
    st.one_of(st.binary(max_size=200), st.binary(max_size=50).map(b"payload=".__add__)),
    st.booleans(),
)
def test_any_request_of_a_stranger_is_refused_without_an_exception(
    auth: str, headers: Pairs, body: bytes, is_form: bool
) -> None:
    identity = PROVIDERS[auth].identify(Headers(headers), {})

    assert isinstance(verify(auth, headers, body, is_form=is_form), Refused)
    assert identity.source_event is None or identity.source_event.isprintable()
