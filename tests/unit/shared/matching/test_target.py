"""Which stacks a target picks, and why the others were left."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.event import Image, Kind, Repository, WebhookEvent
from shared.komodo.types import Service, Stack
from shared.procedure.builtin import GLOBAL
from shared.procedure.model import Target
from tests.builders import an_event
from tests.unit.shared.matching.stacks import a_stack, resolve


def is_picked(target: Target, stack: Stack, event: WebhookEvent | None = None) -> bool:
    resolution = resolve(target, event or an_event(), [stack])
    assert len(resolution.verdicts) + (resolution.others.count if resolution.others else 0) == 1
    assert [verdict.picked for verdict in resolution.verdicts if verdict.picked] == [True] * len(resolution.picked)
    return bool(resolution.picked)


LINKED = a_stack(source="linked-repo", git_provider="git.example.com", repo="Acme/Infra", branch="prod")
UI = a_stack(source="ui", git_provider="", repo="", branch="main", run_directory="", tracked_files=())
SWARM = a_stack(swarm="edge", server="prod-1")

NGINX = Service(name="app", image="nginx:1.27")
NEWER = Service(name="db", image="postgres:16", update_available=True)

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
    "server tag": ({"server_tag": "edge, prod"}, a_stack(server_tags=("prod",)), True),
    "no such server tag": ({"server_tag": "prod"}, a_stack(server_tags=("dev",)), False),
    "a server without tags": ({"server_tag": "prod"}, a_stack(), False),
    "a server that can be reached": ({"server_state": "Ok"}, a_stack(), True),
    "a server that can not be reached": ({"server_state": "Ok"}, a_stack(server_state="NotOk"), False),
    "a compose file": ({"file": "stacks/web/compose.yaml"}, a_stack(), True),
    "any env file": (
        {"file": "**.env, *.env"},
        a_stack(tracked_files=({"path": "compose.yaml"}, {"path": "../shared/prod.env"})),
        True,
    ),
    "a file of another stack": ({"file": "stacks/db/*"}, a_stack(), False),
    "a file where none is tracked": ({"file": "*"}, UI, False),
    "an image": ({"image": "nginx*"}, a_stack(services=(NGINX,)), True),
    "an image by its whole name": ({"image": "docker.io/library/nginx"}, a_stack(services=(NGINX,)), True),
    "another image": ({"image": "postgres*"}, a_stack(services=(NGINX,)), False),
    "an image where Komodo knows none": ({"image": "*"}, a_stack(), False),
    "a newer image": ({"update_available": True}, a_stack(services=(NGINX, NEWER)), True),
    "no newer image": ({"update_available": True}, a_stack(services=(NGINX,)), False),
    "a newer image where none is wanted": ({"update_available": False}, a_stack(services=(NEWER,)), False),
    "a condition": ({"condition": 'stack.name == "web" && event.branch == "main"'}, a_stack(), True),
    "a condition over services": (
        {"condition": 'stack.images.exists(image, image.startsWith("nginx"))'},
        a_stack(services=(NGINX,)),
        True,
    ),
    "a condition that does not hold": ({"condition": '"prod" in stack.tags'}, a_stack(), False),
    "a condition that can not be evaluated": ({"condition": 'stack.tags[0] == "prod"'}, a_stack(), False),
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
        {"repo": "acme/homelab"},
        a_stack(repo="acme/other"),
        "another repository: repo is github.com/acme/other, wanted acme/homelab",
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

    assert [(entry["stack"], entry["picked"]) for entry in resolution.to_trace()["stacks"]] == [
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

    assert len(resolution.verdicts) == 40
    assert time.perf_counter() - began < 3


def pushed(name: str = "acme/app", tag: str | None = "1.4", registry: str = "ghcr.io") -> WebhookEvent:
    return an_event(kind=Kind.IMAGE, ref=None, branch=None, image=Image(registry=registry, name=name, tag=tag))


@pytest.mark.parametrize(
    ("used", "event", "picked"),
    [
        ("ghcr.io/acme/app:1.4", pushed(), True),
        ("ghcr.io/Acme/App:1.4", pushed(), True),
        ("ghcr.io/acme/app:1.4@sha256:" + "0" * 64, pushed(), True),
        ("ghcr.io/acme/app:1.3", pushed(), False),
        ("ghcr.io/acme/app", pushed(), False),
        ("ghcr.io/acme/app", pushed(tag="latest"), True),
        ("ghcr.io/acme/app:1.3", pushed(tag=None), True),
        ("ghcr.io/acme/apple:1.4", pushed(), False),
        ("nginx:1.4", pushed("library/nginx", registry="docker.io"), True),
        ("localhost:5000/app:1.4", pushed("app", registry="localhost:5000"), True),
        ("ghcr.io/acme/app:1.4", an_event(), False),
    ],
)
def test_a_pushed_image_concerns_who_runs_it(used: str, event: WebhookEvent, picked: bool) -> None:
    stack = a_stack(services=(Service(name="app", image=used),))

    assert is_picked(Target(image="@event"), stack, event) is picked


@pytest.mark.parametrize(
    ("target", "stack", "wanted", "found"),
    [
        ({"server_tag": "prod"}, a_stack(server_tags=("dev",)), "prod", "dev"),
        ({"server_state": "Ok"}, a_stack(server_state="Disabled"), "Ok", "Disabled"),
        ({"file": "other"}, a_stack(), "other", "stacks/web/compose.yaml"),
        ({"image": "redis"}, a_stack(services=(NGINX,)), "redis", "nginx:1.27, docker.io/library/nginx"),
        ({"image": "@event"}, a_stack(services=(NGINX,)), "ghcr.io/acme/app:1.4", "nginx:1.27"),
        ({"update_available": True}, a_stack(), "yes", "no"),
        ({"condition": "stack.update_available"}, a_stack(), "stack.update_available", None),
    ],
)
def test_the_trace_has_both_values(target: dict[str, Any], stack: Stack, wanted: str, found: str | None) -> None:
    (verdict,) = resolve(Target.model_validate(target), pushed(), [stack]).verdicts

    assert verdict.decision is not None
    assert (verdict.decision.predicate, verdict.decision.wanted, verdict.decision.found) == (
        next(iter(target)),
        wanted,
        found,
    )


def test_i7_stacks_of_other_repositories_are_explained_at_once() -> None:
    others = [a_stack("far", repo="acme/other"), a_stack("host", git_provider="gitlab.com")]

    trace = resolve(Target(repo="@event"), an_event(), [*others, a_stack("web")]).to_trace()

    assert [line["stack"] for line in trace["stacks"]] == ["web"]
    assert trace["others"] == {
        "count": 2,
        "decision": {"predicate": "repo", "reason": "another repository", "wanted": "github.com/acme/homelab"},
    }


def test_an_event_without_a_repository_concerns_nobody_of_its_repository() -> None:
    resolution = resolve(Target(repo="@event"), an_event(repository=None), [a_stack("web")])

    assert (resolution.picked, resolution.verdicts) == ((), ())
    assert resolution.others is not None
    assert resolution.others.decision.wanted == "the event's repository, which is not known"


@pytest.mark.parametrize(
    ("path", "picked"),
    [
        ("nodes/prod-1/web/config/app.yaml", True),
        ("nodes/prod-1/web", True),
        ("nodes/prod-2/web/compose.yaml", False),
        ("nodes/prod-1/web-2/compose.yaml", False),
        ("stacks/web/compose.yaml", True),
    ],
)
def test_a_layout_maps_paths_to_stacks_by_their_names(path: str, picked: bool) -> None:
    target = Target(affected=True, layout="nodes/{server}/{stack}/**")

    assert is_picked(target, a_stack(), an_event(changed_paths=(path,), changed_paths_complete=True)) is picked


@pytest.mark.parametrize("layout", ["nodes/{server}/**", "nodes/*/{stack}"])
def test_a_layout_that_names_no_stack_or_guesses_is_refused(layout: str) -> None:
    with pytest.raises(ValueError, match="a layout"):
        Target(layout=layout)
