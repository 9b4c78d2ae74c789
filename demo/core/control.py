"""
Turning the simulation from outside its process: `/_sim/*`, served only with `Knobs.control`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from demo.core.errors import CoreError, GitFailed
from demo.core.faults import Knobs
from demo.core.resources import Json
from demo.core.state import State

KNOBS = TypeAdapter(Knobs)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    provider: str = "github.com"
    repo: str = "acme/infra"


class Push(Body):
    branch: str = "main"
    message: str = "update"
    files: dict[str, str | None]


class TagBody(Body):
    name: str
    branch: str = "main"
    commit: str = ""


class Branch(Body):
    branch: str


def handle(state: State, method: str, name: str, document: Any) -> Any:
    """
    Do one request. Raises CoreError with status 400, 404 or (for a refusal by Git) 409.
    """
    route = ROUTES.get((method, name))
    if route is None:
        raise CoreError(f"no {method} /_sim/{name}", status=404)
    try:
        return route(state, document)
    except ValidationError as error:
        raise CoreError("bad body", status=400, trace=tuple(str(error).splitlines())) from error
    except GitFailed as error:
        raise CoreError(error.message, status=409) from error


def _push(state: State, document: Any) -> Json:
    commit = state.push(**Push.model_validate(document).model_dump())
    return {
        "sha": commit.sha,
        "parents": commit.parents,
        "message": commit.message,
        "added": commit.added,
        "modified": commit.modified,
        "removed": commit.removed,
    }


def _tag(state: State, document: Any) -> Json:
    return {"sha": state.tag(**TagBody.model_validate(document).model_dump()).sha}


def _delete_branch(state: State, document: Any) -> Json:
    state.delete_branch(**Branch.model_validate(document).model_dump())
    return {}


def _knobs(state: State, _: Any) -> Json:
    shown: Json = KNOBS.dump_python(state.knobs, mode="json")
    return shown


def _turn(state: State, document: Any) -> Json:
    """
    Set the knobs that are given and leave the others.
    """
    known = {entry.name for entry in fields(Knobs)}
    if not isinstance(document, dict) or not set(document) <= known:
        raise CoreError(f"expected an object of {', '.join(sorted(known))}", status=400)
    turned = KNOBS.validate_python({**KNOBS.dump_python(state.knobs), **document})
    for name in document:
        setattr(state.knobs, name, getattr(turned, name))
    return _knobs(state, None)


def _history(state: State, _: Any) -> Json:
    return state.history.as_json()


def _restart(state: State, _: Any) -> Json:
    state.restart()
    return {}


ROUTES: dict[tuple[str, str], Callable[[State, Any], Any]] = {
    ("POST", "push"): _push,
    ("POST", "tag"): _tag,
    ("POST", "delete-branch"): _delete_branch,
    ("GET", "knobs"): _knobs,
    ("POST", "knobs"): _turn,
    ("GET", "history"): _history,
    ("POST", "restart"): _restart,
}
