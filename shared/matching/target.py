"""
Targets: which stacks does an execution run on? Predicates are ANDed, cheap ones first, and the first that says no decides.

Templates never match, nor do pinned stacks and those whose webhook is disabled; the verdict says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from shared.event import GlobalListener, WebhookEvent
from shared.komodo.types import GIT_SOURCES, Stack
from shared.matching import conditions
from shared.matching.conditions import Scope, Values
from shared.matching.images import ImageName
from shared.matching.index import StackIndex
from shared.matching.paths import ChangedPaths, affected_by, places_of
from shared.matching.patterns import PatternList
from shared.matching.repository import key_or_none, keys_of
from shared.matching.trace import Decision, Others, Verdict
from shared.procedure.model import EVENT_REF, Target

ANOTHER_REPOSITORY = "another repository"

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
    event_values: Values

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
            event_values=conditions.of_event(event) if target.condition else {},
        )


@dataclass(frozen=True)
class Resolution:
    """
    The stacks that were picked, and a verdict for each that was looked at. `others` speaks for the rest, if there is one: so many stacks of
    other repositories.
    """

    picked: tuple[Stack, ...]
    verdicts: tuple[Verdict, ...]
    others: Others | None = None

    def to_trace(self) -> dict[str, Any]:
        """As it is stored."""
        told: dict[str, Any] = {"stacks": [verdict.to_trace() for verdict in self.verdicts]}
        return told if self.others is None else told | {"others": self.others.to_trace()}


def resolve(
    target: Target, event: WebhookEvent, stacks: StackIndex, unknown_paths: UnknownPaths = "match"
) -> Resolution:
    """
    Ask about every stack that may match, and the filters of the event's URL last.

    `unknown_paths` decides for `affected` where the provider's file list is missing or cut.
    """
    asked = Asked.of(target, event, unknown_paths)
    narrowed = _narrowed(event, unknown_paths)
    looked_at = stacks.of_repository(asked.keys) if target.repo == EVENT_REF else stacks
    judged = [(stack, _judge(asked, narrowed, stack)) for stack in looked_at]
    return Resolution(
        tuple(stack for stack, verdict in judged if verdict.picked),
        tuple(verdict for _, verdict in judged),
        _others(asked, len(stacks) - len(looked_at)),
    )


def _others(asked: Asked, count: int) -> Others | None:
    if not count:
        return None
    return Others(count, Decision(predicate="repo", wanted=asked.event_repo, reason=ANOTHER_REPOSITORY))


def is_filtered(event: WebhookEvent, stack: Stack) -> Decision | None:
    """What the filters of the event's URL say against the stack, or None."""
    narrowed = _narrowed(event, "match")
    return None if narrowed is None else _filter(narrowed, stack)


def _narrowed(event: WebhookEvent, unknown_paths: UnknownPaths) -> Asked | None:
    listener = event.listener
    if not isinstance(listener, GlobalListener) or not listener.filters:
        return None
    return Asked.of(Target.model_validate(listener.filters), event, unknown_paths)


def _filter(narrowed: Asked, stack: Stack) -> Decision | None:
    decision = next((no for predicate in _FILTERS if (no := predicate(narrowed, stack))), None)
    return decision and replace(decision, reason=f"the URL's filter: {decision.reason}")


def _judge(asked: Asked, narrowed: Asked | None, stack: Stack) -> Verdict:
    decision = next((no for predicate in _PREDICATES if (no := predicate(asked, stack))), None)
    if decision is None and narrowed is not None:
        decision = _filter(narrowed, stack)
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
    if wanted == EVENT_REF or (found is not None and asked.repos.matches(found, stack.repo)):
        return None  # whoever is asked about the event's repository was found by it
    return Decision(predicate="repo", wanted=wanted, found=found, reason=ANOTHER_REPOSITORY)


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


def _server_tag(asked: Asked, stack: Stack) -> Decision | None:
    return _by_text("server_tag", asked.target.server_tag, *stack.server_tags)


def _server_state(asked: Asked, stack: Stack) -> Decision | None:
    return _by_text("server_state", asked.target.server_state, stack.server_state)


def _file(asked: Asked, stack: Stack) -> Decision | None:
    return _by_text("file", asked.target.file, *places_of(stack)) if asked.target.file else None


def _image(asked: Asked, stack: Stack) -> Decision | None:
    wanted = asked.target.image
    if not wanted:
        return None
    used = [service.image for service in stack.services if service.image]
    if wanted != EVENT_REF:
        names = [ImageName.parse(image) for image in used]
        return _by_text("image", wanted, *used, *(name.key for name in names))
    pushed = None if asked.event.image is None else ImageName.of(asked.event.image)
    if pushed is None:
        return Decision(
            predicate="image", wanted="the event's image, which it has none of", reason="no image was pushed"
        )
    if any(pushed.is_used_by(ImageName.parse(image)) for image in used):
        return None
    wanted = pushed.key if pushed.tag is None else f"{pushed.key}:{pushed.tag}"
    return Decision(predicate="image", wanted=wanted, found=", ".join(used), reason="no service uses the image")


def _update_available(asked: Asked, stack: Stack) -> Decision | None:
    wanted = asked.target.update_available
    if wanted is None or wanted is stack.update_available:
        return None
    found = "yes" if stack.update_available else "no"
    reason = "no newer image is known" if wanted else "a newer image is known"
    return Decision(predicate="update_available", wanted="yes" if wanted else "no", found=found, reason=reason)


def _condition(asked: Asked, stack: Stack) -> Decision | None:
    wanted = asked.target.condition
    if not wanted:
        return None
    return conditions.decide(wanted, Scope.TARGET, {**asked.event_values, **conditions.of_stack(stack)})


def _affected(asked: Asked, stack: Stack) -> Decision | None:
    if not asked.target.affected or affected_by(stack, asked.changed, asked.target.layout) is not None:
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
    path = affected_by(stack, asked.changed, asked.target.layout)
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
    _server_tag,
    _server_state,
    _type,
    _tag,
    _file,
    _image,
    _update_available,
    _affected,
    _condition,
)

_FILTERS = (_repo, _branch, _name, _server, _type, _tag, _file)
