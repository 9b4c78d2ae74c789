"""
Conditions in CEL (https://cel.dev): compiled and type-checked when a procedure is saved, evaluated without any access to the outside.

Every name is declared with its type, so that a wrong name or a comparison of text with a number is an error with line and column, and not a
condition that never holds. What is not known is empty: "", 0, false or a list without entries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shared.event import WebhookEvent
from shared.komodo.types import Stack
from shared.matching.trace import Decision

if TYPE_CHECKING:
    from cel_expr_python import cel

MAX_LENGTH = 2_000
MAX_LISTED = 1_000

Values = Mapping[str, Any]

_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")

_NOWHERE = " (in container '')"

_EVENT = {
    "provider": "string",
    "kind": "string",
    "source": "string",
    "hook": "string",
    "repo": "string",
    "ref": "string",
    "branch": "string",
    "tag": "string",
    "before": "string",
    "after": "string",
    "commit": "string",
    "message": "string",
    "sender": "string",
    "forced": "bool",
    "created": "bool",
    "changed_paths": "list<string>",
    "image": "string",
    "image_tag": "string",
    "image_digest": "string",
}
_STACK = {
    "name": "string",
    "server": "string",
    "swarm": "string",
    "source": "string",
    "repo": "string",
    "branch": "string",
    "run_directory": "string",
    "state": "string",
    "tags": "list<string>",
    "images": "list<string>",
    "update_available": "bool",
}
_PREVIOUS = {"total": "int", "succeeded": "int", "unchanged": "int", "failed": "int", "skipped": "int"}


class Scope(StrEnum):
    """Where a condition stands, and so what it can ask about."""

    TRIGGER = "trigger"
    TARGET = "target"
    EXECUTION = "execution"


_NAMES: Mapping[Scope, Mapping[str, Mapping[str, str]]] = {
    Scope.TRIGGER: {"event": _EVENT},
    Scope.TARGET: {"event": _EVENT, "stack": _STACK},
    Scope.EXECUTION: {"event": _EVENT, "previous": _PREVIOUS},
}


class ConditionError(ValueError):
    """The condition can not be compiled; the message begins with line and column."""


@dataclass(frozen=True)
class Previous:
    """How the actions of the stage before ended; all zero in the first stage."""

    total: int = 0
    succeeded: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Answer:
    """What a condition says; `error` is why it could say nothing, and then it does not hold."""

    holds: bool
    error: str | None = None


@dataclass(frozen=True)
class Condition:
    """One compiled condition."""

    text: str
    _expression: cel.Expression

    @staticmethod
    def parse(text: str, scope: Scope) -> Condition:
        """Compile; raises `ConditionError`. The same text is compiled once."""
        return _parse(text, scope)

    def ask(self, values: Values) -> Answer:
        """Evaluate with the values of `of_event`, `of_stack` and `of_previous` that its scope has."""
        value = self._expression.eval(data=values).value()
        if isinstance(value, bool):
            return Answer(value)
        return Answer(False, str(value)[:300])


def of_event(event: WebhookEvent) -> Values:
    """`event.…`"""
    image = event.image
    return {
        "event.provider": event.provider,
        "event.kind": str(event.kind),
        "event.source": event.source_event or "",
        "event.hook": event.hook,
        "event.repo": event.repository.full_name if event.repository else "",
        "event.ref": event.ref or "",
        "event.branch": event.branch or "",
        "event.tag": event.tag or "",
        "event.before": event.before or "",
        "event.after": event.after or "",
        "event.commit": event.commit or "",
        "event.message": event.message or "",
        "event.sender": event.sender or "",
        "event.forced": bool(event.forced),
        "event.created": bool(event.created),
        "event.changed_paths": list(event.changed_paths or ())[:MAX_LISTED],
        "event.image": f"{image.registry}/{image.name}" if image else "",
        "event.image_tag": (image and image.tag) or "",
        "event.image_digest": (image and image.digest) or "",
    }


def of_stack(stack: Stack) -> Values:
    """`stack.…`"""
    return {
        "stack.name": stack.name,
        "stack.server": stack.server,
        "stack.swarm": stack.swarm,
        "stack.source": stack.source,
        "stack.repo": stack.repo,
        "stack.branch": stack.branch,
        "stack.run_directory": stack.run_directory,
        "stack.state": stack.state,
        "stack.tags": list(stack.tags),
        "stack.images": [service.image for service in stack.services],
        "stack.update_available": stack.update_available,
    }


def of_previous(previous: Previous) -> Values:
    """`previous.…`"""
    return {f"previous.{name}": getattr(previous, name) for name in _PREVIOUS}


def decide(text: str, scope: Scope, values: Values) -> Decision | None:
    """None when the condition holds; raises `ConditionError`."""
    answer = Condition.parse(text, scope).ask(values)
    if answer.holds:
        return None
    reason = "the condition does not hold" if answer.error is None else "the condition could not be evaluated"
    return Decision(predicate="condition", wanted=text, found=answer.error, reason=reason)


@lru_cache(maxsize=1_000)
def _parse(text: str, scope: Scope) -> Condition:
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"1:{MAX_LENGTH}: a condition of more than {MAX_LENGTH} characters")
    try:
        expression = _environment(scope).compile(text)
    except RuntimeError as error:
        raise ConditionError(_located(str(error))) from error
    if expression.return_type().name() != "BOOL":
        raise ConditionError(
            f"1:1: a condition is true or false, and this is {expression.return_type().name().lower()}"
        )
    return Condition(text, expression)


@lru_cache
def _environment(scope: Scope) -> cel.Env:
    # 10 MB that only those need to load who have a condition.
    from cel_expr_python import cel

    return cel.NewEnv(
        variables={
            f"{name}.{field}": cel.Type(kind)
            for name, fields in _NAMES[scope].items()
            for field, kind in fields.items()
        }
    )


def _located(error: str) -> str:
    found = _ERROR.search(error)
    if found is None:
        return f"1:1: {error[:300]}"
    line, column, reason = found.groups()
    return f"{line}:{column}: {reason[:300].removesuffix(_NOWHERE)}"
