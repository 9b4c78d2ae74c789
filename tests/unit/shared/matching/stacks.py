"""Stacks with defaults, so that a test names only what matters to it."""

from __future__ import annotations

from typing import Any

from shared.komodo.types import Stack


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
