"""Whether an event starts a procedure, and what decided."""

from __future__ import annotations

from typing import Any

import pytest

from shared.event import ANY_BRANCH, Kind, ProcedureListener, Repository, StackListener, WebhookEvent
from shared.matching.trigger import match
from shared.procedure.builtin import for_listener
from shared.procedure.model import Procedure, Trigger
from tests.builders import a_procedure, an_event


def procedure(**trigger: Any) -> Procedure:
    return a_procedure(trigger=Trigger.model_validate(trigger))


def own_url(branch: str = ANY_BRANCH, name: str = "homelab") -> ProcedureListener:
    return ProcedureListener(name=name, branch=branch)


RELEASE = an_event(kind=Kind.RELEASE, ref=None, branch=None, tag="v1")
TAG = an_event(kind=Kind.TAG, ref="refs/tags/v1", branch=None, tag="v1")
NAMELESS = an_event(repository=None)

# Trigger, event, whether it starts.
GLOBAL_ROWS: dict[str, tuple[dict[str, Any], WebhookEvent, bool]] = {
    "every push": ({}, an_event(), True),
    "its branch": ({"branch": "main, release/*"}, an_event(branch="release/1"), True),
    "another branch": ({"branch": "main, release/*"}, an_event(branch="dev"), False),
    "a branch in another case": ({"branch": "main"}, an_event(branch="Main"), False),
    "an excluded branch": ({"branch": "!dev"}, an_event(branch="dev"), False),
    "any but the excluded branch": ({"branch": "!dev"}, an_event(branch="main"), True),
    "no branch where one is wanted": ({"branch": "main", "events": ["release"]}, RELEASE, False),
    "its repository by owner and name": ({"repo": "acme/homelab"}, an_event(), True),
    "its repository by host too": ({"repo": "github.com/acme/homelab"}, an_event(), True),
    "its repository in another case": ({"repo": "Acme/HomeLab"}, an_event(), True),
    "a pattern of repositories": ({"repo": "github.com/acme/*"}, an_event(), True),
    "a regular expression with classes": ({"repo": r"\^acme/\S+$\ "}, an_event(), True),
    "the same name elsewhere": ({"repo": "gitlab.com/acme/homelab"}, an_event(), False),
    "a fork": (
        {"repo": "acme/homelab"},
        an_event(repository=Repository(key="github.com/eve/homelab", full_name="eve/homelab")),
        False,
    ),
    "no repository where one is wanted": ({"repo": "*"}, NAMELESS, False),
    "no repository where none is wanted": ({}, NAMELESS, True),
    "its tag": ({"events": ["tag"], "tag": "v*"}, TAG, True),
    "another tag": ({"events": ["tag"], "tag": "nightly-*"}, TAG, False),
    "a branch where a tag is wanted": ({"tag": "*"}, an_event(), False),
    "its hook": ({"hook": "ci, global"}, an_event(), True),
    "another hook": ({"hook": "ci"}, an_event(), False),
    "a file that counts": ({"paths": ["stacks/**", "!**/*.md"]}, an_event(changed_paths=("stacks/web/a.yaml",)), True),
    "files that do not count": (
        {"paths": ["stacks/**", "!**/*.md"]},
        an_event(changed_paths=("stacks/README.md", "docs/a"), changed_paths_complete=True),
        False,
    ),
    "a list of files that is cut": (
        {"paths": ["stacks/**"]},
        an_event(changed_paths=("docs/a",), changed_paths_complete=False),
        True,
    ),
    "a list of files that is cut, to be skipped": (
        {"paths": ["stacks/**"], "on_unknown_paths": "skip"},
        an_event(changed_paths=None, changed_paths_complete=None),
        False,
    ),
    "a condition": ({"condition": '!event.message.contains("[skip deploy]")'}, an_event(message="Fix"), True),
    "a condition that does not hold": (
        {"condition": '!event.message.contains("[skip deploy]")'},
        an_event(message="Fix [skip deploy]"),
        False,
    ),
    "another kind of event": ({"events": ["push"]}, TAG, False),
    "its kind of event": ({"events": ["push", "tag"]}, TAG, True),
    "a procedure for its own URL alone": ({"listen": "own"}, an_event(), False),
    "a deletion": ({"events": ["push", "tag"]}, an_event(deleted=True, after=None), False),
    "a ping": ({"events": ["push", "ping"]}, an_event(kind=Kind.PING), False),
    "a merge queue's branch": ({}, an_event(ignored="a merge queue's branch"), False),
}


@pytest.mark.parametrize(("trigger", "event", "matches"), GLOBAL_ROWS.values(), ids=GLOBAL_ROWS)
def test_the_global_url_starts_what_listens_and_matches(
    trigger: dict[str, Any], event: WebhookEvent, matches: bool
) -> None:
    result = match(procedure(**trigger), event)

    assert result.matched is matches
    assert (result.decision is None) is matches


def test_a_procedure_without_a_trigger_is_started_by_its_own_url_alone() -> None:
    silent = a_procedure(trigger=None)

    assert not match(silent, an_event()).matched
    assert match(silent, an_event(listener=own_url())).matched


def test_a_disabled_procedure_is_started_by_nothing() -> None:
    disabled = a_procedure(enabled=False)

    results = [match(disabled, an_event()), match(disabled, an_event(listener=own_url()))]

    assert [result.decision.predicate for result in results if result.decision] == ["enabled", "enabled"]


OWN_ROWS: dict[str, tuple[str, WebhookEvent, bool]] = {
    "the URL's branch": ("main", an_event(), True),
    "another branch": ("dev", an_event(), False),
    "any branch": (ANY_BRANCH, an_event(branch="x"), True),
    "a branch is no pattern here": ("ma*", an_event(), False),
    "a tag in full": ("refs/tags/v1", TAG, True),
    "a tag that is called like the branch": (
        "main",
        an_event(kind=Kind.TAG, ref="refs/tags/main", branch=None, tag="main"),
        False,
    ),
    "any kind of event": (ANY_BRANCH, RELEASE, True),
    "a deletion": (ANY_BRANCH, an_event(deleted=True), False),
    "a ping": (ANY_BRANCH, an_event(kind=Kind.PING), False),
}


@pytest.mark.parametrize(("branch", "event", "matches"), OWN_ROWS.values(), ids=OWN_ROWS)
def test_a_procedures_own_url_asks_for_the_branch_that_it_names(
    branch: str, event: WebhookEvent, matches: bool
) -> None:
    mine = procedure(listen="own")

    assert match(mine, event.model_copy(update={"listener": own_url(branch)})).matched is matches


def test_a_procedures_own_url_still_asks_for_its_repository_and_branch() -> None:
    mine = procedure(repo="acme/other", branch="main")

    decision = match(mine, an_event(listener=own_url())).decision

    assert decision is not None
    assert (decision.predicate, decision.wanted, decision.found) == ("repo", "acme/other", "github.com/acme/homelab")


def test_a_stacks_own_url_needs_a_branch_that_the_stack_can_be_asked_about() -> None:
    listener = StackListener(name="web", execution="deploy")
    stand_in = for_listener(listener)

    assert stand_in is not None
    assert match(stand_in, an_event(listener=listener)).matched
    assert not match(stand_in, TAG.model_copy(update={"listener": listener})).matched


def test_i7_the_predicate_that_decided_is_told_with_both_values() -> None:
    result = match(procedure(branch="main"), an_event(branch="dev"))

    assert result.decision is not None
    assert result.decision.sentence() == "the branch does not match: branch is dev, wanted main"
    assert result.to_trace() == {
        "procedure": "homelab",
        "matched": False,
        "decision": {
            "predicate": "branch",
            "reason": "the branch does not match",
            "wanted": "main",
            "found": "dev",
        },
    }


def test_a_branch_of_a_payload_is_never_read_as_a_pattern() -> None:
    assert not match(procedure(branch="main"), an_event(branch="*")).matched
    assert not match(procedure(branch="main"), an_event(branch="main\nother")).matched
