"""How often one may fail, and that who knows the secret never notices (I8)."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.limits import MOST_OF_CLIENT, Failures, Limit
from tests.unit.ingress.senders import Ingress, github, push_body

GLOBAL = "/listener/github/global"

# At most 2 in 10 seconds: what is counted at which second, and what is answered.
CASES = {
    "within the limit": [("a", 0, None), ("a", 1, None)],
    "one too many": [("a", 0, None), ("a", 1, None), ("a", 2, 8)],
    "each has a limit of its own": [("a", 0, None), ("a", 0, None), ("b", 0, None), ("a", 0, 10)],
    "the window ends": [("a", 0, None), ("a", 1, None), ("a", 9, 1), ("a", 10, None), ("a", 19, None), ("a", 19, 1)],
    "what is one too many does not make the window longer": [
        ("a", 0, None),
        ("a", 0, None),
        *[("a", second, 10 - second) for second in range(10)],
        ("a", 10, None),
    ],
}


@pytest.mark.parametrize("steps", CASES.values(), ids=CASES)
def test_what_is_one_too_many_is_told_when_its_window_ends(steps: list[tuple[str, float, float | None]]) -> None:
    limit = Limit(2, seconds=10)

    assert [limit.count(key, now) for key, now, _ in steps] == [wait for _, _, wait in steps]


STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 30)), max_size=60)


@given(STEPS, st.integers(1, 4))
def test_it_says_what_a_list_of_all_that_was_counted_would_say(steps: list[tuple[str, float]], most: int) -> None:
    limit = Limit(most, seconds=20)
    windows: dict[str, tuple[float, int]] = {}

    for (key, _), now in zip(steps, accumulate(pause for _, pause in steps), strict=True):
        end, counted = windows.get(key, (now, 0))
        windows[key] = (now + 20, 1) if now >= end else (end, counted + 1)
        end, counted = windows[key]

        assert limit.count(key, now) == (end - now if counted > most else None)


@given(STEPS, st.integers(1, 4))
def test_who_waits_as_long_as_told_is_within_the_limit_again(steps: list[tuple[str, float]], most: int) -> None:
    limit = Limit(most, seconds=20)

    for (key, _), now in zip(steps, accumulate(pause for _, pause in steps), strict=True):
        wait = limit.count(key, now)
        if wait is not None:
            assert 0 < wait <= 20 + 1e-6
            assert limit.count(key, now + wait + 1e-6) is None
            return


@given(st.lists(st.text(max_size=3), max_size=80), st.integers(1, 5))
def test_it_remembers_only_so_many_keys(keys: list[str], most: int) -> None:
    limit = Limit(1, seconds=60, keys=most)

    for now, key in enumerate(keys):
        limit.count(key, now)
        assert len(limit) <= most


def test_the_key_whose_window_began_first_is_forgotten_first() -> None:
    limit = Limit(1, seconds=60, keys=2)
    for now, key in enumerate("aab"):
        limit.count(key, now)

    limit.count("c", 3)

    assert limit.count("b", 4) is not None
    assert limit.count("a", 4) is None


def test_a_hook_is_limited_whoever_fails_at_it() -> None:
    failures = Failures(of_client=10, of_hook=3, seconds=60)

    waits = [failures.count(f"192.0.2.{number}", "global", number) for number in range(4)]

    assert waits == [None, None, None, 57]


def test_a_client_is_limited_at_whichever_hook_it_fails() -> None:
    failures = Failures(of_client=3, of_hook=10, seconds=60)

    waits = [failures.count("192.0.2.1", f"hook-{number}", number) for number in range(4)]

    assert waits == [None, None, None, 57]


def test_who_is_over_both_limits_waits_for_the_later_one() -> None:
    failures = Failures(of_client=1, of_hook=1, seconds=60)
    failures.count("192.0.2.1", "global", 0)
    failures.count("192.0.2.2", "other", 30)

    assert failures.count("192.0.2.2", "global", 40) == 50


async def test_i8_an_authentic_delivery_from_an_address_over_its_limit_is_taken() -> None:
    ingress, body = Ingress(), push_body()
    refused = [
        (await ingress.post(GLOBAL, body, github(body, secret="a wrong one"))).status for _ in range(MOST_OF_CLIENT + 2)
    ]

    taken = await ingress.post(GLOBAL, body, github(body))
    wrong = await ingress.post(GLOBAL, body, github(body, secret="a wrong one"))

    assert refused == [401] * MOST_OF_CLIENT + [429] * 2
    assert (taken.status, wrong.status) == (202, 429)
    assert 1 <= int(wrong.headers[b"retry-after"]) <= 60


async def test_what_is_authentic_is_never_counted() -> None:
    ingress, body = Ingress(), push_body()
    for _ in range(MOST_OF_CLIENT * 2):
        assert (await ingress.post(GLOBAL, body, github(body))).status == 202
    no_json = [(await ingress.post(GLOBAL, b"{", github(b"{"))).status for _ in range(MOST_OF_CLIENT * 2)]

    assert set(no_json) == {400}
    assert (await ingress.post(GLOBAL, body, github(body, secret="a wrong one"))).status == 401


async def test_over_the_limit_a_hook_that_is_not_there_is_answered_like_one_that_is() -> None:
    body = push_body()
    answers = []
    for path in (GLOBAL, f"{GLOBAL}/nobody"):
        ingress = Ingress()
        sent = [await ingress.post(path, body, github(body, secret="a wrong one")) for _ in range(MOST_OF_CLIENT + 1)]
        answers.append([(one.status, one.body, sorted(one.headers)) for one in sent])

    assert answers[0] == answers[1]
