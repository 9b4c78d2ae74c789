"""
Stacks: where their files come from, what a refresh of Core's cache finds, and how lists show them.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from demo.core.compose import services_of
from demo.core.errors import GitFailed
from demo.core.git import Commit, Source
from demo.core.resources import Json, Stack
from demo.core.state import State


class Tracked(NamedTuple):
    """
    A file that Komodo compares between deploys.
    """

    path: str
    services: list[str]
    requires: str


@dataclass(frozen=True)
class Files:
    """
    The tracked files as found in a checkout or on a host.
    """

    found: list[Json]
    missing: list[str] = field(default_factory=list)

    @property
    def contents(self) -> list[Json]:
        """
        The form that a deploy stores.
        """
        return [{"path": file["path"], "contents": file["contents"]} for file in self.found]


def compose_paths(config: Json) -> list[str]:
    return config["file_paths"] or ["compose.yaml"]


def tracked_files(config: Json) -> list[Tracked]:
    """
    Compose files and tracked env files ask for a redeploy, config files for what they say.
    """
    return [
        *(Tracked(path, [], "Redeploy") for path in compose_paths(config)),
        *(Tracked(file["path"], [], "Redeploy") for file in config["additional_env_files"] if file["track"]),
        *(
            Tracked(file["path"], file.get("services", []), file.get("requires", "None"))
            for file in config["config_files"]
        ),
    ]


def read_files(config: Json, tree: Mapping[str, str]) -> Files:
    """
    Read the tracked files; paths in the tree are relative to its root.
    """
    found: list[Json] = []
    missing: list[str] = []
    for file in tracked_files(config):
        contents = tree.get(posixpath.normpath(posixpath.join(config["run_directory"], file.path)).lstrip("/"))
        if contents is None:
            missing.append(file.path)
        else:
            found.append(
                {"path": file.path, "contents": contents, "services": file.services, "requires": file.requires}
            )
    return Files(found, missing)


def host_files(stack: Stack) -> Files:
    return read_files({**stack.config, "run_directory": ""}, stack.host_files)


def ui_files(stack: Stack) -> Files:
    contents = stack.config["file_contents"]
    if not contents:
        return Files([])
    return Files(
        [{"path": compose_paths(stack.config)[0], "contents": contents, "services": [], "requires": "Redeploy"}]
    )


def source_of(state: State, stack: Stack) -> Source:
    """
    Where a Git stack comes from: its linked Repo, else its own config. Raises "not found" when the Repo is gone.
    """
    linked = stack.config["linked_repo"]
    config = state.shelves.repos.find(linked).config if linked else stack.config
    return Source(config["git_provider"], config["repo"], config["branch"], config["commit"])


def refresh(state: State, stack: Stack) -> None:
    """
    Do what RefreshStackCache does: pull on Core and store what is there, or the error in its place.
    """
    if stack.config["files_on_host"]:
        _refresh_from_host(state, stack)
    elif stack.is_git:
        _refresh_from_git(state, stack)
    elif stack.config["file_contents"]:
        _remember(stack, remote=None, errors=None, services=_services(stack, ui_files(stack)))


def _refresh_from_host(state: State, stack: Stack) -> None:
    server = state.shelves.servers.get(stack.config["server_id"])
    if server is None or state.server_state(server) != "Ok":
        _remember(stack, remote=None, errors=None, services=stack.info["latest_services"])
        return
    files = host_files(stack)
    _remember(stack, remote=files.found, errors=_not_there(files), services=_services(stack, files))


def _refresh_from_git(state: State, stack: Stack) -> None:
    try:
        commit = state.core_pull(source_of(state, stack))
    except GitFailed as failed:
        error = {"path": f"Failed at: {failed.stage}", "contents": failed.message}
        _remember(stack, remote=[], errors=[error], services=[])
        return
    files = read_files(stack.config, commit.tree)
    _remember(stack, remote=files.found, errors=_not_there(files), services=_services(stack, files), commit=commit)
    stack.info["missing_files"] = files.missing


def _remember(
    stack: Stack,
    *,
    remote: list[Json] | None,
    errors: list[Json] | None,
    services: list[Json],
    commit: Commit | None = None,
) -> None:
    stack.info.update(
        missing_files=[],
        remote_contents=remote,
        remote_errors=errors,
        latest_services=services,
        latest_hash=commit.short if commit else None,
        latest_message=commit.message if commit else None,
    )


def _not_there(files: Files) -> list[Json]:
    return [
        {"path": path, "contents": f"Failed to read file contents: {path}\nNo such file or directory (os error 2)"}
        for path in files.missing
    ]


def _services(stack: Stack, files: Files) -> list[Json]:
    paths = compose_paths(stack.config)
    return [
        {
            "service_name": name,
            "container_name": f"{stack.project}-{name}",
            "image": image,
            "image_digest": None,
        }
        for file in files.found
        if file["path"] in paths
        for name, image in services_of(file["contents"])
    ]


def remember_deploy(state: State, stack: Stack, files: Files, commit: Commit | None) -> None:
    """
    Store what was deployed, and what is latest with it.
    """
    services = _services(stack, files)
    compose = "".join(file["contents"] for file in files.found if file["path"] in compose_paths(stack.config))
    stack.info.update(
        deployed_project_name=stack.project,
        deployed_contents=files.contents,
        deployed_services=[{**entry, "image_digest": _digest(entry["image"])} for entry in services],
        deployed_config=f"name: {stack.project}\n{compose}",
        deployed_hash=commit.short if commit else None,
        deployed_message=commit.message if commit else None,
    )
    # With leftover file_contents Komodo does not store what a deploy saw of the remote files.
    remote = stack.info["remote_contents"] if stack.config["file_contents"] else files.found
    _remember(stack, remote=remote, errors=[] if remote is not None else None, services=services, commit=commit)


def _digest(image: str) -> str | None:
    return f"{image.rsplit(':', 1)[0]}@sha256:{hashlib.sha256(image.encode()).hexdigest()}" if image else None


def settle(state: State) -> None:
    """
    Bring the stacks of a new world to where Komodo's first poll and their last deploy have left them.
    """
    for stack in state.shelves.stacks:
        refresh(state, stack)
        if stack.info["deployed_contents"] is None:
            continue
        files, commit = _deployed_at_start(state, stack)
        remember_deploy(state, stack, files, commit)
        refresh(state, stack)
    state.core_checkouts.clear()


def _deployed_at_start(state: State, stack: Stack) -> tuple[Files, Commit | None]:
    if stack.config["files_on_host"]:
        return host_files(stack), None
    if stack.is_git:
        commit = state.git.fetch(source_of(state, stack))
        return read_files(stack.config, commit.tree), commit
    return ui_files(stack), None


def shown_state(state: State, stack: Stack) -> str:
    """
    `deploying` while Core is at it, `unknown` without its server, else what docker says.
    """
    if "deploying" in stack.acting or state.is_held(stack):
        return "deploying"
    server = state.shelves.servers.get(stack.config["server_id"])
    if server is not None and state.server_state(server) != "Ok":
        return "unknown"
    return stack.state


_DOCKER_WORDS = {"running": "running", "stopped": "exited", "paused": "paused", "created": "created", "dead": "dead"}


def _status(stack: Stack, shown: str) -> str | None:
    word = _DOCKER_WORDS.get(shown)
    return f"{word}({len(stack.services)})" if word else None


def list_item(state: State, stack: Stack) -> Json:
    """
    Write the StackListItem, with the linked Repo's repository in place of the stack's own.
    """
    config, info = stack.config, stack.info
    linked = state.shelves.repos.get(config["linked_repo"]) if config["linked_repo"] else None
    source = linked.config if linked else config
    server = state.shelves.servers.get(config["server_id"]) if config["server_id"] else None
    swarm = state.shelves.swarms.get(config["swarm_id"]) if config["swarm_id"] else None
    shown = shown_state(state, stack)
    return stack.item(
        {
            "swarm_id": config["swarm_id"],
            "swarm_name": swarm.name if swarm else "",
            "server_id": config["server_id"],
            "server_name": server.name if server else "",
            "files_on_host": config["files_on_host"],
            "file_contents": bool(config["file_contents"]),
            "linked_repo": config["linked_repo"],
            "linked_repo_name": linked.name if linked else "",
            "git_provider": source["git_provider"],
            "repo": source["repo"],
            "branch": source["branch"],
            "repo_link": repo_link(source),
            "state": shown,
            "status": _status(stack, shown),
            "services": [
                {
                    "service": entry["service_name"],
                    "image": entry["image"],
                    "latest_image": None,
                    "update_available": stack.update_available,
                }
                for entry in info["deployed_services"] or info["latest_services"]
            ],
            "auto_update_all_services": config["auto_update_all_services"],
            "project_missing": info["deployed_contents"] is not None and shown == "down",
            "missing_files": info["missing_files"],
            "deployed_hash": info["deployed_hash"],
            "latest_hash": info["latest_hash"],
        }
    )


def repo_link(config: Json) -> str:
    """
    Only GitHub's link has the branch; a stack without a repo has a link too.
    """
    base = f"https://{config['git_provider']}/{config['repo']}"
    return f"{base}/tree/{config['branch']}" if config["git_provider"] == "github.com" else base
