"""The simulated Core in a process of its own, with a world made to measure and no latency: what remains is what the worker costs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import tomlkit

from demo.core.git import Commit
from demo.core.ids import world_id
from demo.core.world import SERVICE_USER, compose_file
from demo.processes import END_SECONDS, ROOT, NotReady, end, free_port

READY_SECONDS = 30.0

KEY: str = SERVICE_USER["key"]
SECRET: str = SERVICE_USER["secret"]


@dataclass(frozen=True)
class Repo:
    """A repository of the generated world, and the stacks that live in it, each in a folder of its own."""

    name: str
    stacks: tuple[str, ...]


@dataclass(frozen=True)
class Pushed:
    """A push that the simulated Git provider has taken: every stack of the repository is changed by it."""

    repo: Repo
    commit: Commit
    before: str


@dataclass(frozen=True)
class SimulatedCore:
    """A running simulated Core."""

    url: str
    process: asyncio.subprocess.Process
    http: httpx.AsyncClient

    async def push(self, repo: Repo, version: str) -> Pushed:
        """Change the compose file of every stack in the repository."""
        files = {f"{stack}/compose.yaml": compose_file(stack, version) for stack in repo.stacks}
        message = f"Version {version}"
        made = await self._sim("POST", "push", {"repo": repo.name, "files": files, "message": message})
        commit = Commit(made["sha"], tuple(made["parents"]), message, (), tuple(made["modified"]), (), {})
        return Pushed(repo, commit, commit.parents[0])

    async def refreshes(self) -> list[tuple[str, int]]:
        """Every `RefreshStackCache` so far: the stack's id and when the request arrived, in unix milliseconds."""
        history = await self._sim("GET", "history")
        return [
            (request["resource"], request["at_ms"])
            for request in history["requests"]
            if (request["area"], request["variant"]) == ("write", "RefreshStackCache")
        ]

    async def _sim(self, method: str, name: str, document: dict[str, Any] | None = None) -> Any:
        answer = await self.http.request(method, f"{self.url}/_sim/{name}", json=document)
        answer.raise_for_status()
        return answer.json()


def stack_id(name: str) -> str:
    """The id that the simulated Core gives to the stack."""
    return world_id("Stack", name)


def repos(count: int, *, stacks_each: int) -> list[Repo]:
    """The repositories of a generated world."""
    return [
        Repo(f"bench/repo-{number:04}", tuple(f"stack-{number:04}-{letter}" for letter in range(stacks_each)))
        for number in range(count)
    ]


def world(of: Sequence[Repo]) -> dict[str, Any]:
    """A world file's contents: one server, these repositories, their stacks deployed."""
    return {
        "user": [SERVICE_USER],
        "server": [{"name": "bench"}],
        "git": [
            {
                "repo": repo.name,
                "commits": [{"files": {f"{stack}/compose.yaml": compose_file(stack) for stack in repo.stacks}}],
            }
            for repo in of
        ],
        "stack": [
            {"name": stack, "config": {"server": "bench", "repo": repo.name, "run_directory": stack}}
            for repo in of
            for stack in repo.stacks
        ],
    }


@asynccontextmanager
async def simulated_core(of: Sequence[Repo], folder: Path) -> AsyncIterator[SimulatedCore]:
    """A simulated Core with these repositories until the end of the block; its Git checkouts are never out of date."""
    file, port = folder / "world.toml", free_port()
    file.write_text(tomlkit.dumps(world(of)))
    with (folder / "core.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "demo.core", "--world", str(file), "--port", str(port), "--control"),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        async with httpx.AsyncClient(timeout=END_SECONDS, trust_env=False) as http:
            core = SimulatedCore(f"http://127.0.0.1:{port}", process, http)
            await _until_ready(core, folder / "core.log")
            (await http.post(f"{core.url}/_sim/knobs", json={"pull_cache_seconds": 0.0})).raise_for_status()
            yield core
    finally:
        await end(process)


async def _until_ready(core: SimulatedCore, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while asyncio.get_running_loop().time() < deadline and core.process.returncode is None:
        try:
            if (await core.http.get(f"{core.url}/version")).is_success:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)
    raise NotReady(f"the simulated Core did not become ready:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-500:]
