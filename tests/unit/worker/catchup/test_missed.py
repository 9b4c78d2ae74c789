"""What counts as missed, what is asked for again, and that the same miss is always the same event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.event import GlobalListener, Kind, ProcedureListener, Repository, StackListener
from shared.provider_api.github import Attempt
from shared.store.heads import Branch, Seen
from tests.builders import NOON, an_event, at
from worker.catchup.missed import (
    FIRST_SIGHT,
    MAX_ATTEMPTS,
    REDELIVERABLE,
    SETTLED,
    Finding,
    event_for,
    ids_of_its_catch_up,
    judge,
    to_redeliver,
)

OLD, HEAD = "a" * 40, "b" * 40
MAIN = Branch("github.com/acme/infra", "main")
AGO = timedelta(hours=5)


@pytest.mark.parametrize(
    ("head", "seen", "finding"),
    [
        pytest.param(HEAD, Seen(OLD, False), Finding.MISSED, id="the head moved and nobody told"),
        pytest.param(HEAD, Seen(HEAD, True), Finding.CURRENT, id="the last push brought it"),
        pytest.param(HEAD, Seen(OLD, True), Finding.CURRENT, id="an earlier push brought it"),
        pytest.param(HEAD, Seen(), Finding.FIRST_SEEN, id="nothing was ever pushed"),
        pytest.param(None, Seen(OLD, False), Finding.GONE, id="the branch was deleted"),
        pytest.param(None, Seen(), Finding.GONE, id="the branch never was"),
    ],
)
def test_a_head_is_judged_by_what_pushes_have_brought(head: str | None, seen: Seen, finding: Finding) -> None:
    assert judge(head, seen) is finding


def made(branch: Branch = MAIN, commit: str = HEAD, **changes: Any) -> Any:
    """The event of a catch-up."""
    values: dict[str, Any] = {
        "provider": "github",
        "full_name": "Acme/infra",
        "before": OLD,
        "deploys": True,
        "now": NOON,
    }
    return event_for(branch, commit, **(values | changes))


def test_what_was_missed_is_a_push_to_everybody_that_lists_no_files() -> None:
    event = made()

    assert (event.kind, event.hook, event.listener) == (Kind.PUSH, "global", GlobalListener())
    assert (event.source, event.source_event, event.provider) == ("catch-up", "catch-up", "github")
    assert (event.before, event.after, event.commit) == (OLD, HEAD, HEAD)
    assert (event.ref, event.branch) == ("refs/heads/main", "main")
    assert event.repository == Repository(key="github.com/acme/infra", full_name="Acme/infra")
    assert (event.changed_paths, event.changed_paths_complete, event.ignored) == (None, None, None)


def test_what_is_only_recorded_says_why_nothing_starts() -> None:
    assert made(deploys=False, before=None).ignored == FIRST_SIGHT


def test_the_same_miss_has_the_same_ids_whenever_it_is_found() -> None:
    first, later = made(), made(now=at(3600), before=None)

    assert (first.id, first.delivery_id, first.receipt_id) == (later.id, later.delivery_id, later.receipt_id)


@given(st.lists(st.tuples(*[st.text("ab/-", min_size=1, max_size=3)] * 3), unique=True, min_size=2))
def test_different_misses_have_different_ids(misses: list[tuple[str, str, str]]) -> None:
    found = {made(Branch(key, name), commit).id for key, name, commit in misses}

    assert len(found) == len(misses)


def test_a_delivery_of_the_same_commit_names_the_catch_up_that_may_have_come_first() -> None:
    push = an_event(repository=Repository(key=MAIN.repository, full_name="acme/infra"), after=HEAD)

    assert ids_of_its_catch_up(push) == [made().id]


@pytest.mark.parametrize(
    "different",
    [
        pytest.param({"branch": "next"}, id="another branch"),
        pytest.param({"after": OLD}, id="another commit"),
        pytest.param({"repository": Repository(key="github.com/acme/other", full_name="acme/other")}, id="another one"),
        pytest.param({"repository": None}, id="no repository"),
        pytest.param({"branch": None}, id="no branch"),
        pytest.param({"after": None}, id="no commit"),
        pytest.param({"kind": Kind.CI}, id="no push"),
        pytest.param({"listener": ProcedureListener(name="web", branch="main")}, id="a procedure's own URL"),
        pytest.param({"listener": StackListener(name="web", execution="deploy")}, id="a stack's own URL"),
    ],
)
def test_what_says_something_else_is_not_made_up_for_by_it(different: dict[str, Any]) -> None:
    values = {"repository": Repository(key=MAIN.repository, full_name="acme/infra"), "after": HEAD} | different

    assert made().id not in ids_of_its_catch_up(an_event(**values))


def attempt(
    status_code: int, *, number: int = 1, guid: str = "g", ago: timedelta = AGO, event: str = "push"
) -> Attempt:
    return Attempt(number, guid, event, status_code, NOON - ago)


@pytest.mark.parametrize(
    ("attempts", "again"),
    [
        pytest.param([attempt(status)], [1], id=f"{status} is asked for again")
        for status in (0, 404, 408, 429, 500, 502, 503, 504)
    ]
    + [pytest.param([attempt(status)], [], id=f"{status} is not") for status in (200, 202, 301, 400, 401, 403, 413)]
    + [
        pytest.param([attempt(502), attempt(202, number=2, ago=AGO / 2)], [], id="arrived the second time"),
        pytest.param([attempt(202), attempt(502, number=2, ago=AGO / 2)], [], id="arrived the first time"),
        pytest.param([attempt(502, number=2, ago=AGO / 2), attempt(502)], [2], id="the last try is repeated"),
        pytest.param([attempt(502), attempt(401, number=2, ago=AGO / 2)], [], id="refused the second time"),
        pytest.param([attempt(502, ago=SETTLED / 2)], [], id="a moment ago"),
        pytest.param([attempt(502, ago=REDELIVERABLE + SETTLED)], [], id="too old for GitHub"),
        pytest.param(
            [attempt(502, number=number, ago=AGO - timedelta(minutes=number)) for number in range(MAX_ATTEMPTS)],
            [],
            id="tried often enough",
        ),
        pytest.param(
            [attempt(502, number=3, guid="b", ago=AGO / 2), attempt(502, number=4, guid="a")], [4, 3], id="in order"
        ),
    ],
)
def test_a_delivery_is_asked_for_again_when_nobody_was_there(attempts: Sequence[Attempt], again: list[int]) -> None:
    assert [attempt.id for attempt in to_redeliver(attempts, now=NOON)] == again
