"""Tokens of CI jobs: only what the trusted issuer has signed, now, for us, about a job that counts, is believed."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import ingress.oidc
from ingress.oidc import MAX_ANSWER, MAX_KEYS, MAX_TOKEN, Key, Keys, Token, Trust, check, read_keys
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.oidc import Oidc
from ingress.providers.provider import Facts, Request
from ingress.providers.push import MERGE_QUEUE
from ingress.providers.signing import Refused, Verified
from shared.errors import Transient
from shared.event import Image, Kind
from tests.builders import NOON, at
from tests.unit.ingress.senders import SHA
from tests.unit.ingress.tokens import (
    AUDIENCE,
    EC_KEY,
    GITHUB,
    GITLAB,
    RSA_KEY,
    Issuer,
    an_issuer,
    encoded,
    github_claims,
    gitlab_claims,
    jwk,
    token,
)
from tests.waiting import until

KEYS = read_keys({"keys": [jwk(RSA_KEY), jwk(EC_KEY, "k2")]})
TRUST = Trust(issuer=GITHUB, audience=AUDIENCE, claims={"repository_owner": "Acme"})
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
HONEST = token(github_claims())
HONEST_EC = token(github_claims(), EC_KEY, kid="k2")


def refusal(raw: bytes | None, *, trust: Trust | None = TRUST, now: float = 0) -> str | None:
    """Why the token is refused at that many seconds after noon; None when it is believed."""
    found = check(raw, KEYS, trust, at(now))
    return found.reason if isinstance(found, Refused) else None


@pytest.mark.parametrize("honest", [HONEST, HONEST_EC], ids=["RS256", "ES256"])
def test_what_the_issuer_signed_is_believed(honest: bytes) -> None:
    assert check(honest, KEYS, TRUST, NOON) == github_claims()


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(b".".join))
def test_no_bytes_raise(raw: bytes) -> None:
    assert refusal(raw) is not None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "jwk", "jku", "x5c", "typ"]), _JSON), _JSON)
def test_no_header_and_no_claims_raise(header: dict[str, Any], claims: Any) -> None:
    raw = encoded(orjson.dumps(header)) + b"." + encoded(orjson.dumps(claims)) + b"." + encoded(b"s" * 256)

    assert refusal(raw) is not None


@given(st.dictionaries(st.sampled_from(sorted(github_claims())), _JSON, min_size=1))
def test_no_signed_claims_raise(changes: dict[str, Any]) -> None:
    found = check(token({**github_claims(), **changes}, EC_KEY, kid="k2"), KEYS, TRUST, NOON)

    assert isinstance(found, Refused) or found["iss"] == GITHUB


@pytest.mark.parametrize("honest", [HONEST, HONEST_EC], ids=["RS256", "ES256"])
def test_a_flipped_bit_is_never_accepted(honest: bytes) -> None:
    number, size = int.from_bytes(honest, "big"), len(honest)
    flipped = ((number ^ 1 << bit).to_bytes(size, "big") for bit in range(8 * size))

    assert [one for one in flipped if refusal(one) is None] == []


@pytest.mark.parametrize("honest", [HONEST, HONEST_EC], ids=["RS256", "ES256"])
def test_the_last_characters_have_no_second_spelling(honest: bytes) -> None:
    others = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="
    spellings = [honest[:-1] + bytes([other]) for other in others] + [honest + b"=", honest + b"==", honest + b"\n"]

    assert [one for one in spellings if refusal(one) is None] == [honest]


def signed_by_hmac(secret: bytes) -> bytes:
    signed = b".".join(HONEST.split(b".")[:2])
    header = encoded(orjson.dumps({"alg": "HS256", "kid": "k1"}))
    signed = header + b"." + signed.split(b".")[1]
    return signed + b"." + encoded(hmac.digest(secret, signed, "sha256"))


def unsigned(algorithm: object) -> bytes:
    header = encoded(orjson.dumps({"alg": algorithm, "kid": "k1"}))
    return header + b"." + HONEST.split(b".")[1] + b"."


CONFUSED: dict[str, bytes] = {
    "none": unsigned("none"),
    "None": unsigned("None"),
    "no algorithm": unsigned(None),
    "a list": unsigned(["RS256"]),
    "RS256 without a signature": unsigned("RS256"),
    "HS256 with the public key": signed_by_hmac(PUBLIC_PEM),
    "HS256 with the public key's text": signed_by_hmac(PUBLIC_PEM.strip()),
    "another case": token(github_claims(), alg="rs256"),
    "a stronger one": token(github_claims(), alg="RS512"),
    "PSS": token(github_claims(), alg="PS256"),
    "RSA that says ES256": token(github_claims(), alg="ES256"),
    "EC that says RS256": token(github_claims(), EC_KEY, kid="k2", alg="RS256"),
    "RSA under the name of the EC key": token(github_claims(), kid="k2"),
    "EC under the name of the RSA key": token(github_claims(), EC_KEY, kid="k1"),
    "a key of its own": token(github_claims(), EC_KEY, kid="k3", jwk=jwk(EC_KEY, "k3")),
    "a critical extension": token(github_claims(), crit=["exp"], exp=1),
    "an unencoded payload": token(github_claims(), b64=False, crit=["b64"]),
}


@pytest.mark.parametrize("raw", CONFUSED.values(), ids=CONFUSED)
def test_the_token_does_not_choose_how_it_is_checked(raw: bytes) -> None:
    assert refusal(raw) is not None


@pytest.mark.parametrize("kid", [None, 1, "", "k" * 201, "k\n1", ["k1"], "k9"])
def test_a_token_names_a_known_key(kid: Any) -> None:
    assert refusal(token(github_claims(), kid=kid)) is not None


def test_another_key_of_that_name_is_not_the_issuers() -> None:
    other = rsa.generate_private_key(65537, 2048)

    assert refusal(token(github_claims(), other)) == "the signature is wrong"
    assert (
        refusal(token(github_claims(), ec.generate_private_key(ec.SECP256R1()), kid="k2")) == "the signature is wrong"
    )


def test_a_token_that_is_too_long_is_not_read() -> None:
    assert refusal(token(github_claims(filling="x" * MAX_TOKEN))) == "the token is missing, too long or malformed"
    assert refusal(None) == "the token is missing, too long or malformed"


TIMES: dict[str, tuple[dict[str, Any], float, bool]] = {
    "fresh": ({}, 0, True),
    "just within the leeway": ({}, 359.9, True),
    "expired": ({}, 360, False),
    "made in the future, within the leeway": ({}, -60, True),
    "made in the future": ({}, -60.1, False),
    "without nbf": ({"nbf": None}, 0, True),
    "not before, within the leeway": ({"nbf": int(NOON.timestamp()) + 60}, 0, True),
    "not yet": ({"nbf": int(NOON.timestamp()) + 61}, 0, False),
    "for ever": ({"exp": None}, 0, False),
    "since nobody knows when": ({"iat": None}, 0, False),
    "an end in text": ({"exp": "9999999999"}, 0, False),
    "an end that is true": ({"exp": True}, 0, False),
    "an end in milliseconds": ({"exp": int(NOON.timestamp() * 1000)}, 0, False),
    "an end before time began": ({"exp": -1}, 0, False),
    "a beginning in text": ({"nbf": "0"}, 0, False),
    "fractions": ({"exp": NOON.timestamp() + 0.5, "iat": NOON.timestamp() - 0.5}, 60.4, True),
}


@pytest.mark.parametrize(("changes", "now", "counts"), TIMES.values(), ids=TIMES)
def test_a_token_counts_for_its_time(changes: dict[str, Any], now: float, counts: bool) -> None:
    assert (refusal(token(github_claims(**changes)), now=now) is None) is counts


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"iss": GITHUB + "/"}, False),
        ({"iss": GITHUB.upper()}, False),
        ({"iss": [GITHUB]}, False),
        ({"iss": None}, False),
        ({"aud": "https://github.com/Acme"}, False),
        ({"aud": AUDIENCE + "/"}, False),
        ({"aud": None}, False),
        ({"aud": ["https://vault.example.com", AUDIENCE]}, True),
        ({"aud": ["https://vault.example.com"]}, False),
        ({"aud": {AUDIENCE: 1}}, False),
        ({"jti": None}, False),
        ({"jti": 7}, False),
        ({"jti": ""}, False),
        ({"jti": "x" * 201}, False),
        ({"jti": "é"}, False),
    ],
    ids=str,
)
def test_issuer_audience_and_id_have_to_be_exact(changes: dict[str, Any], counts: bool) -> None:
    assert (refusal(token(github_claims(**changes))) is None) is counts


def trust(**claims: Any) -> Trust:
    return Trust.model_validate({"issuer": GITHUB, "audience": AUDIENCE, "claims": {"repository_id": "74"} | claims})


@pytest.mark.parametrize(
    ("claims", "counts"),
    [
        ({"repository": "Acme/*", "ref": "refs/heads/main", "environment": "production"}, True),
        ({"repository": "acme/*"}, False),
        ({"ref": "refs/heads/main, refs/heads/release/*"}, True),
        ({"ref": "!refs/heads/main"}, False),
        ({"ref": "\\^refs/heads/(main|next)$\\"}, True),
        ({"ref": ["refs/heads/main", "refs/heads/next"]}, True),
        ({"ref": ["refs/heads/*"]}, False),
        ({"ref": ["refs/heads/mai"]}, False),
        ({"job_workflow_ref": "*"}, False),
        ({"run_attempt": "1"}, True),
        ({"is_private": ["true"]}, True),
        ({"is_private": "True"}, False),
        ({"nothing": ["None", "null"]}, False),
        ({"list": "*"}, False),
    ],
    ids=str,
)
def test_every_condition_has_to_be_met(claims: dict[str, Any], counts: bool) -> None:
    raw = token(github_claims() | {"run_attempt": 1, "is_private": True, "nothing": None, "list": ["x"]})

    assert (refusal(raw, trust=trust(**claims)) is None) is counts


def test_a_refusal_names_the_claim_and_not_what_it_says() -> None:
    reason = refusal(token(github_claims(environment="top secret")), trust=trust(environment="production"))

    assert reason == "this hook does not trust what the token's claim environment says"


def test_a_hook_that_trusts_nobody_refuses_everybody() -> None:
    assert refusal(HONEST, trust=None) == "this hook trusts no issuer of tokens"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://gitlab.example.com"},
        {"issuer": "ftp://127.0.0.1"},
        {"issuer": "gitlab.example.com"},
        {"issuer": "https://"},
        {"issuer": "https://user@gitlab.example.com"},
        {"issuer": "https://gitlab.example.com?x"},
        {"issuer": "https://gitlab.example.com#x"},
        {"issuer": "https://gitlab.example.com:99999"},
        {"issuer": "https://gitlab.example.com/\n"},
        {"audience": ""},
        {"claims": {}},
        {"claims": {"ref": "refs/heads/main"}},
        {"claims": {"sub": "repo:Acme/*"}},
        {"claims": {"repository": "*"}},
        {"claims": {"repository": "*/infra"}},
        {"claims": {"repository": "Acme*"}},
        {"claims": {"repository": "Acme/infra, ?cme/infra"}},
        {"claims": {"repository": "!Eve/*"}},
        {"claims": {"repository": "\\Acme/.*\\"}},
        {"claims": {"repository_owner": "Ac*"}},
        {"claims": {"repository": ""}},
        {"claims": {"repository": "\\(\\"}},
        {"claims": {"repository": []}},
        {"claims": {"repository": 7}},
        {"claims": {"repository": "Acme/*", "": "x"}},
        {"secret": "x"},
    ],
    ids=str,
)
def test_a_trust_that_says_too_little_is_refused(changes: dict[str, Any]) -> None:
    good = {"issuer": GITHUB, "audience": AUDIENCE, "claims": {"repository": "Acme/*"}}
    assert Trust.model_validate(good)

    with pytest.raises(ValidationError):
        Trust.model_validate(good | changes)


@pytest.mark.parametrize(
    "claims",
    [
        {"repository": "Acme/*"},
        {"repository": "Acme/infra, Acme/web-*, !Acme/web-old"},
        {"repository": "\\^Acme/(infra|web)$\\"},
        {"repository": ["Acme/*"]},
        {"repository_owner_id": "65"},
        {"project_path": "acme/ops/*", "ref_protected": "true"},
    ],
    ids=str,
)
def test_a_trust_that_says_whose_jobs_count_is_taken(claims: dict[str, Any]) -> None:
    trust = Trust.model_validate({"issuer": GITLAB, "audience": AUDIENCE, "claims": claims})

    assert Trust.model_validate(trust.model_dump(mode="json")) == trust


WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it has to be refused
OTHER_CURVE = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
UNUSABLE: dict[str, Any] = {
    "no object": "key",
    "another type": jwk(RSA_KEY, kty="oct", k="c2VjcmV0"),
    "for encryption": jwk(RSA_KEY, use="enc"),
    "for another algorithm": jwk(RSA_KEY, alg="RS512"),
    "for a secret's algorithm": jwk(RSA_KEY, alg="HS256"),
    "too short": jwk(WEAK),
    "another curve": {
        "kty": "EC",
        "crv": "P-384",
        "x": encoded(OTHER_CURVE.x.to_bytes(48, "big")).decode(),
        "y": encoded(OTHER_CURVE.y.to_bytes(48, "big")).decode(),
        "kid": "k1",
    },
    "a point beside the curve": jwk(EC_KEY, y=jwk(EC_KEY)["x"]),
    "a part that is missing": {"kty": "RSA", "n": jwk(RSA_KEY)["n"], "kid": "k1"},
    "a part that is no text": jwk(RSA_KEY, e=65537),
    "a part that is no number": jwk(RSA_KEY, n="ÿ"),
    "without a name": jwk(RSA_KEY, kid=None),
    "with a name that is no text": jwk(RSA_KEY, kid=1),
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_is_not_for_signatures_is_left_out(unusable: Any) -> None:
    assert list(read_keys({"keys": [unusable, jwk(EC_KEY, "k2")]})) == ["k2"]
    with pytest.raises(Transient):
        read_keys({"keys": [unusable]})


def test_of_two_keys_with_one_name_the_first_counts_and_of_too_many_the_first_ones() -> None:
    assert read_keys({"keys": [jwk(EC_KEY, "k"), jwk(RSA_KEY, "k")]})["k"].algorithm == "ES256"
    assert len(read_keys({"keys": [jwk(EC_KEY, f"k{number}") for number in range(MAX_KEYS + 1)]})) == MAX_KEYS


@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "crv", "x", "y", "kid", "alg", "use"]), _JSON))
def test_no_published_key_raises(changes: dict[str, Any]) -> None:
    assert Key.from_jwk(jwk(RSA_KEY) | changes) is None or "alg" not in changes or changes["alg"] == "RS256"
    assert Key.from_jwk(jwk(EC_KEY) | changes) is None or changes.get("crv", "P-256") == "P-256"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with an_issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> Keys:
    """Keys that know the issuer and nothing of it yet."""
    keys = Keys(http_on_loopback=True, clock=clock)
    keys.add(issuer.url)
    return keys


async def test_keys_are_fetched_once_for_all_who_come_at_the_same_time(issuer: Issuer, keys: Keys) -> None:
    async def known_after_loading() -> list[str]:
        await keys.load(issuer.url, "k1")
        return list(keys.of(issuer.url))

    issuer.gate.clear()
    loading = [asyncio.create_task(known_after_loading()) for _ in range(20)]
    await until(lambda: issuer.fetched == 1)
    assert not any(task.done() for task in loading)

    issuer.gate.set()
    known = [*await asyncio.gather(*loading), await known_after_loading()]

    assert known == [["k1"]] * 21
    assert issuer.asked == {"/.well-known/openid-configuration": 1, "/jwks": 1}


async def test_an_unknown_key_is_looked_for_once_a_minute(issuer: Issuer, keys: Keys, clock: Clock) -> None:
    await keys.load(issuer.url, "k1")
    issuer.keys = [jwk(EC_KEY, "k2")]
    clock.now += 59.9
    for kid in ("k2", "k3", "k2"):
        await keys.load(issuer.url, kid)
    assert (issuer.fetched, list(keys.of(issuer.url))) == (1, ["k1"])

    clock.now += 0.1
    for kid in ("k2", "k3", "k4"):
        await keys.load(issuer.url, kid)

    assert (issuer.fetched, list(keys.of(issuer.url))) == (2, ["k2"])


async def test_keys_are_looked_at_again_after_an_hour_so_that_a_withdrawn_one_ends(
    issuer: Issuer, keys: Keys, clock: Clock
) -> None:
    issuer.keys.append(jwk(EC_KEY, "leaked"))
    await keys.load(issuer.url, "k1")
    issuer.keys.pop()
    clock.now += 3599
    await keys.load(issuer.url, "leaked")
    assert issuer.fetched == 1

    clock.now += 1
    await keys.load(issuer.url, "leaked")

    assert list(keys.of(issuer.url)) == ["k1"]


async def test_who_has_a_known_key_does_not_wait_for_somebody_elses_fetch(
    issuer: Issuer, keys: Keys, clock: Clock
) -> None:
    await keys.load(issuer.url, "k1")
    clock.now += 3600
    issuer.gate.clear()
    first = asyncio.create_task(keys.load(issuer.url, "k1"))
    await until(lambda: issuer.fetched == 2)

    clock.now += 60
    await keys.load(issuer.url, "k1")

    assert not first.done()
    issuer.gate.set()
    await first


async def test_while_the_issuer_is_away_its_keys_stay_and_it_is_asked_once_a_minute(
    issuer: Issuer, keys: Keys, clock: Clock
) -> None:
    await keys.load(issuer.url, "k1")
    issuer.status = 503
    clock.now += 7200
    for _ in range(3):
        await keys.load(issuer.url, "k1")
    await keys.load(issuer.url, "k2")

    assert (issuer.fetched, list(keys.of(issuer.url))) == (2, ["k1"])


async def test_an_issuer_that_was_away_from_the_start_is_asked_again_soon(
    issuer: Issuer, keys: Keys, clock: Clock
) -> None:
    issuer.status = 503
    await keys.load(issuer.url, "k1")
    await keys.load(issuer.url, "k1")
    assert (issuer.fetched, keys.of(issuer.url)) == (1, {})

    issuer.status = 200
    clock.now += 10
    await keys.load(issuer.url, "k1")

    assert list(keys.of(issuer.url)) == ["k1"]


async def test_a_stranger_is_never_asked(issuer: Issuer) -> None:
    keys = Keys(http_on_loopback=True)

    await keys.load(issuer.url, "k1")

    assert (issuer.asked, keys.of(issuer.url)) == ({}, {})


def test_an_issuer_is_asked_without_tls_only_where_that_was_allowed(issuer: Issuer) -> None:
    with pytest.raises(ValueError, match="https"):
        Keys().add(issuer.url)


REDIRECT = {"status": 302, "headers": [(b"location", b"/jwks")]}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a redirect": (REDIRECT, "answered 302"),
    "an error": ({"status": 500}, "answered 500"),
    "another issuer's page": ({"discovery": {"issuer": "https://eve.example"}}, "of another issuer"),
    "an issuer with a slash": ({"discovery": {"issuer": "{url}/"}}, "of another issuer"),
    "keys elsewhere": ({"discovery": {"jwks_uri": "https://eve.example/jwks"}}, "not on its own host"),
    "keys on another port": ({"discovery": {"jwks_uri": "http://127.0.0.1:1/jwks"}}, "not on its own host"),
    "keys on a name for the host": ({"discovery": {"jwks_uri": "http://localhost/jwks"}}, "not on its own host"),
    "keys in a file": ({"discovery": {"jwks_uri": "file:///etc/passwd"}}, "not on its own host"),
    "keys with a user": ({"discovery": {"jwks_uri": "http://eve@{host}/jwks"}}, "not on its own host"),
    "keys nowhere": ({"discovery": {"jwks_uri": None}}, "not on its own host"),
    "a page that is missing": ({"discovery": {"jwks_uri": "{url}/gone"}}, "answered 404"),
    "too much": ({"filling": b" " * MAX_ANSWER}, "too large"),
    "no JSON": ({"filling": b"}"}, "not JSON"),
    "something packed": ({"headers": [(b"content-encoding", b"gzip")]}, "compressed"),
    "no keys": ({"keys": []}, "no key that can be used"),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
async def test_keys_come_from_the_issuer_itself_or_not_at_all(
    issuer: Issuer, fault: dict[str, Any], reason: str
) -> None:
    host = issuer.url.removeprefix("http://")
    for name, value in fault.items():
        if name == "discovery":
            value = {key: text and text.format(url=issuer.url, host=host) for key, text in value.items()}
        setattr(issuer, name, value)

    with pytest.raises(Transient, match=reason):
        await ingress.oidc.fetch(issuer.url)


async def test_an_issuer_that_does_not_answer_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    await ingress.oidc.fetch(issuer.url)
    monkeypatch.setattr(ingress.oidc, "FETCH_SECONDS", 0.3)
    issuer.gate.clear()

    with pytest.raises(Transient, match="did not answer"):
        await ingress.oidc.fetch(issuer.url)


async def test_an_issuer_that_nobody_listens_for_is_not_reached() -> None:
    with pytest.raises(Transient, match="ConnectError"):
        await ingress.oidc.fetch("http://127.0.0.1:1")


def request(raw: bytes | None, body: bytes = b"") -> Request:
    headers = [] if raw is None else [(b"authorization", b"Bearer " + raw)]
    return Request(Headers(headers), Body(body), at=NOON)


def options(issuer: Issuer, **claims: Any) -> dict[str, Any]:
    return {"issuer": issuer.url, "audience": AUDIENCE, "claims": {"repository": "Acme/*"} | claims}


async def test_a_hook_believes_what_it_trusts_and_its_decoy_nothing(issuer: Issuer) -> None:
    anyone = Oidc(Keys(http_on_loopback=True))
    hook = anyone.trusting(options(issuer))
    good = request(token(github_claims(iss=issuer.url)))
    verdicts = []
    for provider in (anyone, hook):
        await provider.prepare(good)
        verdicts.append(provider.verify(good, [b"unused"]))

    assert verdicts == [Refused("this hook trusts no issuer of tokens"), Verified(0)]
    assert issuer.fetched == 1


async def test_two_hooks_of_one_issuer_have_its_keys_in_common_and_each_its_own_conditions(issuer: Issuer) -> None:
    anyone = Oidc(Keys(http_on_loopback=True))
    infra, web = anyone.trusting(options(issuer)), anyone.trusting(options(issuer, repository="Acme/Web"))
    good = request(token(github_claims(iss=issuer.url)))
    await infra.prepare(good)

    assert infra.verify(good, []) == Verified(0)
    assert isinstance(web.verify(good, []), Refused)


async def test_what_is_no_token_makes_nobody_ask_the_issuer(issuer: Issuer) -> None:
    hook = Oidc(Keys(http_on_loopback=True)).trusting(options(issuer))
    others = [None, b"", b"x", CONFUSED["none"], HONEST, token(github_claims(iss=GITLAB))]
    for raw in others:
        await hook.prepare(request(raw))

    assert issuer.asked == {}
    assert all(isinstance(hook.verify(request(raw), []), Refused) for raw in others)


async def test_where_no_hook_trusts_anybody_nothing_is_read() -> None:
    nobody = Oidc()
    await nobody.prepare(request(HONEST))

    assert nobody.verify(request(HONEST), []) == Refused("no hook trusts any issuer of tokens")


def test_wrong_options_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="whose jobs count"):
        Oidc().trusting({"issuer": GITHUB, "audience": AUDIENCE, "claims": {"ref": "refs/heads/main"}})


def facts_of(claims: dict[str, Any], body: object = None) -> Facts:
    provider = Oidc()
    asked = request(token(claims), b"" if body is None else orjson.dumps(body))
    document = provider.parse(asked)
    assert isinstance(document, dict)
    (facts,) = provider.normalize(provider.identify(asked.headers, document), document)
    return facts


def test_githubs_job_is_read_from_its_token() -> None:
    facts = facts_of(github_claims())

    assert facts["kind"] is Kind.CI
    assert (facts["ref"], facts["branch"], facts["commit"]) == ("refs/heads/main", "main", SHA)
    assert (facts["sender"], facts["message"]) == ("nora", "run 30433642, environment production")
    assert facts["repository"] is not None
    assert facts["repository"].model_dump(exclude_defaults=True) == {
        "key": "github.com/acme/infra",
        "full_name": "Acme/Infra",
        "urls": ("https://github.com/Acme/Infra.git",),
        "provider_id": "74",
    }
    assert facts.get("ignored") is None


def test_gitlabs_job_is_read_from_its_token() -> None:
    facts = facts_of(gitlab_claims())

    assert facts["kind"] is Kind.CI
    assert (facts["ref"], facts["branch"], facts["commit"]) == ("refs/heads/main", "main", SHA)
    assert (facts["sender"], facts["message"]) == ("nora", "run 574")
    assert facts["repository"] is not None
    assert facts["repository"].model_dump(exclude_defaults=True) == {
        "key": "gitlab.example.com/acme/ops/infra",
        "full_name": "acme/ops/infra",
        "urls": ("https://gitlab.example.com/acme/ops/infra.git",),
        "provider_id": "22",
    }


@pytest.mark.parametrize(
    ("issuer", "key"),
    [
        (GITHUB, "github.com/acme/infra"),
        (GITHUB + "/acme-inc", "github.com/acme/infra"),
        ("https://token.actions.acme.ghe.com", "acme.ghe.com/acme/infra"),
        ("https://git.example.com/_services/token", "git.example.com/acme/infra"),
        ("https://forgejo.example.com/api/actions", "forgejo.example.com/acme/infra"),
    ],
)
def test_the_repositorys_host_is_that_of_the_issuers_server(issuer: str, key: str) -> None:
    repository = facts_of(github_claims(iss=issuer))["repository"]

    assert repository is not None
    assert repository.key == key


@pytest.mark.parametrize(
    ("claims", "kind", "branch", "tag"),
    [
        (github_claims(ref="refs/tags/v1"), Kind.CI, None, "v1"),
        (gitlab_claims(ref="v1", ref_type="tag"), Kind.CI, None, "v1"),
        (github_claims(ref="refs/pull/7/merge", event_name="pull_request"), Kind.CUSTOM, None, None),
        (github_claims(event_name="pull_request_target"), Kind.CUSTOM, None, None),
        (gitlab_claims(pipeline_source="merge_request_event"), Kind.CUSTOM, None, None),
        (github_claims(ref="main"), Kind.CUSTOM, None, None),
        (github_claims(ref=None), Kind.CUSTOM, None, None),
        (gitlab_claims(ref_type=None), Kind.CUSTOM, None, None),
        (gitlab_claims(ref="a..b"), Kind.CUSTOM, None, None),
        (gitlab_claims(ref=7, ref_type=7), Kind.CUSTOM, None, None),
    ],
)
def test_only_a_job_of_a_branch_or_tag_is_ci(
    claims: dict[str, Any], kind: Kind, branch: str | None, tag: str | None
) -> None:
    facts = facts_of(claims)

    assert (facts["kind"], facts.get("branch"), facts.get("tag")) == (kind, branch, tag)
    assert facts.get("ignored") is None


def test_a_merge_queues_branch_starts_nothing() -> None:
    assert facts_of(github_claims(ref="refs/heads/gh-readonly-queue/main/pr-1"))["ignored"] == MERGE_QUEUE


def test_claims_of_neither_start_nothing() -> None:
    facts = facts_of(github_claims(repository=None))

    assert (facts["kind"], facts["ignored"]) == (
        Kind.CUSTOM,
        "the token has neither GitHub's nor GitLab's claims",
    )


@pytest.mark.parametrize(
    "body",
    [
        {"ref": "refs/heads/other", "repository": "Eve/Infra", "sha": "3c" * 20, "actor": "eve", "kind": "push"},
        {"claims": {"repository": "Eve/Infra"}, "repository_id": 1, "image": None},
        [{"repository": "Eve/Infra"}],
        "Eve/Infra",
        None,
    ],
    ids=str,
)
def test_the_body_is_not_believed(body: object) -> None:
    assert facts_of(github_claims(), body) == facts_of(github_claims())


def test_a_body_that_is_not_json_is_a_value_error() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        Oidc().parse(request(HONEST, b"{"))


def test_the_body_may_name_the_image_that_the_job_has_pushed() -> None:
    facts = facts_of(github_claims(), {"image": "ghcr.io/acme/web:1.2"})

    assert facts["kind"] is Kind.IMAGE
    assert facts["image"] == Image(registry="ghcr.io", name="acme/web", tag="1.2")
    assert (facts["branch"], facts["commit"], facts["sender"]) == ("main", SHA, "nora")
    assert facts["repository"] == facts_of(github_claims())["repository"]
    assert facts["ignored"] is None


@pytest.mark.parametrize(
    ("image", "ignored"),
    [
        ("ghcr.io/acme/web", "the image has no tag: the parts of a multi-platform image come like that"),
        ("not an image", "the event names no image"),
        (7, "the event names no image"),
        ({}, "the event names no image"),
    ],
)
def test_an_image_that_is_none_starts_nothing(image: object, ignored: str) -> None:
    assert facts_of(github_claims(), {"image": image})["ignored"] == ignored


def test_an_image_for_a_release_has_no_tag_but_its_own() -> None:
    facts = facts_of(github_claims(ref="refs/tags/v1"), {"image": "ghcr.io/acme/web:1.2"})

    assert (facts["kind"], facts["tag"], facts["ref"]) == (Kind.IMAGE, None, None)


def test_an_image_that_was_built_for_a_request_is_no_image_event() -> None:
    facts = facts_of(github_claims(event_name="pull_request"), {"image": "ghcr.io/acme/web:1.2"})

    assert (facts["kind"], facts["image"]) == (
        Kind.CUSTOM,
        Image(registry="ghcr.io", name="acme/web", tag="1.2"),
    )


@given(st.dictionaries(st.sampled_from(sorted({*github_claims(), *gitlab_claims()})), _JSON), _JSON)
def test_whatever_the_claims_and_the_body_are_there_are_facts(claims: dict[str, Any], body: object) -> None:
    provider, document = Oidc(), {"claims": claims, "body": body}
    (facts,) = provider.normalize(provider.identify(Headers([]), document), document)

    assert facts["kind"] in (Kind.CI, Kind.CUSTOM, Kind.IMAGE)


def test_a_delivery_has_the_tokens_id_once_it_is_verified() -> None:
    provider, asked = Oidc(), request(HONEST)
    document = provider.parse(asked)
    assert isinstance(document, dict)

    assert provider.identify(asked.headers, {}).delivery_id is None
    assert provider.identify(asked.headers, document).delivery_id == github_claims()["jti"]
    assert provider.identify(asked.headers, document).source_event == "push"


def test_a_token_shows_nothing_of_itself() -> None:
    shown = repr(Token.parse(HONEST))

    assert "nora" not in shown
    assert "signature" not in shown
