"""`kgw send` signs as the provider does: the ingress accepts it with the secret, and only with it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers import PROVIDERS
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.provider import Request
from ingress.providers.signing import Refused, Verified
from ingress.routes import resolve
from kgw import sending
from shared.errors import Misconfigured, Unavailable
from shared.hook import GLOBAL

SECRET = "the secret of both sides"
SIGNING = "whsec_" + "c2VjcmV0" * 5
ANOTHER = "whsec_" + "YW5vdGhl" * 5
SECRETS = {"standard": SIGNING}


WITH_HEADERS = [name for name in sending.PROVIDERS if name not in sending.IN_THE_BODY]
EVENTS: dict[str, set[str | None]] = {
    "gitlab": {"Push Hook"},
    "bitbucket": {"repo:push"},
    "bitbucket-dc": {"repo:refs_changed"},
    "standard": {None},
}


def as_received(headers: Mapping[str, str]) -> Headers:
    """The fields as the listener has them."""
    return Headers((name.encode(), value.encode()) for name, value in headers.items())


def token_of(provider: str, secret: str) -> bytes | None:
    """What the listener takes for the token in the provider's URL."""
    url = sending.url_for(provider, "http://127.0.0.1:9130/", secret)
    address = resolve(url.removeprefix("http://127.0.0.1:9130").encode())
    assert address is not None
    assert (address.auth, address.hook) == (provider, GLOBAL)
    return address.token


def test_the_command_knows_every_provider_of_the_listener() -> None:
    # Nobody but a CI server can make its tokens.
    assert set(sending.PROVIDERS) == set(PROVIDERS) - {"oidc"}


@pytest.mark.parametrize("provider", sending.PROVIDERS)
@given(body=st.binary(max_size=200))
def test_the_provider_accepts_what_was_signed_with_its_secret(provider: str, body: bytes) -> None:
    secret = SECRETS.get(provider, SECRET)
    headers = as_received(sending.headers_for(provider, "push", body, secret, None))

    request = Request(headers, Body(body), token_of(provider, secret))
    verdict = PROVIDERS[provider].verify(request, [b"an older one", secret.encode()])

    assert verdict == Verified(1)


@pytest.mark.parametrize("provider", sending.PROVIDERS)
def test_the_provider_refuses_what_was_signed_with_another(provider: str) -> None:
    headers = as_received(sending.headers_for(provider, "push", b"{}", ANOTHER, None))

    request = Request(headers, Body(b"{}"), token_of(provider, ANOTHER))
    assert isinstance(PROVIDERS[provider].verify(request, [SECRETS.get(provider, SECRET).encode()]), Refused)


def test_gitlab_signs_with_a_secret_that_says_so_and_does_not_send_it() -> None:
    headers = sending.headers_for("gitlab", "push", b"{}", SIGNING, None)

    verdict = PROVIDERS["gitlab"].verify(Request(as_received(headers), Body(b"{}")), [SIGNING.encode()])

    assert verdict == Verified(0)
    assert SIGNING not in headers.values()


def test_a_secret_that_can_not_sign_is_refused_without_naming_it() -> None:
    with pytest.raises(Misconfigured, match=r"^the secret is no signing secret: whsec_ and 24 to 64 bytes in base64$"):
        sending.headers_for("standard", "push", b"{}", SECRET, None)


@pytest.mark.parametrize("secret", ["a/b", "50% & more?", "größe", "#.."])
def test_a_secret_in_the_url_may_have_any_character(secret: str) -> None:
    assert token_of("dockerhub", secret) == secret.encode()
    assert token_of("github", secret) is None


@pytest.mark.parametrize("provider", WITH_HEADERS)
def test_the_provider_reads_the_event_and_the_delivery_id(provider: str) -> None:
    secret = SECRETS.get(provider, SECRET)
    headers = as_received(sending.headers_for(provider, "push", b"{}", secret, "delivery-7"))

    identity = PROVIDERS[provider].identify(headers, {})

    assert identity.provider == provider
    assert identity.delivery_id in ("delivery-7", "/kgw/send delivery-7")
    assert identity.source_event in EVENTS.get(provider, {"push"})


@pytest.mark.parametrize("provider", WITH_HEADERS)
def test_without_an_id_every_delivery_is_another(provider: str) -> None:
    secret = SECRETS.get(provider, SECRET)
    first, second = (as_received(sending.headers_for(provider, "push", b"{}", secret, None)) for _ in range(2))

    ids = {PROVIDERS[provider].identify(headers, {}).delivery_id for headers in (first, second)}

    assert len(ids) == 2
    assert None not in ids


def test_a_provider_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(Misconfigured, match="sourceforge is none of github, "):
        sending.headers_for("sourceforge", "push", b"{}", SECRET, None)


async def test_an_ingress_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"^the ingress does not answer: ConnectError$"):
        await sending.send("http://127.0.0.1:1/listener/github/global", b"{}", {})
