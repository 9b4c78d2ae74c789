"""Triggers: does this event start this procedure? Every answer comes with the predicate that decided and both values (I7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shared.event import ANY_BRANCH, GlobalListener, Kind, ProcedureListener, StackListener, WebhookEvent
from shared.matching import conditions
from shared.matching.conditions import Scope
from shared.matching.globs import PathList
from shared.matching.patterns import PatternList
from shared.matching.repository import names_of
from shared.matching.trace import Decision, TriggerMatch
from shared.procedure.model import Procedure

MAX_NAMED = 3


def match(procedure: Procedure, event: WebhookEvent) -> TriggerMatch:
    """Ask every predicate in order; the first that says no decides."""
    decision = next((no for predicate in _PREDICATES for no in predicate(procedure, event)), None)
    return TriggerMatch(procedure=procedure.name, matched=decision is None, decision=decision)


def _starts(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    if not procedure.enabled:
        yield Decision(predicate="enabled", reason="the procedure is disabled")
    if event.ignored is not None:
        yield Decision(predicate="event", found=str(event.kind), reason=event.ignored)
    elif event.deleted:
        yield Decision(predicate="event", found=str(event.kind), reason="a deletion never deploys")
    elif event.kind is Kind.PING:
        yield Decision(predicate="event", found=str(event.kind), reason="a ping only says hello")


def _listens(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    if not isinstance(event.listener, GlobalListener):
        return
    if procedure.trigger is None or procedure.trigger.listen != "global":
        yield Decision(predicate="listen", wanted="own", found="global", reason="it listens on its own URL only")


def _own_branch(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    """The branch in a procedure's own URL, as Komodo compares it: a tag is written `refs/tags/…`."""
    if not isinstance(event.listener, ProcedureListener) or event.listener.branch == ANY_BRANCH:
        return
    found = event.branch or event.ref
    if found != event.listener.branch:
        yield Decision(
            predicate="branch", wanted=event.listener.branch, found=found, reason="the URL names another branch"
        )


def _kind(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    # Komodo's own URLs look at the ref alone, and so does a procedure that is called by its URL.
    if not isinstance(event.listener, GlobalListener) or procedure.trigger is None:
        return
    if event.kind not in procedure.trigger.events:
        wanted = ", ".join(procedure.trigger.events)
        yield Decision(
            predicate="events", wanted=wanted, found=str(event.kind), reason="not an event that it waits for"
        )


def _repo(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    wanted = procedure.trigger.repo if procedure.trigger else ""
    if not wanted:
        return
    names = names_of(event.repository)
    if not PatternList.parse(wanted, ignore_case=True).matches(*names):
        yield Decision(
            predicate="repo", wanted=wanted, found=names[0] if names else None, reason="the repository does not match"
        )


def _branch(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    wanted = procedure.trigger.branch if procedure.trigger else ""
    if not wanted:
        return
    if event.branch is None or not PatternList.parse(wanted).matches(event.branch):
        yield Decision(predicate="branch", wanted=wanted, found=event.branch, reason="the branch does not match")


def _tag(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    wanted = procedure.trigger.tag if procedure.trigger else ""
    if not wanted:
        return
    if event.tag is None or not PatternList.parse(wanted).matches(event.tag):
        yield Decision(predicate="tag", wanted=wanted, found=event.tag, reason="the tag does not match")


def _hook(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    wanted = procedure.trigger.hook if procedure.trigger else ""
    if wanted and not PatternList.parse(wanted).matches(event.hook):
        yield Decision(predicate="hook", wanted=wanted, found=event.hook, reason="it came in at another hook")


def _paths(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    trigger = procedure.trigger
    if trigger is None or not trigger.paths:
        return
    changed = event.changed_paths or ()
    if PathList.parse(trigger.paths).first(changed) is not None:
        return
    wanted, found = ", ".join(trigger.paths), ", ".join(changed[:MAX_NAMED]) or None
    if event.changed_paths_complete is True:
        yield Decision(predicate="paths", wanted=wanted, found=found, reason="no changed file counts")
    elif trigger.on_unknown_paths == "skip":
        yield Decision(
            predicate="paths",
            wanted=wanted,
            found=found,
            reason="the provider's list of changed files is missing or cut",
        )


def _condition(procedure: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    wanted = procedure.trigger.condition if procedure.trigger else ""
    if wanted and (decision := conditions.decide(wanted, Scope.TRIGGER, conditions.of_event(event))):
        yield decision


def _stack_url(_: Procedure, event: WebhookEvent) -> Iterator[Decision]:
    if isinstance(event.listener, StackListener) and event.branch is None:
        yield Decision(predicate="branch", found=event.ref, reason="a stack's own URL needs a push to a branch")


_PREDICATES: tuple[Callable[[Procedure, WebhookEvent], Iterator[Decision]], ...] = (
    _starts,
    _listens,
    _own_branch,
    _stack_url,
    _kind,
    _hook,
    _repo,
    _branch,
    _tag,
    _paths,
    _condition,
)
