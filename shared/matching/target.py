"""
Targets: which stacks does an execution run on? Predicates are ANDed, cheap ones first, and the first that says no decides.

Templates never match, nor do pinned stacks and those whose webhook is disabled; the verdict says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.event import WebhookEvent
from shared.komodo.types import GIT_SOURCES, Stack
from shared.matching.paths import ChangedPaths, affected_by
from shared.matching.patterns import PatternList
from shared.matching.repository import key_or_none, keys_of
from shared.matching.trace import Decision, Verdict
from shared.procedure.model import EVENT_REF, Target

UnknownPaths = Literal["match", "skip"]


@dataclass(frozen=True)
class Asked:
    """What every stack is asked: the target, and what it needs of the event, read once."""

    target: Target
    event: WebhookEvent
    unknown_paths: UnknownPaths
    keys: frozenset[str]
    event_repo: str
    changed: ChangedPaths
    repos: PatternList
    branches: PatternList

    @classmethod
    def of(cls, target: Target, event: WebhookEvent, unknown_paths: UnknownPaths) -> Asked:
        """Raises `PatternError` for a pattern list that can not be read."""
        keys = keys_of(event.repository)
        branch = () if event.branch is None else (event.branch,)
        return cls(
            target=target,
            event=event,
            unknown_paths=unknown_paths,
            keys=keys,
            event_repo=" or ".join(sorted(keys)) or "the event's repository, which is not known",
            changed=ChangedPaths(event.changed_paths or ()) if target.affected else ChangedPaths(()),
            repos=PatternList.parse(target.repo, ignore_case=True).bound(EVENT_REF, keys),
            branches=PatternList.parse(target.branch).bound(EVENT_REF, branch),
        )


@dataclass(frozen=True)
class Resolution:
    """The stacks that were picked, and a verdict for every stack there is."""

    picked: tuple[Stack, ...]
    verdicts: tuple[Verdict, ...]

    def to_trace(self) -> list[dict[str, Any]]:
        """As it is stored."""
        return [verdict.to_trace() for verdict in self.verdicts]


def resolve(
    target: Target, event: WebhookEvent, stacks: Sequence[Stack], unknown_paths: UnknownPaths = "match"
) -> Resolution:
    """Ask about every stack; `unknown_paths` decides for `affected` where the provider's file list is missing or cut."""
    asked = Asked.of(target, event, unknown_paths)
    judged = [(stack, _judge(asked, stack)) for stack in stacks]
    return Resolution(
        tuple(stack for stack, verdict in judged if verdict.picked), tuple(verdict for _, verdict in judged)
    )


def _judge(asked: Asked, stack: Stack) -> Verdict:
    decision = next((no for predicate in _PREDICATES if (no := predicate(asked, stack))), None)
    because = _because(asked, stack) if decision is None else None
    return Verdict(stack=stack.name, picked=decision is None, decision=decision, because=because)


def _guards(_: Asked, stack: Stack) -> Decision | None:
    if stack.template:
        return Decision(predicate="template", reason="a template is never deployed")
    if stack.pinned_commit:
        return Decision(predicate="commit", found=stack.pinned_commit, reason="the stack is pinned to a commit")
    if not stack.webhook_enabled:
        return Decision(predicate="webhook_enabled", reason="webhooks are disabled on the stack")
    return None


def _repo(asked: Asked, stack: Stack) -> Decision | None:
    wanted = asked.target.repo
    if not wanted:
        return None
    found = key_or_none(stack.git_provider, stack.repo)
    if wanted == EVENT_REF:
        wanted = asked.event_repo
        matches = found in asked.keys
    else:
        matches = found is not None and asked.repos.matches(found, stack.repo)
    return None if matches else Decision(predicate="repo", wanted=wanted, found=found, reason="another repository")


def _branch(asked: Asked, stack: Stack) -> Decision | None:
    wanted = asked.target.branch
    if not wanted:
        return None
    if stack.source not in GIT_SOURCES:
        return Decision(predicate="branch", wanted=wanted, reason="the stack's files do not come from Git")
    if wanted == EVENT_REF and stack.branch != asked.event.branch:
        wanted = asked.event.branch or "the event's branch, which it has none of"
        return Decision(predicate="branch", wanted=wanted, found=stack.branch, reason="another branch")
    return _by_patterns("branch", wanted, asked.branches, stack.branch)


def _name(asked: Asked, stack: Stack) -> Decision | None:
    return _by_text("name", asked.target.name, stack.name)


def _state(asked: Asked, stack: Stack) -> Decision | None:
    return _by_text("state", asked.target.state, stack.state)


def _server(asked: Asked, stack: Stack) -> Decision | None:
    # A stack with both runs on the swarm.
    return _by_text("server", asked.target.server, stack.swarm or stack.server)


def _type(asked: Asked, stack: Stack) -> Decision | None:
    return _by_text("type", asked.target.type, stack.source, "swarm" if stack.swarm else "compose")


def _tag(asked: Asked, stack: Stack) -> Decision | None:
    return _by_text("tag", asked.target.tag, *stack.tags)


def _affected(asked: Asked, stack: Stack) -> Decision | None:
    if not asked.target.affected or affected_by(stack, asked.changed) is not None:
        return None
    if stack.source not in GIT_SOURCES:
        return Decision(predicate="affected", reason="the stack's files do not come from Git")
    if _are_known(asked.event):
        found = ", ".join((asked.event.changed_paths or ())[:3])
        place = stack.run_directory or "the whole repository"
        return Decision(predicate="affected", wanted=place, found=found, reason="no changed path concerns the stack")
    if asked.unknown_paths == "match":
        return None
    return Decision(predicate="affected", reason="the provider's list of changed files is missing or cut")


def _because(asked: Asked, stack: Stack) -> str | None:
    if not asked.target.affected:
        return None
    path = affected_by(stack, asked.changed)
    return path or "the provider's list of changed files is missing or cut, so it may be affected"


def _are_known(event: WebhookEvent) -> bool:
    return event.changed_paths is not None and event.changed_paths_complete is True


def _by_text(predicate: str, wanted: str, *found: str) -> Decision | None:
    return _by_patterns(predicate, wanted, PatternList.parse(wanted), *found) if wanted else None


def _by_patterns(predicate: str, wanted: str, patterns: PatternList, *found: str) -> Decision | None:
    matched, entry = patterns.decide(*found)
    if matched:
        return None
    reason = f"excluded by {entry}" if entry else f"the {predicate} does not match"
    return Decision(predicate=predicate, wanted=wanted, found=", ".join(found), reason=reason)


# Cheap and decisive first: most stacks are of another repository.
_PREDICATES: tuple[Callable[[Asked, Stack], Decision | None], ...] = (
    _repo,
    _branch,
    _guards,
    _name,
    _state,
    _server,
    _type,
    _tag,
    _affected,
)
