"""Stacks with defaults, so that a test names only what matters to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.event import WebhookEvent
from shared.komodo.types import Stack
from shared.matching.index import StackIndex
from shared.matching.target import Resolution, UnknownPaths
from shared.matching.target import resolve as resolve_index
from shared.procedure.model import Target


def a_stack(name: str = "web", **overrides: Any) -> Stack:
    """A running stack of `acme/homelab`, branch `main`, in the folder of its name."""
    defaults = {
        "id": f"{name}-id",
        "name": name,
        "server": "prod-1",
        "source": "git",
        "git_provider": "github.com",
        "repo": "acme/homelab",
        "branch": "main",
        "run_directory": f"stacks/{name}",
        "tracked_files": ({"path": "compose.yaml"},),
        "state": "running",
    }
    return Stack.model_validate(defaults | overrides)


def resolve(
    target: Target, event: WebhookEvent, stacks: Iterable[Stack], unknown_paths: UnknownPaths = "match"
) -> Resolution:
    """Resolve among stacks that nobody has indexed."""
    return resolve_index(target, event, StackIndex(stacks), unknown_paths)
