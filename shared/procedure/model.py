"""
A procedure: a trigger, ordered stages of executions, each with a target and a policy.

The model is what the store keeps and what a run carries as its snapshot. Keys are those of the TOML form (DESIGN.md section 8);
a key that nothing here acts on is refused, so that nobody believes in a setting that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from shared.event import Frozen, Kind
from shared.komodo.types import SERVER_STATES, STACK_STATES, SourceKind
from shared.matching.conditions import Condition, Scope
from shared.matching.globs import PathList
from shared.matching.patterns import PatternList
from shared.procedure.executions import EXECUTIONS

TARGET_TYPES = (*get_args(SourceKind), "compose", "swarm")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    for unit in ("ms", "s", "m", "h"):
        number = value.strip().removesuffix(unit)
        if number != value.strip() and number.replace(".", "", 1).isdigit():
            return float(number) * _UNITS[unit]
    raise ValueError(f"{value!r} is not a length of time: write 500ms, 5s, 2m or 1h")


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=86_400)]

EVENT_REF = "@event"
MAX_NAME = 200


def _readable(text: str) -> str:
    PatternList.parse(text)
    return text


def _of_words(words: Iterable[str]) -> Callable[[str], str]:
    known = tuple(words)

    def check(text: str) -> str:
        for entry in PatternList.parse(text).entries:
            if not any(entry.matches(word.encode()) for word in known):
                raise ValueError(f"{entry.text} is none of {', '.join(known)}")
        return text

    return check


def _paths(patterns: tuple[str, ...]) -> tuple[str, ...]:
    PathList.parse(patterns)
    return patterns


def _layout(text: str) -> str:
    if text and "{stack}" not in text:
        raise ValueError("a layout says where {stack} stands, and may say where {server} does")
    if "*" in text.removesuffix("/**"):
        raise ValueError("a layout has no wildcards but /** at its end")
    return text


def _condition(scope: Scope) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text:
            Condition.parse(text, scope)
        return text

    return check


Patterns = Annotated[str, AfterValidator(_readable)]
"""A pattern list that can be read; the error names the entry that can not."""


class Trigger(Frozen):
    """
    Which events start a procedure. All that is set must hold; pattern lists are Komodo's, with `!` to exclude.

    `listen = "global"` answers the global URL and the procedure's own; `"own"` only its own. `paths` are gitignore's rules over the changed
    files, of which one must count; `on_unknown_paths` decides for it, and for an `affected` target, when the provider's file list is
    missing or cut. `hook` are names of hooks, `condition` is CEL over `event`.
    """

    listen: Literal["global", "own"] = "global"
    events: tuple[Kind, ...] = (Kind.PUSH,)
    repo: Patterns = ""
    branch: Patterns = ""
    tag: Patterns = ""
    hook: Patterns = ""
    paths: Annotated[tuple[str, ...], AfterValidator(_paths)] = ()
    condition: Annotated[str, AfterValidator(_condition(Scope.TRIGGER))] = ""
    on_unknown_paths: Literal["match", "skip"] = "match"


class Target(Frozen):
    """
    The filter that picks stacks. Predicates are ANDed; inside one, a pattern list is ORed and `!` excludes.

    `repo`, `branch` and `image` take `@event`; `type`, `state` and `server_state` take the words of `TARGET_TYPES`, `STACK_STATES` and
    `SERVER_STATES`; `server` is the swarm's name where the stack runs on one. `file` are the files that Komodo tracks, by their path in the
    repository. `affected` asks that a changed path lies in the stack's run directory or is one of its files, or below `layout`, such
    as `nodes/{server}/{stack}/**`, with its own names in it. `condition` is CEL over `event` and `stack`.
    """

    name: Patterns = ""
    server: Patterns = ""
    server_tag: Patterns = ""
    server_state: Annotated[str, AfterValidator(_of_words(SERVER_STATES))] = ""
    repo: Patterns = ""
    branch: Patterns = ""
    type: Annotated[str, AfterValidator(_of_words(TARGET_TYPES))] = ""
    tag: Patterns = ""
    state: Annotated[str, AfterValidator(_of_words(STACK_STATES))] = ""
    file: Patterns = ""
    image: Patterns = ""
    update_available: bool | None = None
    affected: bool = False
    layout: Annotated[str, AfterValidator(_layout)] = ""
    condition: Annotated[str, AfterValidator(_condition(Scope.TARGET))] = ""


class Retry(Frozen):
    """How often a failed action is tried again, and how long it waits: `initial`, doubled each time, up to `max` seconds."""

    attempts: int = Field(default=1, ge=1, le=100)
    initial: Seconds = 5.0
    max: Seconds = 300.0


class ExecutionCall(Frozen):
    """A Komodo execution: its type and Komodo's own params."""

    type: str
    params: dict[str, Any] = Field(default_factory=dict)

    @field_validator("type")
    @classmethod
    def _is_run_here(cls, value: str) -> str:
        if value not in EXECUTIONS:
            raise ValueError(f"{value} is not an execution that is run here; there are {', '.join(sorted(EXECUTIONS))}")
        return value


class Execution(Frozen):
    """
    One line of a stage. With a `target` it runs once per stack that the target picks; without, as Komodo would run it.

    `condition` is CEL over `event` and `previous`, asked when the stage begins.
    """

    execution: ExecutionCall
    target: Target | None = None
    enabled: bool = True
    condition: Annotated[str, AfterValidator(_condition(Scope.EXECUTION))] = ""
    retry: Retry | None = None
    timeout: Seconds = 1800.0

    @model_validator(mode="after")
    def _names_a_resource(self) -> Execution:
        kind = EXECUTIONS[self.execution.type]
        if self.target is not None and kind.resource != "Stack":
            raise ValueError(f"a target picks stacks, and {self.execution.type} runs on a {kind.resource}")
        named = self.execution.params.get(kind.param)
        if self.target is not None and named is not None:
            raise ValueError(
                f"the target picks the stacks, so the param {kind.param} would do nothing: keep one of the two"
            )
        if self.target is None and not (isinstance(named, str) and named):
            raise ValueError(f"{self.execution.type} needs a target, or the param {kind.param}")
        return self


class Stage(Frozen):
    """Executions that run in parallel; the next stage starts when all of them have ended (I4)."""

    name: str = ""
    enabled: bool = True
    on_failure: Literal["stop", "continue"] = "stop"
    executions: tuple[Execution, ...] = ()


class Procedure(Frozen):
    """What to do when an event arrives."""

    name: str = Field(min_length=1, max_length=MAX_NAME)
    description: str = ""
    enabled: bool = True
    trigger: Trigger | None = None
    stages: tuple[Stage, ...] = ()
