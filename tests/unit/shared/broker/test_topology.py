"""The names on the broker: routing keys by which subscribers pick, and the delay that is long enough."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.topology import DELAYS, Exchange, Names, Queue, delay_for, routing_key
from shared.event import Kind, Repository
from tests.builders import an_event

KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "a push": ({}, "github.push.acme.homelab"),
    "another kind": ({"kind": Kind.IMAGE, "provider": "harbor"}, "harbor.image.acme.homelab"),
    "dots in names": ({"repository": Repository(full_name="acme.org/home.lab")}, "github.push.acme_org.home_lab"),
    "groups": ({"repository": Repository(full_name="acme/team/homelab")}, "github.push.acme_team.homelab"),
    "no owner": ({"repository": Repository(full_name="homelab")}, "github.push._.homelab"),
    "no repository": ({"repository": None}, "github.push._._"),
    "an empty name": ({"repository": Repository(full_name="")}, "github.push._._"),
    "wildcards": ({"repository": Repository(full_name="*/#")}, "github.push._._"),
    "dashes": ({"repository": Repository(full_name="a-b/c_d")}, "github.push.a-b.c_d"),
    "letters of the world": ({"repository": Repository(full_name="müller/猫")}, "github.push.müller.猫"),
}


@pytest.mark.parametrize(("event", "key"), KEYS.values(), ids=KEYS)
def test_a_routing_key_has_four_words(event: dict[str, Any], key: str) -> None:
    assert routing_key(an_event(**event)) == key


@given(st.text(max_size=600), st.text(max_size=60))
def test_a_routing_key_always_fits_and_matches_by_words(name: str, provider: str) -> None:
    key = routing_key(an_event(provider=provider, repository=Repository(full_name=name)))

    assert len(key.encode()) <= 255
    assert "*" not in key
    assert "#" not in key
    if len(key.encode()) < 250:
        assert key.count(".") == 3
        assert all(key.split("."))


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(-1, "1s"), (0, "1s"), (1, "1s"), (1.01, "5s"), (5, "5s"), (59.9, "1m"), (60, "1m"), (61, "5m"), (9000, "15m")],
)
def test_a_delay_is_the_shortest_that_is_long_enough_or_the_longest(seconds: float, name: str) -> None:
    assert delay_for(seconds) == name


@given(st.floats(0, 900))
def test_a_delay_is_never_too_short(seconds: float) -> None:
    assert dict(DELAYS)[delay_for(seconds)] >= seconds


def test_every_name_carries_the_prefix() -> None:
    names = Names("mine.")

    assert names.exchange(Exchange.EVENTS) == "mine.webhook.events"
    assert names.queue(Queue.DEAD) == "mine.dead"
    assert names.delay("1s") == "mine.delay.1s"
    assert Names().queue(Queue.EVENTS) == "events"
