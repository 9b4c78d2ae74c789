"""
What each execution does to stacks, repos and jobs, between its acceptance and the end of its Update.

A function here raises CoreError only for a refusal; work that was begun and failed says so in the Update's logs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from demo.core import if_changed, stacks
from demo.core import params as read
from demo.core.accounts import Account
from demo.core.errors import CoreError, GitFailed, unreachable
from demo.core.git import Commit, Source
from demo.core.history import DeployRecord, ExecutionRecord
from demo.core.resources import Job, Json, Repo, Server, Stack
from demo.core.state import State
from demo.core.updates import MUTED_SPAN, Update, log


@dataclass(kw_only=True)
class Execution:
    """
    One accepted execution. `resource` is of the kind that the table of executions says, or None for the System.
    """

    state: State
    variant: str
    params: Json
    account: Account
    resource: Any
    update: Update
    record: ExecutionRecord

    def log(self, stage: str, **fields: Any) -> None:
        self.update.logs.append(log(stage, self.state.now_ms(), **fields))

    def begins(self) -> None:
        """
        Note that from here on containers or checkouts may have been touched.
        """
        self.record.outcome = "ran"

    def ends(self) -> None:
        self.state.finish_update(self.update)


# Stacks


def _require_host(state: State, stack: Stack) -> None:
    if stack.config["swarm_id"]:
        return
    if not stack.config["server_id"]:
        raise CoreError("Must attach either swarm or server")
    _require_server(state, stack.config["server_id"])


def _require_server(state: State, server_id: str) -> Server:
    server = state.shelves.servers.find(server_id)
    if state.server_state(server) != "Ok":
        raise unreachable()
    return server


def _pull(execution: Execution) -> Commit | None:
    """
    Pull the stack's repository where it runs. None after a failure, which is then in the logs.
    """
    state = execution.state
    stack: Stack = execution.resource
    linked = stack.config["linked_repo"]
    folder = f"repos/{state.shelves.repos.find(linked).name}" if linked else f"stacks/{stack.name}"
    try:
        source = stacks.source_of(state, stack)
        commit = state.periphery_pull(stack.config["server_id"] or stack.config["swarm_id"], folder, source)
    except GitFailed as failed:
        execution.log(failed.stage, stderr=failed.message, success=False)
        return None
    _log_pull(execution, source.branch, commit)
    return commit


def _log_pull(execution: Execution, branch: str, commit: Commit) -> None:
    execution.log("Git pull", command=f"git pull --rebase --force origin {branch}", stdout="Already up to date.")
    execution.log(
        "Latest Commit",
        command="git rev-parse --short HEAD && git log -1 --pretty=%B",
        stdout=f"{MUTED_SPAN}hash:</span> {commit.short}\n{MUTED_SPAN}message:</span> {commit.message}",
    )


async def deploy_stack(execution: Execution) -> None:
    stack: Stack = execution.resource
    services = [] if stack.config["swarm_id"] else read.text_list(execution.params, "services")
    await _deploy(execution, services)


async def _deploy(execution: Execution, services: list[str]) -> None:
    """
    Pull, validate and bring up. Raises only before anything was touched.
    """
    state = execution.state
    stack: Stack = execution.resource
    _require_host(state, stack)
    with stack.doing("deploying", held_elsewhere=state.is_held(stack)):
        execution.begins()
        if services:
            execution.log("Service/s", stdout=f"Deploying: {', '.join(services)}")
        commit = _pull(execution) if stack.is_git else None
        await state.take_time(stack.name, state.knobs.seconds_to_deploy(stack.name))
        if stack.is_git and commit is None:
            return
        _bring_up(execution, services, commit)


def _bring_up(execution: Execution, services: list[str], commit: Commit | None) -> None:
    state = execution.state
    stack: Stack = execution.resource
    files = _files_to_deploy(stack, commit)
    if not files.found and not files.missing:
        execution.log("Write Stack", stderr="The stack has no files, repo or contents", success=False)
        return
    if files.missing:
        stack.info["missing_files"] = files.missing
        execution.log("Validate Files", stderr=f"Missing files: {', '.join(files.missing)}", success=False)
        return
    command = f"docker compose -p {stack.project} -f {' -f '.join(stacks.compose_paths(stack.config))}"
    execution.log("Compose Config", command=f"{command} config")
    if stack.config["auto_pull"]:
        execution.log("Compose Pull", command=f"{command} pull", stderr=" Pulled")
    up = f"{command} up -d{''.join(f' {service}' for service in services)}"
    failure = state.knobs.failing_deploys.get(stack.name)
    if failure is not None:
        execution.log("Compose Up", command=up, stderr=failure, success=False)
        return
    stacks.remember_deploy(state, stack, files, commit)
    stack.state = state.knobs.stuck_states.get(stack.name, "running")
    stack.update_available = False
    # Compose reports ordinary progress on stderr.
    started = services or stack.services
    execution.log(
        "Compose Up", command=up, stderr="\n".join(f" Container {stack.project}-{name}-1  Started" for name in started)
    )
    state.history.deploys.append(
        DeployRecord(
            stack=stack.name,
            services=tuple(services),
            sha=commit.sha if commit else None,
            update_id=execution.update.id or None,
            at_ms=state.now_ms(),
        )
    )


def _files_to_deploy(stack: Stack, commit: Commit | None) -> stacks.Files:
    if commit is not None:
        return stacks.read_files(stack.config, commit.tree)
    return stacks.host_files(stack) if stack.config["files_on_host"] else stacks.ui_files(stack)


async def deploy_if_changed(execution: Execution) -> None:
    """
    Refresh, compare, and do what the difference asks for with Updates of its own.
    """
    state = execution.state
    stack: Stack = execution.resource
    stacks.refresh(state, stack)
    plan = if_changed.plan(stack.info["deployed_contents"], stack.info["remote_contents"])
    if plan.is_empty:
        execution.record.outcome = "unchanged"
        execution.log("Diff compose files", stdout="Deploy cancelled after no changes detected.")
        return
    if plan.full:
        await _inside(execution, "DeployStack", [])
        return
    if plan.deploy:
        await _inside(execution, "DeployStack", list(plan.deploy))
    restarted = [name for name in stack.services if name not in plan.deploy] if plan.restart_all else list(plan.restart)
    if restarted:
        everything = plan.restart_all and not plan.deploy
        await _inside(execution, "RestartStack", [] if everything else restarted)


async def _inside(outer: Execution, operation: str, services: list[str]) -> None:
    """
    Run one part of DeployStackIfChanged. A refusal leaves its Update InProgress for good.
    """
    state = outer.state
    stack: Stack = outer.resource
    update = state.start_update(operation + ("Service" if services else ""), outer.account, stack)
    inner = replace(outer, update=update, params={"stack": stack.id, "services": services})
    if operation == "DeployStack":
        await _deploy(inner, services)
    else:
        await _restart_with_pull(inner)
    inner.ends()
    outer.update.logs += update.logs


async def _restart_with_pull(execution: Execution) -> None:
    """
    Restart after pulling, and remember what is there now as deployed: nothing of the API does the latter.
    """
    stack: Stack = execution.resource
    if stack.is_git:
        _require_host(execution.state, stack)
        if _pull(execution) is None:
            return
    await _compose(execution, COMPOSE["RestartStack"])
    remote = stack.info["remote_contents"] or []
    stack.info["deployed_contents"] = [{"path": file["path"], "contents": file["contents"]} for file in remote]


@dataclass(frozen=True)
class Compose:
    """
    A plain compose command: the flag it sets, its words, and the state that it leaves.
    """

    flag: str
    command: str
    leaves: str


COMPOSE = {
    "StartStack": Compose("starting", "start", "running"),
    "RestartStack": Compose("restarting", "restart", "running"),
    "PauseStack": Compose("pausing", "pause", "paused"),
    "UnpauseStack": Compose("unpausing", "unpause", "running"),
    "StopStack": Compose("stopping", "stop", "stopped"),
    "DestroyStack": Compose("destroying", "down", "down"),
}


async def compose_stack(execution: Execution) -> None:
    await _compose(execution, COMPOSE[execution.variant])


async def _compose(execution: Execution, what: Compose) -> None:
    state = execution.state
    stack: Stack = execution.resource
    services = read.text_list(execution.params, "services")
    if stack.config["swarm_id"] and (services or what.command != "down"):
        raise CoreError(f"Cannot {what.command} a Stack in Swarm mode")
    _require_host(state, stack)
    with stack.doing(what.flag, held_elsewhere=state.is_held(stack)):
        execution.begins()
        await state.take_time(stack.name, state.knobs.execution_seconds)
        command = f"docker compose -p {stack.project} {what.command} {' '.join(services)}".rstrip()
        stage = "Destroy Stack" if what.command == "down" else "Compose Command"
        execution.log(stage, command=command, stderr=f" Container {stack.project}  Done")
        if not services or set(services) >= set(stack.services):
            stack.state = what.leaves


async def pull_stack(execution: Execution) -> None:
    """
    Pull repository and images. The end of it clears a deploy's flag too, if one has begun meanwhile.
    """
    state = execution.state
    stack: Stack = execution.resource
    if stack.config["swarm_id"]:
        raise CoreError("Cannot pull a Stack in Swarm mode")
    _require_host(state, stack)
    with stack.doing("pulling", held_elsewhere=state.is_held(stack)):
        execution.begins()
        pulled = not stack.is_git or _pull(execution) is not None
        await state.take_time(stack.name, state.knobs.execution_seconds)
        if pulled:
            execution.log("Compose Pull", command=f"docker compose -p {stack.project} pull", stderr=" Pulled")


# Repos


async def fetch_repo(execution: Execution) -> None:
    state = execution.state
    repo: Repo = execution.resource
    server = _require_server(state, repo.config["server_id"])
    flag = {"CloneRepo": "cloning", "PullRepo": "pulling", "BuildRepo": "building"}[execution.variant]
    # Unlike a stack, a repo that pulls is busy.
    with repo.doing(flag, held_elsewhere=state.is_held(repo) or "pulling" in repo.acting):
        execution.begins()
        await state.take_time(repo.name, state.knobs.execution_seconds)
        source = Source(*(repo.config[key] for key in ("git_provider", "repo", "branch", "commit")))
        try:
            commit = state.periphery_pull(server.id, f"repos/{repo.name}", source)
        except GitFailed as failed:
            repo.failed = True
            execution.log(failed.stage, stderr=failed.message, success=False)
            return
        repo.failed, repo.hash, repo.message, repo.pulled_at = False, commit.short, commit.message, state.now_ms()
        if flag == "building":
            repo.built_hash, repo.built_at = commit.short, state.now_ms()
        _log_pull(execution, source.branch, commit)
        execution.update.commit_hash = commit.short


# Actions, builds and syncs


async def run_job(execution: Execution) -> None:
    """
    Run for the job's time. Actions never refuse: they count how many run at once.
    """
    state = execution.state
    job: Job = execution.resource
    if job.kind == "Action":
        await _work(execution, job)
        return
    with job.doing({"Build": "building", "ResourceSync": "syncing"}[job.kind], held_elsewhere=state.is_held(job)):
        await _work(execution, job)


async def _work(execution: Execution, job: Job) -> None:
    execution.begins()
    await execution.state.take_time(job.name, job.seconds or execution.state.knobs.execution_seconds)
    execution.log(f"Execute {job.kind}", stderr=job.fails, success=not job.fails)


async def send_alert(execution: Execution) -> None:
    execution.begins()
    execution.log("Send alert", stdout="Sent")
