"""When Komodo's checkout, or what was deployed from it, may be older than the push."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shared.komodo.types import StackDetail
from shared.store.attempts import Attempt
from tests.builders import NOON, an_action, an_event
from worker.executions.deploy_if_changed import _is_stale, _stale_deploy
from worker.outcome import Unsettled
from worker.retries import Cause
from worker.running import Running
from worker.tools import Tools

OLD, PUSHED, NEWER = "a" * 40, "b" * 40, "c" * 40


def running(previous: str | None = None, notes: dict[str, Any] | None = None, **event: Any) -> Running:
    """An attempt for a push from OLD to PUSHED; what is decided here needs no connection."""
    known = an_event(**{"before": OLD, "after": PUSHED, "commit": PUSHED, **event})
    action = an_action()
    attempt = Attempt(action.id, 1, "worker", NOON, NOON)
    return Running(cast(Tools, None), action, attempt, known, previous, notes or {})


def stack_at(latest: str | None) -> StackDetail:
    return StackDetail(
        id="s",
        name="web",
        source="git",
        latest_hash=latest,
        deployed_hash=None,
        deployed=None,
        remote=None,
        remote_errors=(),
        missing_files=(),
    )


CHECKOUTS: list[tuple[str, str | None, str | None, dict[str, Any], bool]] = [
    ("the pushed commit", PUSHED[:7], None, {}, False),
    ("the pushed commit in full", PUSHED, None, {}, False),
    ("the commit before", OLD[:7], None, {}, True),
    ("another commit", NEWER[:7], None, {}, True),
    ("another commit, once Komodo's cache has run out", NEWER[:7], Cause.STALE_CHECKOUT, {}, False),
    ("another commit, after a deploy of an old one", NEWER[:7], Cause.STALE_DEPLOY, {}, False),
    ("another commit, after something else", NEWER[:7], Cause.BUSY, {}, True),
    ("the commit before, still", OLD[:7], Cause.STALE_CHECKOUT, {}, True),
    ("another commit of a new branch", NEWER[:7], Cause.STALE_CHECKOUT, {"before": None}, False),
    ("no commit", None, None, {}, False),
    ("an event without commits", NEWER[:7], None, {"commit": None, "after": None}, False),
    ("an event with its ref's commit alone", PUSHED[:7], None, {"commit": None}, False),
    ("a tag object, and the commit that it names", PUSHED[:7], None, {"after": "d" * 40}, False),
]


@pytest.mark.parametrize(
    ("latest", "previous", "event", "expected"), [row[1:] for row in CHECKOUTS], ids=[row[0] for row in CHECKOUTS]
)
def test_a_checkout_may_be_older_than_the_push(
    latest: str | None, previous: str | None, event: dict[str, Any], expected: bool
) -> None:
    assert _is_stale(stack_at(latest), running(previous, **event)) is expected


DEPLOYS: list[tuple[str, str | None, dict[str, Any], bool]] = [
    ("what was latest before it", PUSHED[:7], {"latest_hash": PUSHED[:7]}, False),
    ("another commit than was latest", OLD[:7], {"latest_hash": PUSHED[:7]}, True),
    ("no commit", None, {"latest_hash": PUSHED[:7]}, False),
    ("the commit before the push, by a worker that is gone", OLD[:7], {}, True),
    ("the pushed commit, by a worker that is gone", PUSHED[:7], {}, False),
    ("a newer commit, by a worker that is gone", NEWER[:7], {}, False),
    ("no commit, by a worker that is gone", None, {}, False),
]


@pytest.mark.parametrize(
    ("deployed", "notes", "expected"), [row[1:] for row in DEPLOYS], ids=[row[0] for row in DEPLOYS]
)
def test_a_deploy_may_be_of_an_older_commit(deployed: str | None, notes: dict[str, Any], expected: bool) -> None:
    problem = _stale_deploy(running(notes=notes), deployed)

    assert (problem is not None) is expected
    assert problem is None or (isinstance(problem, Unsettled) and problem.cause is Cause.STALE_DEPLOY)


def test_an_event_without_a_commit_before_it_makes_no_deploy_old() -> None:
    assert _stale_deploy(running(before=None), OLD[:7]) is None
