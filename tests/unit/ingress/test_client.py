"""Whose address counts as the client's, and that no sender can pass for another."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.client import Proxies, site_of
from shared.errors import Misconfigured
from shared.settings import IngressSettings, load, networks
from tests.unit.ingress.senders import Pairs

TRUSTED = networks("10.0.0.0/8, 192.0.2.1, 2001:db8:f::/48")
PROXIES = Proxies(TRUSTED)
NEAR, FAR, CLIENT, OTHER = "10.0.0.1", "10.0.0.2", "203.0.113.7", "198.51.100.9"
SIX = "2001:db8::17"


def x_forwarded(*values: str) -> Pairs:
    return [(b"x-forwarded-for", value.encode("latin-1")) for value in values]


def forwarded(*values: str) -> Pairs:
    return [(b"forwarded", value.encode("latin-1")) for value in values]


CASES: dict[str, tuple[str | None, Pairs, str | None]] = {
    "no peer": (None, x_forwarded(CLIENT), None),
    "a peer that is no address": ("/run/kgw.sock", x_forwarded(CLIENT), "/run/kgw.sock"),
    "no header": (NEAR, [], NEAR),
    "an untrusted peer is itself": (OTHER, x_forwarded(CLIENT) + forwarded(f"for={CLIENT}"), OTHER),
    "one proxy": (NEAR, x_forwarded(CLIENT), CLIENT),
    "two proxies": (NEAR, x_forwarded(f"{CLIENT}, {FAR}"), CLIENT),
    "two proxies, two headers": (NEAR, x_forwarded(CLIENT, FAR), CLIENT),
    "what the client made up before": (NEAR, x_forwarded(f"{OTHER}, {CLIENT}"), CLIENT),
    "a trusted one before an untrusted one": (NEAR, x_forwarded(f"{FAR}, {CLIENT}"), CLIENT),
    "all are trusted": (NEAR, x_forwarded(f"192.0.2.1, {FAR}"), "192.0.2.1"),
    "an address of IPv6": (NEAR, x_forwarded(SIX), SIX),
    "an address of IPv6 in another form": (NEAR, x_forwarded("2001:0DB8:0::0017"), SIX),
    "a peer of IPv6": ("2001:db8:f::1", x_forwarded(CLIENT), CLIENT),
    "a peer with a zone": ("fe80::1%eth0", [], "fe80::1"),
    "a peer of IPv4 in the clothes of IPv6": ("::ffff:10.0.0.1", x_forwarded(CLIENT), CLIENT),
    "a client of IPv4 in the clothes of IPv6": (NEAR, x_forwarded(f"::ffff:{CLIENT}"), CLIENT),
    "a port": (NEAR, x_forwarded(f"{CLIENT}:4711"), CLIENT),
    "brackets": (NEAR, x_forwarded(f"[{SIX}]"), SIX),
    "brackets and a port": (NEAR, x_forwarded(f"[{SIX}]:4711"), SIX),
    "garbage ends the chain": (NEAR, x_forwarded(f"{CLIENT}, unknown, {FAR}"), FAR),
    "nothing but garbage": (NEAR, x_forwarded("\xff\x00, ,,"), NEAR),
    "an empty header": (NEAR, x_forwarded(""), NEAR),
    "a zone in a header": (NEAR, x_forwarded(f"fe80::1%{CLIENT}"), NEAR),
    "brackets that do not end": (NEAR, x_forwarded(f"[{CLIENT}"), NEAR),
    "IPv4 in brackets": (NEAR, x_forwarded(f"[{CLIENT}]"), NEAR),
    "more after the brackets": (NEAR, x_forwarded(f"[{SIX}]x"), NEAR),
    "a long header": (NEAR, x_forwarded(f"{'x' * 9000}, {CLIENT}"), CLIENT),
    "Forwarded": (NEAR, forwarded(f"for={CLIENT};proto=https;by={NEAR}"), CLIENT),
    "Forwarded in capitals": (NEAR, forwarded(f"Proto=https; For={CLIENT}"), CLIENT),
    "Forwarded with IPv6": (NEAR, forwarded(f'for="[{SIX}]:4711"'), SIX),
    "Forwarded by two": (NEAR, forwarded(f'for={CLIENT}, for="{FAR}:80"'), CLIENT),
    "Forwarded by two, two headers": (NEAR, forwarded(f"for={CLIENT}", f"for={FAR}"), CLIENT),
    "Forwarded for somebody hidden": (NEAR, forwarded(f"for={CLIENT}, for=_hidden, for={FAR}"), FAR),
    "Forwarded without a for": (NEAR, forwarded("proto=https"), NEAR),
    "Forwarded for two at once": (NEAR, forwarded(f"for={CLIENT};for={OTHER}"), NEAR),
    "a comma in a host that the client chose": (NEAR, forwarded(f'for={CLIENT};host="x, for={OTHER};a="'), CLIENT),
    "a semicolon in a host that the client chose": (NEAR, forwarded(f'for={CLIENT};host="x;for={OTHER}"'), CLIENT),
    "a mark in a host that the client chose": (NEAR, forwarded(f'for={CLIENT};host="x\\", for={OTHER};a=\\""'), CLIENT),
    "a mark that the client left open": (NEAR, forwarded(f'for=", for={CLIENT}'), CLIENT),
    "a mark left open in an earlier header": (NEAR, forwarded('for="', f'for="{CLIENT}"'), CLIENT),
    "both headers agree": (NEAR, x_forwarded(CLIENT) + forwarded(f"for={CLIENT}"), CLIENT),
    "both headers disagree": (NEAR, x_forwarded(CLIENT) + forwarded(f"for={OTHER}"), NEAR),
}


@pytest.mark.parametrize(("peer", "headers", "client"), CASES.values(), ids=CASES)
def test_the_client_is_the_last_address_that_is_vouched_for(
    peer: str | None, headers: Pairs, client: str | None
) -> None:
    assert PROXIES.client(peer, headers) == client


@pytest.mark.parametrize(
    ("peer", "client"),
    [(CLIENT, CLIENT), ("::ffff:10.0.0.1", NEAR), ("fe80::1%eth0", "fe80::1"), ("socket", "socket"), (None, None)],
)
def test_without_trusted_proxies_no_header_is_believed(peer: str | None, client: str | None) -> None:
    assert Proxies().client(peer, x_forwarded(OTHER) + forwarded(f"for={OTHER}")) == client


@pytest.mark.parametrize(
    ("client", "site"),
    [
        (CLIENT, CLIENT),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("socket", "socket"),
        (None, "unknown"),
    ],
)
def test_of_ipv6_a_64_counts_as_one_client(client: str | None, site: str) -> None:
    assert site_of(client) == site


TEXT = st.text(st.sampled_from('0123456789abcdef.:[]",;=\\ for%_\xff\x00'), max_size=60)


@given(st.none() | TEXT | st.ip_addresses().map(str), st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3))
def test_nothing_that_a_request_holds_raises(peer: str | None, x_values: list[str], values: list[str]) -> None:
    client = PROXIES.client(peer, x_forwarded(*x_values) + forwarded(*values))

    assert (client is None) == (peer is None)
    assert site_of(client)


OUTSIDE = (
    st.ip_addresses()
    .map(lambda address: ip_address(Proxies().client(str(address), []) or ""))
    .filter(lambda address: not any(address in network for network in TRUSTED))
    .map(str)
)


@given(TEXT, OUTSIDE)
def test_whatever_a_client_sends_it_is_known_by_the_address_that_its_proxy_saw(made_up: str, client: str) -> None:
    node = f'"[{client}]"' if ":" in client else client

    assert PROXIES.client(NEAR, x_forwarded(f"{made_up}, {client}")) == client
    assert PROXIES.client(NEAR, forwarded(f"{made_up}, for={node}")) == client


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("", NEAR),
        ("10.0.0.1", CLIENT),
        ("172.16.0.0/12,10.0.0.0/8 ", CLIENT),
        ("::ffff:10.0.0.0/104", CLIENT),
        ("::/0", NEAR),
    ],
)
def test_trusted_proxies_are_addresses_and_networks(text: str, client: str) -> None:
    settings = IngressSettings(trusted_proxies=text)

    assert Proxies(networks(settings.trusted_proxies)).client(NEAR, x_forwarded(CLIENT)) == client


@pytest.mark.parametrize("wrong", ["proxy", "10.0.0.1/8", "10.0.0.0/8,", "10.0.0.0/33", "10.0.0.0/8 172.16.0.0/12"])
def test_what_is_no_network_stops_the_start_and_names_the_setting(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGW_TRUSTED_PROXIES", wrong)

    with pytest.raises(Misconfigured, match="KGW_TRUSTED_PROXIES"):
        load(IngressSettings)
