"""
What Komodo says, parsed once: only the fields that something here reads, so that a stack's environment and secrets never enter
this process's memory for longer than a response (I9).

Facts: Komodo v2.3.2, `client/core/rs/src/entities/{stack,update}.rs`.
"""

from __future__ import annotations

from typing import Literal

from shared.event import Frozen

StackState = Literal[
    "deploying", "running", "paused", "stopped", "created", "restarting", "dead", "removing", "unhealthy", "down", "unknown"
]
SourceKind = Literal["files", "linked-repo", "git", "ui", "none"]


class TrackedFile(Frozen):
    """A file whose change Komodo acts on; `path` is relative to the run directory."""

    path: str
    requires: Literal["Redeploy", "Restart", "None"] = "Redeploy"
    services: tuple[str, ...] = ()


class Stack(Frozen):
    """
    One stack as the matcher sees it: list item and configuration joined.

    `git_provider`, `repo` and `branch` are effective: they come from the linked Repo where there is one. `state` is Komodo's, up to
    its monitoring interval old.
    """

    id: str
    name: str
    template: bool = False
    tags: tuple[str, ...] = ()
    server_id: str = ""
    server: str = ""
    swarm: str = ""
    source: SourceKind = "none"
    git_provider: str = ""
    repo: str = ""
    branch: str = ""
    pinned_commit: str = ""
    webhook_enabled: bool = True
    webhook_force_deploy: bool = False
    run_directory: str = ""
    tracked_files: tuple[TrackedFile, ...] = ()
    state: str = "unknown"
