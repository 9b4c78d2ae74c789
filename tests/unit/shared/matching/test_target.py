"""Which stacks a target picks, and why the others were left."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.event import Repository, WebhookEvent
from shared.komodo.types import Stack
from shared.matching.target import resolve
from shared.procedure.builtin import GLOBAL
from shared.procedure.model import Target
from tests.builders import an_event
from tests.unit.shared.matching.stacks import a_stack


def is_picked(target: Target, stack: Stack, event: WebhookEvent | None = None) -> bool:
    resolution = resolve(target, event or an_event(), [stack])
    (verdict,) = resolution.verdicts
    assert verdict.picked is bool(resolution.picked)
    return verdict.picked


LINKED = a_stack(source="linked-repo", git_provider="git.example.com", repo="Acme/Infra", branch="prod")
UI = a_stack(source="ui", git_provider="", repo="", branch="main", run_directory="", tracked_files=())
SWARM = a_stack(swarm="edge", server="prod-1")

# Target, stack, whether it is picked.
ROWS: dict[str, tuple[dict[str, Any], Stack, bool]] = {
    "nothing asked": ({}, a_stack(), True),
    "name": ({"name": "web*"}, a_stack("web-2"), True),
    "another name": ({"name": "web*"}, a_stack("db"), False),
    "excluded name": ({"name": "!db-*"}, a_stack("db-1"), False),
    "server": ({"server": "prod-*"}, a_stack(server="prod-1"), True),
    "another server": ({"server": "prod-*"}, a_stack(server="dev"), False),
    "swarm by its name": ({"server": "edge"}, SWARM, True),
    "the server of a stack that runs on a swarm": ({"server": "prod-1"}, SWARM, False),
    "repository of the event": ({"repo": "@event"}, a_stack(), True),
    "repository in another case": ({"repo": "@event"}, a_stack(repo="Acme/HomeLab"), True),
    "another repository": ({"repo": "@event"}, a_stack(repo="acme/other"), False),
    "the same name elsewhere": ({"repo": "@event"}, a_stack(git_provider="gitlab.com"), False),
    "repository by owner and name": ({"repo": "acme/infra"}, LINKED, True),
    "repository by host too": ({"repo": "git.example.com/acme/*"}, LINKED, True),
    "repository of the event or another": ({"repo": "@event, acme/infra"}, LINKED, True),
    "any repository but the event's": ({"repo": "!@event"}, a_stack(), False),
    "no repository": ({"repo": "*"}, UI, False),
    "branch of the event": ({"branch": "@event"}, a_stack(), True),
    "another branch": ({"branch": "@event"}, a_stack(branch="dev"), False),
    "branch by pattern": ({"branch": "pro*"}, LINKED, True),
    "branch of the event or another": ({"branch": "@event, prod"}, LINKED, True),
    "any branch but the event's": ({"branch": "!@event"}, a_stack(), False),
    "the branch that a UI stack only shows": ({"branch": "main"}, UI, False),
    "type git": ({"type": "git"}, a_stack(), True),
    "type git is not a linked repo": ({"type": "git"}, LINKED, False),
    "type linked repo": ({"type": "linked-repo, ui"}, LINKED, True),
    "type compose": ({"type": "compose"}, a_stack(), True),
    "type swarm": ({"type": "swarm"}, SWARM, True),
    "type git but no swarm": ({"type": "git, !swarm"}, SWARM, False),
    "tag": ({"tag": "prod"}, a_stack(tags=("prod", "eu")), True),
    "no such tag": ({"tag": "prod"}, a_stack(tags=("eu",)), False),
    "no tag at all": ({"tag": "prod"}, a_stack(), False),
    "excluded tag": ({"tag": "!manual"}, a_stack(tags=("prod", "manual")), False),
    "no tag, and one excluded": ({"tag": "!manual"}, a_stack(), True),
    "state": ({"state": "running, unhealthy"}, a_stack(state="unhealthy"), True),
    "excluded state": ({"state": "!down, !stopped"}, a_stack(state="stopped"), False),
    "affected": ({"affected": True}, a_stack("web"), True),
    "not affected": ({"affected": True}, a_stack("db"), False),
    "affected without files in Git": ({"affected": True}, UI, False),
    "all of it": (
        {"name": "web", "repo": "@event", "branch": "@event", "state": "running", "affected": True},
        a_stack(),
        True,
    ),
    "all but one of it": (
        {"name": "web", "repo": "@event", "branch": "@event", "state": "down", "affected": True},
        a_stack(),
        False,
    ),
    "a template": ({}, a_stack(template=True), False),
    "a pinned stack": ({}, a_stack(pinned_commit="a1b2c3d"), False),
    "a stack with its webhook disabled": ({}, a_stack(webhook_enabled=False), False),
}


@pytest.mark.parametrize(("target", "stack", "picked"), ROWS.values(), ids=ROWS)
def test_a_stack_is_picked_when_every_predicate_holds(target: dict[str, Any], stack: Stack, picked: bool) -> None:
    assert is_picked(Target.model_validate(target), stack) is picked


@pytest.mark.parametrize("field", ["repo", "branch"])
def test_an_event_without_the_thing_picks_nothing_by_it(field: str) -> None:
    event = an_event(repository=None, branch=None, ref=None)

    assert not is_picked(Target.model_validate({field: "@event"}), a_stack(), event)


def test_an_event_whose_url_is_on_another_host_is_known_by_each_of_its_urls() -> None:
    repository = Repository(
        key="git.example.com/acme/homelab",
        full_name="acme/homelab",
        urls=("https://git.example.com/acme/homelab.git", "ssh://git@ssh.example.com:2222/acme/homelab.git"),
    )

    assert is_picked(Target(repo="@event"), a_stack(git_provider="ssh.example.com"), an_event(repository=repository))


def test_a_branch_of_the_event_is_compared_and_never_read_as_a_pattern() -> None:
    event = an_event(branch="*", ref="refs/heads/*")

    assert not is_picked(Target(branch="@event"), a_stack(), event)
    assert not is_picked(Target(branch="@event, x"), a_stack(), event)


UNKNOWN: list[tuple[tuple[str, ...] | None, bool | None]] = [(None, None), ((), False), (("README.md",), None)]


@pytest.mark.parametrize(("paths", "complete"), UNKNOWN)
def test_a_list_of_files_that_is_missing_or_cut_matches_unless_told_otherwise(
    paths: tuple[str, ...] | None, complete: bool | None
) -> None:
    event = an_event(changed_paths=paths, changed_paths_complete=complete)
    target = Target(affected=True)

    (matched,) = resolve(target, event, [a_stack()], "match").verdicts
    (skipped,) = resolve(target, event, [a_stack()], "skip").verdicts

    assert matched.picked
    assert matched.because is not None
    assert "missing or cut" in matched.because
    assert not skipped.picked
    assert skipped.decision is not None
    assert skipped.decision.predicate == "affected"


def test_a_path_that_is_in_a_cut_list_is_enough() -> None:
    event = an_event(changed_paths_complete=False)

    (verdict,) = resolve(Target(affected=True), event, [a_stack()], "skip").verdicts

    assert (verdict.picked, verdict.because) == (True, "stacks/web/compose.yaml")


def test_an_empty_list_that_is_complete_affects_nothing() -> None:
    event = an_event(changed_paths=(), changed_paths_complete=True)

    assert not is_picked(Target(affected=True), a_stack(), event)


REASONS: list[tuple[dict[str, Any], Stack, str]] = [
    (
        {"repo": "@event"},
        a_stack(repo="acme/other"),
        "another repository: repo is github.com/acme/other, wanted github.com/acme/homelab",
    ),
    ({"branch": "@event"}, a_stack(branch="dev"), "another branch: branch is dev, wanted main"),
    ({"state": "!stopped"}, a_stack(state="stopped"), "excluded by !stopped: state is stopped, wanted !stopped"),
    ({"tag": "prod"}, a_stack(tags=("a", "b")), "the tag does not match: tag is a, b, wanted prod"),
    ({"branch": "main"}, UI, "the stack's files do not come from Git: branch is not known, wanted main"),
    (
        {"affected": True},
        a_stack("db"),
        "no changed path concerns the stack: affected is stacks/web/compose.yaml, wanted stacks/db",
    ),
    ({}, a_stack(template=True), "a template is never deployed"),
    ({}, a_stack(pinned_commit="a1b"), "the stack is pinned to a commit"),
    ({}, a_stack(webhook_enabled=False), "webhooks are disabled on the stack"),
]


@pytest.mark.parametrize(("target", "stack", "sentence"), REASONS, ids=[row[2][:30] for row in REASONS])
def test_i7_a_stack_that_was_left_has_the_predicate_and_both_values(
    target: dict[str, Any], stack: Stack, sentence: str
) -> None:
    (verdict,) = resolve(Target.model_validate(target), an_event(), [stack]).verdicts

    assert verdict.decision is not None
    assert verdict.decision.sentence() == sentence


def test_i7_every_stack_has_a_verdict() -> None:
    stacks = [a_stack("web"), a_stack("db"), a_stack("draft", template=True)]

    resolution = resolve(Target(affected=True), an_event(), stacks)

    assert [(entry["stack"], entry["picked"]) for entry in resolution.to_trace()] == [
        ("web", True),
        ("db", False),
        ("draft", False),
    ]


STACKS = [
    a_stack("web"),
    a_stack("db"),
    a_stack("cache", repo="acme/other"),
    a_stack("old", state="down"),
    a_stack("draft", template=True),
    LINKED,
    UI,
]


@given(st.permutations(STACKS))
def test_the_order_of_stacks_changes_neither_picks_nor_verdicts(stacks: list[Stack]) -> None:
    target, event = Target(repo="@event", state="!down"), an_event()

    in_order, shuffled = resolve(target, event, STACKS), resolve(target, event, stacks)

    assert set(shuffled.picked) == set(in_order.picked)
    assert sorted(shuffled.verdicts, key=repr) == sorted(in_order.verdicts, key=repr)


@given(st.lists(st.sampled_from(STACKS), max_size=5))
def test_one_stack_never_changes_what_another_is_told(others: list[Stack]) -> None:
    target, event = Target(repo="@event", affected=True), an_event()

    alone = resolve(target, event, STACKS[:1]).verdicts[0]

    assert resolve(target, event, [*others, STACKS[0]]).verdicts[-1] == alone


def test_the_built_in_procedure_deploys_what_a_push_affects_and_leaves_what_was_stopped() -> None:
    (execution,) = GLOBAL.stages[0].executions
    assert execution.target is not None
    affected = {"run_directory": "stacks/web"}
    stacks = [
        a_stack("web"),
        a_stack("unhealthy", state="unhealthy", **affected),
        a_stack("down", state="down", **affected),
        a_stack("stopped", state="stopped", **affected),
        a_stack("paused", state="paused", **affected),
        a_stack("untouched"),
        a_stack("other-branch", branch="dev", **affected),
        a_stack("other-repo", repo="acme/other", **affected),
    ]

    picked = resolve(execution.target, an_event(), stacks).picked

    assert [stack.name for stack in picked] == ["web", "unhealthy"]


def test_two_thousand_stacks_are_judged_in_no_time() -> None:
    stacks = [a_stack(f"s{number}", repo=f"acme/r{number % 50}") for number in range(2_000)]
    target = Target(name="!tmp-*", repo="@event", branch="@event", affected=True, state="!down, !stopped")
    event = an_event(repository=Repository(key="github.com/acme/r7", full_name="acme/r7"))
    resolve(target, event, stacks[:1])
    began = time.perf_counter()

    resolution = resolve(target, event, stacks)

    assert len(resolution.verdicts) == 2_000
    assert time.perf_counter() - began < 3
