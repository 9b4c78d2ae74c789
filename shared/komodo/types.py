"""
What Komodo says, parsed once: only the fields that something here reads, so that a stack's environment and secrets never stay in this
process's memory for longer than a response (I9).

Facts: Komodo v2.3.2, `client/core/rs/src/entities/{stack,update}.rs`, `bin/core/src/api/execute/stack.rs`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.event import Frozen

Json = Mapping[str, Any]
SourceKind = Literal["files", "linked-repo", "git", "ui", "none"]
Requires = Literal["Redeploy", "Restart", "None"]

GIT_SOURCES: frozenset[SourceKind] = frozenset({"git", "linked-repo"})
STACK_STATES = (
    "deploying",
    "running",
    "paused",
    "stopped",
    "created",
    "restarting",
    "dead",
    "removing",
    "unhealthy",
    "down",
    "unknown",
)
SERVER_STATES = ("Ok", "NotOk", "Disabled")
DEFAULT_FILE = "compose.yaml"
MAX_FAILURE_TEXT = 1_000
MAX_NAMED = 5

_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>")
_ANSI = re.compile(r"\x1b\[[0-9;?]{0,50}[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class TrackedFile(Frozen):
    """A file whose change Komodo acts on; `path` is relative to the run directory."""

    path: str
    requires: Requires = "Redeploy"
    services: tuple[str, ...] = ()


class Service(Frozen):
    """One service of a stack as Komodo last saw it; `image` is what the compose file says."""

    name: str
    image: str = ""
    update_available: bool = False


class Server(Frozen):
    """One server; `state` is Komodo's: `Ok`, `NotOk` (it can not be reached) or `Disabled`."""

    id: str
    tags: tuple[str, ...] = ()
    state: str = "Ok"

    @classmethod
    def from_json(cls, item: Json, tag_names: Mapping[str, str]) -> Server:
        """Parse an item of `ListServers`; raises `KeyError` for anything else."""
        tags = tuple(tag_names.get(tag, tag) for tag in item.get("tags") or ())
        return cls(id=item["id"], tags=tags, state=item["info"].get("state") or "Ok")


class Stack(Frozen):
    """
    One stack as the matcher sees it: list item, configuration and server joined.

    `git_provider`, `repo` and `branch` are effective: they come from the linked Repo where there is one; the first two are empty where
    the files do not come from Git. `state` is Komodo's, up to its monitoring interval old.
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
    services: tuple[Service, ...] = ()
    server_tags: tuple[str, ...] = ()
    server_state: str = "Ok"
    state: str = "unknown"

    @property
    def update_available(self) -> bool:
        """Whether Komodo has found a newer image for one of its services."""
        return any(service.update_available for service in self.services)

    @classmethod
    def from_json(cls, item: Json, full: Json, tag_names: Mapping[str, str], server: Server | None = None) -> Stack:
        """Join an item of `ListStacks` and the same stack from `ListFullStacks`; raises `KeyError` for what is neither."""
        info, config = item["info"], full["config"]
        source = source_of(config)
        # What an older configuration left in these fields, Komodo does not read, and still shows.
        is_git = source in GIT_SOURCES
        return cls(
            id=item["id"],
            name=item["name"],
            template=bool(item.get("template")),
            tags=tuple(tag_names.get(tag, tag) for tag in item.get("tags") or ()),
            server_id=info.get("server_id") or "",
            server=info.get("server_name") or "",
            swarm=info.get("swarm_name") or info.get("swarm_id") or "",
            source=source,
            git_provider=(info.get("git_provider") or "") if is_git else "",
            repo=(info.get("repo") or "") if is_git else "",
            branch=info.get("branch") or "",
            pinned_commit=(config.get("commit") or "") if source == "git" else "",
            webhook_enabled=bool(config.get("webhook_enabled", True)),
            webhook_force_deploy=bool(config.get("webhook_force_deploy")),
            run_directory=config.get("run_directory") or "",
            tracked_files=tracked_files(config),
            services=tuple(_service(service) for service in info.get("services") or ()),
            server_tags=server.tags if server else (),
            server_state=server.state if server else "Ok",
            state=info.get("state") or "unknown",
        )


def _service(service: Json) -> Service:
    return Service(
        name=service["service"],
        image=service.get("image") or "",
        update_available=bool(service.get("update_available")),
    )


@dataclass(frozen=True)
class Contents:
    """One file as Komodo deployed it or finds it now: a digest, since the file itself may hold secrets."""

    sha256: str
    requires: Requires = "Redeploy"
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackDetail:
    """
    One stack just before and after a deploy (`GetStack`).

    `deployed` is None when Komodo has never deployed it, `remote` is None when its files are not in a repository or on the host.
    """

    id: str
    name: str
    source: SourceKind
    latest_hash: str | None
    deployed_hash: str | None
    deployed: Mapping[str, Contents] | None
    remote: Mapping[str, Contents] | None
    remote_errors: tuple[str, ...]
    missing_files: tuple[str, ...]

    @classmethod
    def from_json(cls, full: Json) -> StackDetail:
        """Parse the answer of `GetStack`; raises `KeyError` for anything else."""
        info = full.get("info") or {}
        return cls(
            id=full["_id"]["$oid"],
            name=full["name"],
            source=source_of(full["config"]),
            latest_hash=info.get("latest_hash"),
            deployed_hash=info.get("deployed_hash"),
            deployed=_contents(info.get("deployed_contents")),
            remote=_contents(info.get("remote_contents")),
            remote_errors=tuple(_error(error) for error in info.get("remote_errors") or ()),
            missing_files=tuple(info.get("missing_files") or ()),
        )


@dataclass(frozen=True)
class Change:
    """
    What is to be deployed: nothing, some services, or (without `services`) all of the stack; `reason` is for a person.

    `restart` are the services that must be restarted after that deploy: `compose up` leaves a container alone whose mounted file has
    changed. It is None where none must, and empty where all must.
    """

    deploys: bool
    reason: str
    services: tuple[str, ...] = ()
    restart: tuple[str, ...] | None = None


def changes(stack: StackDetail) -> Change:
    """
    Compare what is deployed with what is there, as Komodo's own "deploy if changed" does.

    A change that only asks for a restart deploys its services too: after a restart alone Komodo would find the same change again. Ask
    for `remote_errors` and `missing_files` first: where Komodo could not read the files there is nothing to compare.
    """
    if stack.deployed is None:
        return Change(True, "it was never deployed")
    if stack.remote is None:
        return _incomparable(stack)
    changed = [
        (path, now, before)
        for path, now in stack.remote.items()
        if (before := stack.deployed.get(path)) is None or (before.sha256 != now.sha256 and now.requires != "None")
    ]
    if not changed:
        return Change(False, "none of its files changed")
    news = [f"{path} is new" for path, _, before in changed if before is None]
    known = [(path, now) for path, now, before in changed if before is not None]
    restart = _services([now for _, now in known if now.requires == "Restart"])
    if news:
        return Change(True, _named(news), restart=restart)
    return Change(
        True, f"{_named([path for path, _ in known])} changed", _services([now for _, now in known]) or (), restart
    )


def _incomparable(stack: StackDetail) -> Change:
    if stack.source == "ui":
        return Change(False, "its files are kept in Komodo, which does not compare them")
    return Change(True, "Komodo has not read its files, so they can not be compared")


def _services(files: list[Contents]) -> tuple[str, ...] | None:
    """The services that these files concern: None without a file, empty (all of them) as soon as one names none."""
    if not files:
        return None
    if any(not file.services for file in files):
        return ()
    return tuple(dict.fromkeys(service for file in files for service in file.services))


def _named(texts: list[str]) -> str:
    more = f" and {len(texts) - MAX_NAMED} more" if len(texts) > MAX_NAMED else ""
    return ", ".join(texts[:MAX_NAMED]) + more


@dataclass(frozen=True)
class Log:
    """One log of an update."""

    stage: str
    success: bool
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Update:
    """
    One of Komodo's updates. Believe `success` only when it `is_complete`: Komodo writes `true` before it has begun.

    `id` is empty for the update of a DeployStackIfChanged, which is never stored. `logs` are there only when it was fetched by itself.
    """

    id: str
    operation: str
    status: str
    success: bool
    start_ts: int
    target_type: str
    target_id: str
    operator: str
    logs: tuple[Log, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether Komodo has finished with it."""
        return self.status == "Complete"

    @classmethod
    def from_json(cls, update: Json) -> Update:
        """Parse an update or an item of a list of updates; raises `KeyError` for anything else."""
        target = update["target"]
        return cls(
            id=(update.get("_id") or {}).get("$oid") or update.get("id") or "",
            operation=update["operation"],
            status=update["status"],
            success=bool(update["success"]),
            start_ts=int(update["start_ts"]),
            target_type=target["type"],
            target_id=target["id"],
            operator=update.get("operator") or "",
            logs=tuple(
                Log(log["stage"], bool(log["success"]), log.get("stdout") or "", log.get("stderr") or "")
                for log in update.get("logs") or ()
            ),
        )


def failure_text(update: Update) -> str:
    """What the failing logs say, as plain text of bounded length: Komodo colours its logs with HTML."""
    failing = [log for log in update.logs if not log.success]
    if not failing:
        return f"{update.operation} was not successful"
    room = MAX_FAILURE_TEXT // min(len(failing), MAX_NAMED) - 1
    shown = [f"{log.stage}: {_plain(log.stderr or log.stdout)}" for log in failing[:MAX_NAMED]]
    return "\n".join(_cut(text, room) for text in shown)


def is_busy(update: Update) -> bool:
    """The resource was busy, so nothing was done (`client/core/rs/src/busy.rs`)."""
    return _task_error(update, "Resource is busy")


def is_forbidden(update: Update) -> bool:
    """Our user may not do this."""
    return _task_error(update, "does not have required permissions")


def is_shutdown(update: Update) -> bool:
    """Komodo Core was restarted while it worked (`bin/core/src/startup.rs`)."""
    return any(log.stage == "Komodo shutdown" for log in update.logs)


def is_unreachable(update: Update) -> bool:
    """The server's agent could not be reached, so nothing was done."""
    return _task_error(update, "unreachable", "not reachable", "is disabled", "not connected")


def source_of(config: Json) -> SourceKind:
    """Where a stack's files come from; the first that applies wins (`bin/periphery/src/stack/write.rs`)."""
    if config.get("files_on_host"):
        return "files"
    if config.get("linked_repo"):
        return "linked-repo"
    if config.get("repo"):
        return "git"
    return "ui" if config.get("file_contents") else "none"


def tracked_files(config: Json) -> tuple[TrackedFile, ...]:
    """The files that Komodo compares, relative to the run directory."""
    paths = config.get("file_paths") or [DEFAULT_FILE]
    compose = [TrackedFile(path=path) for path in paths]
    env = [
        TrackedFile(path=file["path"]) for file in config.get("additional_env_files") or () if file.get("track", True)
    ]
    configs = [
        TrackedFile(
            path=file["path"], requires=file.get("requires") or "None", services=tuple(file.get("services") or ())
        )
        for file in config.get("config_files") or ()
    ]
    return tuple(compose + env + configs)


def _contents(files: list[Json] | None) -> dict[str, Contents] | None:
    if files is None:
        return None
    return {
        file["path"]: Contents(
            hashlib.sha256((file.get("contents") or "").encode(errors="surrogatepass")).hexdigest(),
            file.get("requires") or "Redeploy",
            tuple(file.get("services") or ()),
        )
        for file in files
    }


def _error(error: Json) -> str:
    return _plain(f"{error.get('path')}: {error.get('contents')}")[:MAX_FAILURE_TEXT]


def _task_error(update: Update, *texts: str) -> bool:
    failed = (log.stderr for log in update.logs if log.stage in ("Task Error", "Spawn Error") and not log.success)
    return any(text in stderr for stderr in failed for text in texts)


def _plain(text: str) -> str:
    return _CONTROL.sub("", _ANSI.sub("", _TAG.sub("", text))).strip()


def _cut(text: str, room: int) -> str:
    """The stage and, of what it said, the end: compose tells its progress first and what went wrong last."""
    if len(text) <= room:
        return text
    stage, separator, said = text[:80].partition(": ")
    head = f"{stage}{separator}… " if said else "… "
    return head + text[len(text) - (room - len(head)) :]
