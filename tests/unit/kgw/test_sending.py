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
from kgw import sending
from shared.errors import Misconfigured, Unavailable

SECRET = "the secret of both sides"


def as_received(headers: Mapping[str, str]) -> Headers:
    """The fields as the listener has them."""
    return Headers((name.encode(), value.encode()) for name, value in headers.items())


def test_the_command_knows_every_provider_of_the_listener() -> None:
    assert set(sending.PROVIDERS) == set(PROVIDERS)


@pytest.mark.parametrize("provider", sending.PROVIDERS)
@given(body=st.binary(max_size=200))
def test_the_provider_accepts_what_was_signed_with_its_secret(provider: str, body: bytes) -> None:
    headers = as_received(sending.headers_for(provider, "push", body, SECRET, None))

    verdict = PROVIDERS[provider].verify(Request(headers, Body(body)), [b"an older one", SECRET.encode()])

    assert verdict == Verified(1)


@pytest.mark.parametrize("provider", sending.PROVIDERS)
def test_the_provider_refuses_what_was_signed_with_another(provider: str) -> None:
    headers = as_received(sending.headers_for(provider, "push", b"{}", "another", None))

    assert isinstance(PROVIDERS[provider].verify(Request(headers, Body(b"{}")), [SECRET.encode()]), Refused)


@pytest.mark.parametrize("provider", sending.PROVIDERS)
def test_the_provider_reads_the_event_and_the_delivery_id(provider: str) -> None:
    headers = as_received(sending.headers_for(provider, "push", b"{}", SECRET, "delivery-7"))

    identity = PROVIDERS[provider].identify(headers, {})

    assert identity.provider == provider
    assert identity.delivery_id == "delivery-7"
    assert identity.source_event in ("push", "Push Hook")


@pytest.mark.parametrize("provider", sending.PROVIDERS)
def test_without_an_id_every_delivery_is_another(provider: str) -> None:
    first, second = (as_received(sending.headers_for(provider, "push", b"{}", SECRET, None)) for _ in range(2))

    ids = {PROVIDERS[provider].identify(headers, {}).delivery_id for headers in (first, second)}

    assert len(ids) == 2
    assert None not in ids


def test_a_provider_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(Misconfigured, match="bitbucket is none of github, "):
        sending.headers_for("bitbucket", "push", b"{}", SECRET, None)


async def test_an_ingress_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"^the ingress does not answer: ConnectError$"):
        await sending.send("http://127.0.0.1:1/listener/github/global", b"{}", {})
