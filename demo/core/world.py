"""
The world file: what stands in the simulated Komodo and at its Git providers when it starts.

The resources are spelled as in Komodo's own TOML (`[[stack]]` with `[stack.config]`, references by name), beside
`[[git]]` for the repositories and `[[user]]` for who may log in. Everything is checked when the file is read.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Level = Literal["None", "Read", "Execute", "Write"]
Kind = Literal["Stack", "Server", "Swarm", "Repo", "Procedure", "Action", "Build", "ResourceSync"]
Requires = Literal["Redeploy", "Restart", "None"]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GitCommit(Model):
    """
    Files are written; the paths in `removed` are deleted. A `tag` names the commit.
    """

    message: str = "initial commit"
    files: dict[str, str] = Field(default_factory=dict)
    removed: list[str] = Field(default_factory=list)
    tag: str = ""


class Git(Model):
    """
    A repository; each commit stands on the one before, and all branches begin at the last.
    """

    provider: str = "github.com"
    repo: str
    branches: list[str] = Field(default_factory=lambda: ["main"], min_length=1)
    commits: list[GitCommit] = Field(min_length=1)


class Grant(Model):
    kind: Kind
    name: str
    level: Level


class User(Model):
    username: str
    key: str
    secret: str
    admin: bool = False
    enabled: bool = True
    expires: int = 0
    all: dict[Kind, Level] = Field(default_factory=dict)
    permissions: list[Grant] = Field(default_factory=list)


class Tag(Model):
    name: str
    color: str = "Slate"


class Resource(Model):
    name: str
    description: str = ""
    template: bool = False
    tags: list[str] = Field(default_factory=list)
    base_permission: Level = "None"


class Server(Resource):
    state: Literal["Ok", "NotOk", "Disabled"] = "Ok"
    region: str = ""


class Swarm(Resource):
    pass


class EnvFile(Model):
    path: str
    track: bool = True


class ConfigFile(Model):
    path: str
    services: list[str] = Field(default_factory=list)
    requires: Requires = "None"


class Command(Model):
    path: str = ""
    command: str = ""
    shell_mode: bool = False


class StackConfig(Model):
    """
    Komodo's stack config with its defaults. Server, swarm and linked repo are names here and ids on the wire.
    """

    swarm_id: str = ""
    server_id: str = ""
    links: list[str] = Field(default_factory=list)
    project_name: str = ""
    auto_pull: bool = True
    run_build: bool = False
    poll_for_updates: bool = False
    auto_update: bool = False
    auto_update_all_services: bool = False
    auto_update_skip_services: list[str] = Field(default_factory=list)
    destroy_before_deploy: bool = False
    skip_secret_interp: bool = False
    linked_repo: str = ""
    git_provider: str = "github.com"
    git_https: bool = True
    git_account: str = ""
    repo: str = ""
    branch: str = "main"
    commit: str = ""
    clone_path: str = ""
    reclone: bool = False
    webhook_enabled: bool = True
    webhook_secret: str = ""
    webhook_force_deploy: bool = False
    files_on_host: bool = False
    run_directory: str = ""
    file_paths: list[str] = Field(default_factory=list)
    env_file_path: str = ".env"
    additional_env_files: list[EnvFile] = Field(default_factory=list)
    config_files: list[ConfigFile] = Field(default_factory=list)
    send_alerts: bool = True
    registry_provider: str = ""
    registry_account: str = ""
    pre_deploy: Command = Field(default_factory=Command)
    post_deploy: Command = Field(default_factory=Command)
    extra_args: list[str] = Field(default_factory=list)
    build_extra_args: list[str] = Field(default_factory=list)
    compose_cmd_wrapper: str = ""
    compose_cmd_wrapper_include: list[str] = Field(default_factory=list)
    ignore_services: list[str] = Field(default_factory=list)
    file_contents: str = ""
    environment: str = ""

    @model_validator(mode="before")
    @classmethod
    def _komodo_spelling(cls, data: Any) -> Any:
        """
        Accept `server` and `swarm` for the two ids and plain paths as env files, as Komodo's TOML does.
        """
        if not isinstance(data, dict):
            return data
        renamed = {{"server": "server_id", "swarm": "swarm_id"}.get(key, key): value for key, value in data.items()}
        if "additional_env_files" in renamed:
            renamed["additional_env_files"] = [
                {"path": entry} if isinstance(entry, str) else entry for entry in renamed["additional_env_files"]
            ]
        return renamed


StackState = Literal["running", "paused", "stopped", "created", "restarting", "dead", "down", "unhealthy", "unknown"]


class Stack(Resource):
    """
    `deployed` says whether Komodo has deployed it once, from what the repository holds at the start. `host_files`
    are the files on its server, by path relative to the run directory.
    """

    config: StackConfig = Field(default_factory=StackConfig)
    deployed: bool = True
    state: StackState = "running"
    update_available: bool = False
    host_files: dict[str, str] = Field(default_factory=dict)


class RepoConfig(Model):
    server_id: str = ""
    builder_id: str = ""
    git_provider: str = "github.com"
    git_https: bool = True
    git_account: str = ""
    repo: str = ""
    branch: str = "main"
    commit: str = ""
    path: str = ""
    webhook_enabled: bool = True
    webhook_secret: str = ""
    on_clone: Command = Field(default_factory=Command)
    on_pull: Command = Field(default_factory=Command)
    links: list[str] = Field(default_factory=list)
    environment: str = ""
    env_file_path: str = ".env"
    skip_secret_interp: bool = False

    @model_validator(mode="before")
    @classmethod
    def _komodo_spelling(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {("server_id" if key == "server" else key): value for key, value in data.items()}


class Repo(Resource):
    config: RepoConfig = Field(default_factory=RepoConfig)


class ExecutionEntry(Model):
    type: str
    params: dict[str, Any] = Field(default_factory=dict)


class StageEntry(Model):
    execution: ExecutionEntry
    enabled: bool = True


class Stage(Model):
    name: str = ""
    enabled: bool = True
    executions: list[StageEntry] = Field(default_factory=list)


class ProcedureConfig(Model):
    stages: list[Stage] = Field(default_factory=list)
    schedule_format: Literal["English", "Cron"] = "English"
    schedule: str = ""
    schedule_enabled: bool = True
    schedule_timezone: str = ""
    schedule_alert: bool = True
    failure_alert: bool = True
    webhook_enabled: bool = True
    webhook_secret: str = ""

    @model_validator(mode="before")
    @classmethod
    def _komodo_spelling(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {("stages" if key == "stage" else key): value for key, value in data.items()}


class Procedure(Resource):
    config: ProcedureConfig = Field(default_factory=ProcedureConfig)


class Job(Resource):
    """
    An Action, Build or ResourceSync: it takes a time and, with `fails`, ends with that text on stderr.
    """

    seconds: float = 0.0
    fails: str = ""


class CoreConfig(Model):
    title: str = "Komodo"
    host: str = "http://127.0.0.1:9120"
    version: str = "2.3.2"
    transparent_mode: bool = False
    monitoring_interval: str = "15-sec"
    default_pagination_limit: int = Field(default=50, ge=1)


class World(Model):
    core: CoreConfig = Field(default_factory=CoreConfig)
    user: list[User] = Field(min_length=1)
    tag: list[Tag] = Field(default_factory=list)
    git: list[Git] = Field(default_factory=list)
    server: list[Server] = Field(default_factory=list)
    swarm: list[Swarm] = Field(default_factory=list)
    repo: list[Repo] = Field(default_factory=list)
    stack: list[Stack] = Field(default_factory=list)
    procedure: list[Procedure] = Field(default_factory=list)
    action: list[Job] = Field(default_factory=list)
    build: list[Job] = Field(default_factory=list)
    resource_sync: list[Job] = Field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Self:
        """
        Read a world file. Raises OSError, tomllib.TOMLDecodeError or pydantic.ValidationError.
        """
        return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def monorepo(cls, *names: str, repo: str = "acme/infra", server: str = "prod-1") -> Self:
        """
        Make a world of deployed one-service stacks in the folders `stacks/<name>` of one repository.

        Its first user is `kgw` with Execute on stacks and procedures, its second is `admin`.
        """
        files = {f"stacks/{name}/compose.yaml": compose_file(name) for name in names}
        config = {"server": server, "repo": repo}
        return cls.model_validate(
            {
                "user": [SERVICE_USER, ADMIN_USER],
                "server": [{"name": server}],
                "git": [{"repo": repo, "commits": [{"files": {"README.md": "infrastructure\n", **files}}]}],
                "stack": [{"name": n, "config": {**config, "run_directory": f"stacks/{n}"}} for n in names],
            }
        )


SERVICE_USER: dict[str, Any] = {
    "username": "kgw",
    "key": "K_demo0service0user0key00000000000000000000_K",
    "secret": "S_demo0service0user0secret00000000000000000_S",
    "all": {"Stack": "Execute", "Procedure": "Execute", "Server": "Read", "Repo": "Read"},
}
ADMIN_USER: dict[str, Any] = {
    "username": "admin",
    "key": "K_demo0admin0key00000000000000000000000000_K",
    "secret": "S_demo0admin0secret0000000000000000000000_S",
    "admin": True,
}


def compose_file(name: str, version: str = "1.0") -> str:
    """
    Write a compose file with the one service `app`.
    """
    return f"services:\n  app:\n    image: ghcr.io/acme/{name}:{version}\n"
