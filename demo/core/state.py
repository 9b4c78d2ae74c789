"""
Everything that the simulated Core, its servers and its Git providers hold, and what the outside may do to it.

Nothing here talks HTTP. Work that goes on after an answer runs in tasks that the state owns and ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.core import world as worlds
from demo.core.accounts import LEVELS, Account, Limiter
from demo.core.errors import CoreError, GitFailed, forbidden
from demo.core.faults import Knobs
from demo.core.git import Checkouts, Commit, GitHost, GitRepo, Source
from demo.core.history import History
from demo.core.ids import WORLD_EPOCH, ObjectIds, world_id
from demo.core.resources import Job, Json, Procedure, Repo, Resource, Server, Shelf, Stack
from demo.core.updates import Listener, Update, Updates, log


@dataclass(frozen=True, slots=True)
class Tag:
    id: str
    name: str
    color: str

    def wire(self) -> Json:
        return {"_id": {"$oid": self.id}, "name": self.name, "owner": "", "color": self.color}


class State:
    """
    Made from a world; the knobs stay the caller's and may be turned at any time.
    """

    def __init__(self, world: worlds.World, knobs: Knobs) -> None:
        self.config = world.core
        self.knobs = knobs
        self.git = GitHost()
        self.core_checkouts = Checkouts()
        self.periphery_checkouts = Checkouts()
        self.updates = Updates()
        self.history = History()
        self.limiter = Limiter()
        self.listeners: set[Listener] = set()
        self.crashes: list[BaseException] = []
        self.closing = asyncio.Event()
        self.ids = ObjectIds()
        self.tags = [Tag(world_id("Tag", tag.name), tag.name, tag.color) for tag in world.tag]
        self.shelves = Shelves()
        self.accounts: dict[str, Account] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        _Builder(self, world).build()

    # Clocks

    def now_ms(self) -> int:
        """
        Core's idea of the time, in unix milliseconds.
        """
        return int((time.time() + self.knobs.clock_offset) * 1000)

    # The Git providers

    def push(
        self,
        *,
        files: Mapping[str, str | None],
        repo: str = "acme/infra",
        branch: str = "main",
        message: str = "update",
        provider: str = "github.com",
    ) -> Commit:
        """
        Push one commit that writes these files, or deletes those that are None. Raises GitFailed without the repo.
        """
        return self.git.find(provider, repo).push(branch, files, message)

    def tag(
        self,
        name: str,
        *,
        repo: str = "acme/infra",
        branch: str = "main",
        commit: str = "",
        provider: str = "github.com",
    ) -> Commit:
        """
        Tag the commit, or else the branch's head.
        """
        where = self.git.find(provider, repo)
        found = where.at(commit) if commit else where.head(branch)
        where.tags[name] = found.sha
        return found

    def delete_branch(self, branch: str, *, repo: str = "acme/infra", provider: str = "github.com") -> None:
        where = self.git.find(provider, repo)
        where.head(branch)
        del where.branches[branch]

    def fetch(self, source: Source) -> Commit:
        """
        Ask the provider what the source is at. Raises GitFailed.
        """
        refused = self.knobs.failing_git.get(source.repo)
        if refused is not None:
            raise GitFailed("Git Fetch", refused)
        return self.git.fetch(source)

    def core_pull(self, source: Source) -> Commit:
        return self._pull(self.core_checkouts, source.checkout, source)

    def periphery_pull(self, server_id: str, folder: str, source: Source) -> Commit:
        return self._pull(self.periphery_checkouts, (server_id, folder), source)

    def _pull(self, checkouts: Checkouts, path: tuple[str, ...], source: Source) -> Commit:
        return checkouts.pull(
            path, lambda: self.fetch(source), now=time.monotonic(), max_age=self.knobs.pull_cache_seconds
        )

    # Resources and rights

    def stack(self, name: str) -> Stack:
        return self.shelves.stacks.find(name)

    def server_state(self, server: Server) -> str:
        return self.knobs.server_states.get(server.name, server.state)

    def is_held(self, resource: Resource) -> bool:
        return resource.name in self.knobs.busy

    def tag_id(self, reference: str) -> str:
        for tag in self.tags:
            if reference in (tag.id, tag.name):
                return tag.id
        raise CoreError(f"No tag found matching name or id: {reference}")

    def level(self, account: Account, resource: Resource) -> int:
        found = account.level(resource)
        if self.config.transparent_mode:
            found = max(found, LEVELS["Read"])
        return min(found, LEVELS["Read"]) if account.username in self.knobs.forbidden_users else found

    def may(self, account: Account, resource: Resource, level: str) -> bool:
        return self.level(account, resource) >= LEVELS[level]

    def require(self, account: Account, resource: Resource, level: str) -> None:
        if not self.may(account, resource, level):
            raise forbidden(resource.kind, level)

    def may_see(self, account: Account, update: Update) -> bool:
        """
        Updates of the System are for admins; others need Read on what they concern.
        """
        if update.target_type == "System":
            return account.admin or self.config.transparent_mode
        target = self.shelves[update.target_type].get(update.target_id)
        return target is not None and self.may(account, target, "Read")

    # Updates

    def start_update(
        self, operation: str, account: Account, resource: Resource | None, *, stored: bool = True
    ) -> Update:
        """
        Make an InProgress Update; without `stored` it has no id and nobody will find it.
        """
        now = self.now_ms()
        built_in = account.id.startswith("0" * 16)
        update = Update(
            id=self.ids.make(now) if stored else "",
            operation=operation,
            start_ts=now,
            operator=account.id,
            username=account.id if built_in else account.username,
            target_type=resource.kind if resource else "System",
            target_id=resource.id if resource else "system",
        )
        if stored:
            self.updates.add(update)
        self.announce(update)
        return update

    def finish_update(self, update: Update) -> None:
        """
        Complete it, unless a restart of Core already has.
        """
        if update.status != "Complete":
            update.finish(self.now_ms())
            self.announce(update)

    def announce(self, update: Update) -> None:
        """
        Tell all websockets whose user may see the Update.
        """
        if not update.id or not self.listeners or self.knobs.silent_socket:
            return
        item = update.item()
        for listener in self.listeners:
            account = self.account(listener.user_id)
            if account is not None and self.may_see(account, update):
                listener.offer(item)

    def account(self, user_id: str) -> Account | None:
        return next((account for account in self.accounts.values() if account.id == user_id), None)

    # Work after the answer

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """
        Run in the background until the end, a restart or `close`. A crash is kept in `crashes`.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (crash := task.exception()) is not None:
            self.crashes.append(crash)

    async def settled(self) -> None:
        """
        Wait until nothing runs in the background.
        """
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def hold(self, resource: str) -> None:
        """
        Let executions of the resource begin but not go on, until `release`.
        """
        self._gates.setdefault(resource, asyncio.Event())

    def release(self, resource: str) -> None:
        gate = self._gates.pop(resource, None)
        if gate is not None:
            gate.set()

    async def take_time(self, resource: str, seconds: float) -> None:
        """
        Be at work on the resource for so long, and as long as it is held.
        """
        if seconds > 0:
            await asyncio.sleep(seconds)
        gate = self._gates.get(resource)
        if gate is not None:
            await gate.wait()

    def restart(self) -> None:
        """
        Restart Core: what runs is lost, its Updates end unsuccessful without an end time, all memory is empty.
        """
        self._drop_tasks()
        for shelf in self.shelves.all():
            for resource in shelf:
                resource.acting.clear()
        for update in self.updates.in_progress():
            update.logs.append(log("Komodo shutdown", self.now_ms(), stderr="Komodo was shut down", success=False))
            update.status, update.success = "Complete", False
        self.core_checkouts.clear()
        self.limiter.failures.clear()
        for listener in self.listeners:
            listener.close()

    async def close(self) -> None:
        """
        End all background work and let go of everyone who waits.
        """
        self.closing.set()
        for listener in self.listeners:
            listener.close()
        dropped = self._drop_tasks()
        if dropped:
            await asyncio.wait(dropped)

    def _drop_tasks(self) -> set[asyncio.Task[None]]:
        running = set(self._tasks)
        for task in running:
            task.cancel()
        return running


@dataclass
class Shelves:
    """
    The resources by kind.
    """

    stacks: Shelf[Stack] = field(default_factory=lambda: Shelf("Stack"))
    servers: Shelf[Server] = field(default_factory=lambda: Shelf("Server"))
    swarms: Shelf[Resource] = field(default_factory=lambda: Shelf("Swarm"))
    repos: Shelf[Repo] = field(default_factory=lambda: Shelf("Repo"))
    procedures: Shelf[Procedure] = field(default_factory=lambda: Shelf("Procedure"))
    actions: Shelf[Job] = field(default_factory=lambda: Shelf("Action"))
    builds: Shelf[Job] = field(default_factory=lambda: Shelf("Build"))
    syncs: Shelf[Job] = field(default_factory=lambda: Shelf("ResourceSync"))

    def all(self) -> list[Shelf[Any]]:
        return [
            self.stacks,
            self.servers,
            self.swarms,
            self.repos,
            self.procedures,
            self.actions,
            self.builds,
            self.syncs,
        ]

    def __getitem__(self, kind: str) -> Shelf[Any]:
        return next(shelf for shelf in self.all() if shelf.kind == kind)


class _Builder:
    """
    Fills a state from a world, turning names into ids.
    """

    def __init__(self, state: State, world: worlds.World) -> None:
        self.state = state
        self.world = world

    def build(self) -> None:
        for git in self.world.git:
            self._git(git)
        self._resources()
        for user in self.world.user:
            self._user(user)

    def _git(self, git: worlds.Git) -> None:
        first = git.branches[0]
        repo = GitRepo(git.provider, git.repo, default_branch=first)
        for entry in git.commits:
            changes: dict[str, str | None] = {**entry.files, **dict.fromkeys(entry.removed)}
            commit = repo.push(first, changes, entry.message)
            if entry.tag:
                repo.tags[entry.tag] = commit.sha
        repo.branches.update(dict.fromkeys(git.branches, repo.branches[first]))
        self.state.git.repos[git.provider, git.repo] = repo

    def _user(self, user: worlds.User) -> None:
        self.state.accounts[user.key] = Account(
            id=world_id("User", user.username),
            username=user.username,
            key=user.key,
            secret=user.secret,
            admin=user.admin,
            enabled=user.enabled,
            expires=user.expires,
            all={str(kind): str(level) for kind, level in user.all.items()},
            grants={self._id(grant.kind, grant.name): grant.level for grant in user.permissions},
        )

    def _resources(self) -> None:
        shelves, world = self.state.shelves, self.world
        for server in world.server:
            shelves.servers.add(Server(**self._common("Server", server), state=server.state, region=server.region))
        for swarm in world.swarm:
            shelves.swarms.add(Resource(**self._common("Swarm", swarm)))
        for repo in world.repo:
            config = repo.config.model_dump()
            config["server_id"] = self._id("Server", config["server_id"])
            shelves.repos.add(Repo(**self._common("Repo", repo), config=config))
        jobs = ((shelves.actions, world.action), (shelves.builds, world.build), (shelves.syncs, world.resource_sync))
        for shelf, entries in jobs:
            for job in entries:
                shelf.add(Job(**self._common(shelf.kind, job), seconds=job.seconds, fails=job.fails))
        for stack in world.stack:
            shelves.stacks.add(self._stack(stack))
        # A procedure may run one that stands after it, so all have their ids before the references are looked up.
        for procedure in world.procedure:
            shelves.procedures.add(Procedure(**self._common("Procedure", procedure)))
        for procedure in world.procedure:
            shelves.procedures.find(procedure.name).config = self._procedure_config(procedure)

    def _common(self, kind: str, entry: worlds.Resource) -> dict[str, Any]:
        return {
            "kind": kind,
            "id": world_id(kind, entry.name),
            "name": entry.name,
            "description": entry.description,
            "template": entry.template,
            "tags": [self.state.tag_id(tag) for tag in entry.tags],
            "base_permission": entry.base_permission,
            "updated_at": WORLD_EPOCH * 1000,
        }

    def _stack(self, entry: worlds.Stack) -> Stack:
        config = entry.config.model_dump()
        config["server_id"] = self._id("Server", config["server_id"])
        config["swarm_id"] = self._id("Swarm", config["swarm_id"])
        config["linked_repo"] = self._id("Repo", config["linked_repo"])
        for file in config["config_files"]:
            _leave_out_defaults(file)
        return Stack(
            **self._common("Stack", entry),
            config=config,
            state=entry.state if entry.deployed else "down",
            update_available=entry.update_available,
            host_files=dict(entry.host_files),
            info=_no_info(deployed=entry.deployed),
        )

    def _procedure_config(self, entry: worlds.Procedure) -> Json:
        config = entry.config.model_dump()
        for stage in config["stages"]:
            for execution in stage["executions"]:
                params = execution["execution"]["params"]
                for key, kind in REFERENCES.items():
                    if key in params:
                        params[key] = self._id(kind, params[key])
        return config

    def _id(self, kind: str, reference: str) -> str:
        return self.state.shelves[kind].find(reference).id if reference else ""


REFERENCES = {
    "stack": "Stack",
    "repo": "Repo",
    "procedure": "Procedure",
    "action": "Action",
    "build": "Build",
    "sync": "ResourceSync",
}


def _leave_out_defaults(file: Json) -> None:
    if not file["services"]:
        del file["services"]
    if file["requires"] == "None":
        del file["requires"]


def _no_info(*, deployed: bool) -> Json:
    """
    What Komodo knows of a new stack. An empty `deployed_contents` marks one that `stacks.settle` has to fill.
    """
    return {
        "missing_files": [],
        "deployed_project_name": None,
        "deployed_hash": None,
        "deployed_message": None,
        "deployed_contents": [] if deployed else None,
        "deployed_services": None,
        "deployed_config": None,
        "latest_services": [],
        "remote_contents": None,
        "remote_errors": None,
        "latest_hash": None,
        "latest_message": None,
    }
