"""
Targets: which stacks does an execution run on? Predicates are ANDed, cheap ones first, and the first that says no decides.

Templates never match, nor do pinned stacks and those whose webhook is disabled; the verdict says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.event import WebhookEvent
from shared.komodo.types import Stack
from shared.matching.paths import affected_by
from shared.matching.patterns import PatternList
from shared.matching.repository import key_or_none, keys_of
from shared.matching.trace import Decision, Verdict
from shared.procedure.model import EVENT_REF, Target

UnknownPaths = Literal["match", "skip"]


@dataclass(frozen=True)
class Question:
    """One stack before one target."""

    target: Target
    event: WebhookEvent
    stack: Stack
    unknown_paths: UnknownPaths
    keys: frozenset[str]


@dataclass(frozen=True)
class Resolution:
    """The stacks that were picked, and a verdict for every stack there is."""

    picked: tuple[Stack, ...]
    verdicts: tuple[Verdict, ...]

    def to_trace(self) -> list[dict[str, Any]]:
        """As it is stored."""
        return [verdict.model_dump(exclude_none=True) for verdict in self.verdicts]


def resolve(
    target: Target, event: WebhookEvent, stacks: Sequence[Stack], unknown_paths: UnknownPaths = "match"
) -> Resolution:
    """Ask about every stack; `unknown_paths` decides for `affected` where the provider's file list is missing or cut."""
    picked, verdicts, keys = [], [], keys_of(event.repository)
    for stack in stacks:
        question = Question(target, event, stack, unknown_paths, keys)
        decision = next((no for predicate in _PREDICATES if (no := predicate(question))), None)
        if decision is None:
            picked.append(stack)
        because = _because(question) if decision is None else None
        verdicts.append(Verdict(stack=stack.name, picked=decision is None, decision=decision, because=because))
    return Resolution(tuple(picked), tuple(verdicts))


def _guards(question: Question) -> Decision | None:
    stack = question.stack
    if stack.template:
        return Decision(predicate="template", reason="a template is never deployed")
    if stack.pinned_commit:
        return Decision(predicate="commit", found=stack.pinned_commit, reason="the stack is pinned to a commit")
    if not stack.webhook_enabled:
        return Decision(predicate="webhook_enabled", reason="webhooks are disabled on the stack")
    return None


def _repo(question: Question) -> Decision | None:
    wanted, stack = question.target.repo, question.stack
    if not wanted:
        return None
    found = key_or_none(stack.git_provider, stack.repo)
    if wanted != EVENT_REF:
        names = (found, stack.repo.lower()) if found else ()
        matches = bool(names) and PatternList.parse(wanted.lower()).matches(*filter(None, names))
    else:
        keys = question.keys
        wanted = " or ".join(sorted(keys)) or "the event's repository, which is not known"
        matches = found in keys
    return None if matches else Decision(predicate="repo", wanted=wanted, found=found, reason="another repository")


def _branch(question: Question) -> Decision | None:
    wanted, found = question.target.branch, question.stack.branch
    if not wanted:
        return None
    if wanted == EVENT_REF:
        branch = question.event.branch
        if branch is not None and branch == found:
            return None
        return Decision(predicate="branch", wanted=branch or "no branch", found=found, reason="another branch")
    return _by_patterns("branch", wanted, found)


def _state(question: Question) -> Decision | None:
    return _by_patterns("state", question.target.state, question.stack.state)


def _name(question: Question) -> Decision | None:
    return _by_patterns("name", question.target.name, question.stack.name)


def _server(question: Question) -> Decision | None:
    return _by_patterns("server", question.target.server, question.stack.server)


def _type(question: Question) -> Decision | None:
    stack = question.stack
    return _by_patterns("type", question.target.type, stack.source, "swarm" if stack.swarm else "compose")


def _tag(question: Question) -> Decision | None:
    return _by_patterns("tag", question.target.tag, *question.stack.tags)


def _affected(question: Question) -> Decision | None:
    if not question.target.affected:
        return None
    paths = question.event.changed_paths
    if paths is not None and affected_by(question.stack, paths) is not None:
        return None
    if _are_known(question.event):
        found = ", ".join((paths or ())[:3])
        place = question.stack.run_directory or "the whole repository"
        return Decision(predicate="affected", wanted=place, found=found, reason="no changed path concerns the stack")
    if question.unknown_paths == "match":
        return None
    return Decision(predicate="affected", reason="the provider's list of changed files is missing or cut")


def _because(question: Question) -> str | None:
    if not question.target.affected:
        return None
    path = affected_by(question.stack, question.event.changed_paths or ())
    return path or "the provider's list of changed files is missing or cut, so it may be affected"


def _are_known(event: WebhookEvent) -> bool:
    return event.changed_paths is not None and event.changed_paths_complete is True


def _by_patterns(predicate: str, wanted: str, *found: str) -> Decision | None:
    if not wanted:
        return None
    matched, entry = PatternList.parse(wanted).decide(*found)
    if matched:
        return None
    reason = f"excluded by {entry}" if entry else f"the {predicate} does not match"
    return Decision(predicate=predicate, wanted=wanted, found=", ".join(found), reason=reason)


# Cheap and decisive first: most stacks are of another repository.
_PREDICATES: tuple[Callable[[Question], Decision | None], ...] = (
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
