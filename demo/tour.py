"""
The first README command: the whole service against a simulated Komodo Core, one signed push, and what became of it.

`--check` leaves again and exits 0 only when exactly the right stacks were deployed, at the pushed commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from demo import processes, sender
from demo.core.faults import Knobs
from demo.core.git import Commit
from demo.core.serve import Core, serving
from demo.core.world import World
from demo.processes import Service

WORLD = Path(__file__).parent / "world.toml"
REPO, BRANCH = "acme/infra", "main"
PUSHED: Mapping[str, str | None] = {
    "stacks/web/compose.yaml": (
        "services:\n  app:\n    image: ghcr.io/acme/web:1.5\n  assets:\n    image: ghcr.io/acme/assets:1.0\n"
    ),
    "stacks/monitoring/prometheus.yml": "scrape_configs: [{ job_name: node }]\n",
    "stacks/legacy/compose.yaml": "services:\n  legacy:\n    image: ghcr.io/acme/legacy:1.0\n",
    "stacks/billing/compose.yaml": "services:\n  billing:\n    image: ghcr.io/acme/billing:4.2\n",
    "README.md": "# Infrastructure, documented\n",
}
DEPLOYED = frozenset({"web", "monitoring"})
LEFT_ALONE = {
    "legacy": "it is stopped",
    "billing": "it is pinned to a commit",
    "api": "nothing of it was touched",
    "web-staging": "it follows another branch",
}
FOLLOW_SECONDS = 60.0
INTERRUPTED = 130

out = Console(highlight=False)


@dataclass(frozen=True)
class Stage:
    """Everything that runs, and what a visitor needs to use it."""

    core: Core
    services: dict[str, Service]
    webhook_secret: str
    api_token: str

    @property
    def listener(self) -> str:
        """Where the push goes."""
        return f"{self.services['ingress'].url}/listener/github/global"

    @property
    def console(self) -> str:
        """Where its result can be asked for."""
        return self.services["console"].url


def main() -> int:
    """Run the tour; the exit code is that of the check."""
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="do not stay, and fail unless all went as it should")
    arguments = parser.parse_args()
    try:
        with asyncio.Runner() as runner:
            return runner.run(_tour(stays=not arguments.check))
    except processes.NotReady as error:
        out.print(f"[red]{error}[/red]")
        return 1


async def _tour(*, stays: bool) -> int:
    touring = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, touring.cancel if touring else loop.stop)
    try:
        with tempfile.TemporaryDirectory(prefix="kgw-demo-") as folder:
            async with _stage(Path(folder)) as stage:
                out.print(
                    "\n[bold]A push to acme/infra[/bold]: web and monitoring change, so do three that must not move\n"
                )
                async with asyncio.timeout(FOLLOW_SECONDS):
                    commit = await _push_and_follow(stage)
                is_right = await _judge(stage, commit)
                if stays:
                    _invite(stage)
                    await loop.create_future()
    except asyncio.CancelledError:
        out.print("\nstopped")
        return INTERRUPTED
    return 0 if is_right else 1


@asynccontextmanager
async def _stage(folder: Path) -> AsyncIterator[Stage]:
    webhook_secret, api_token = secrets.token_hex(16), secrets.token_hex(16)
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(serving(World.load(WORLD), Knobs(deploy_seconds=1.0)))
        out.print(f"[dim]simulated Komodo Core[/dim] {core.url}")
        environment = {
            "KGW_AMQP_URL": os.environ["KGW_AMQP_URL"],
            "KGW_AMQP_PREFIX": f"demo-{secrets.token_hex(4)}.",
            "KGW_DATABASE_URL": f"sqlite:///{folder / 'kgw.db'}",
            "KOMODO_ADDRESS": core.url,
            "KOMODO_API_KEY": core.key,
            "KOMODO_API_SECRET": core.secret,
            "KOMODO_WEBHOOK_SECRET": webhook_secret,
            "KGW_API_TOKEN": api_token,
        }
        services = await stack.enter_async_context(processes.all_of_it(environment, folder, workers=2))
        for service in services.values():
            out.print(f"[dim]{service.name:<21}[/dim] {service.url}")
        yield Stage(core, services, webhook_secret, api_token)


async def _push_and_follow(stage: Stage) -> Commit:
    before = stage.core.state.git.find("github.com", REPO).head(BRANCH)
    commit = stage.core.state.push(repo=REPO, branch=BRANCH, files=PUSHED, message="web 1.5, scrape the nodes")
    body = sender.push_body(REPO, BRANCH, commit, before.sha)
    async with httpx.AsyncClient(timeout=FOLLOW_SECONDS) as client:
        answer = await client.post(
            stage.listener, content=body, headers=sender.signed_headers(body, stage.webhook_secret)
        )
        out.print(f"[bold]{answer.status_code}[/bold] {answer.text}\n")
        answer.raise_for_status()
        await _follow(client, stage, answer.json()["delivery"])
    return commit


async def _follow(client: httpx.AsyncClient, stage: Stage, delivery: str) -> None:
    url = f"{stage.console}/api/v1/deliveries/{delivery}/events"
    async with client.stream("GET", url, headers={"Authorization": f"Bearer {stage.api_token}"}) as stream:
        stream.raise_for_status()
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                _show(json.loads(line.removeprefix("data:")))


def _show(event: dict[str, Any]) -> None:
    kind = event["type"].removeprefix("komodo.webhook.")
    data = event["data"]
    about = " ".join(str(data[key]) for key in ("resource", "name") if data.get(key))
    outcome = data.get("outcome") or {}
    detail = data.get("reason") or outcome.get("reason") or ""
    if outcome.get("deployed_hash"):
        detail = f"at {outcome['deployed_hash']}: {detail}"
    colour = "green" if kind.endswith("succeeded") else "red" if kind.endswith("failed") else "cyan"
    out.print(f"  [dim]{event['time'][11:23]}[/dim] [{colour}]{kind:<20}[/{colour}] {about:<14} {detail}")


async def _judge(stage: Stage, commit: Commit) -> bool:
    """Ask the simulated Core itself, not the service, what was deployed and from which commit."""
    deploys = list(stage.core.history.deploys)
    names = sorted(deploy.stack for deploy in deploys)
    out.print()
    for deploy in deploys:
        out.print(f"  Komodo deployed [bold]{deploy.stack}[/bold] from {(deploy.sha or '-')[:7]}")
    for name, reason in LEFT_ALONE.items():
        if name not in names:
            out.print(f"  [dim]Komodo left {name} alone: {reason}[/dim]")
    is_right = names == sorted(DEPLOYED) and all(deploy.sha == commit.sha for deploy in deploys)
    wanted = f"{' and '.join(sorted(DEPLOYED))} at {commit.sha[:7]}, once each"
    out.print(
        f"\n  [green]as it should be[/green]: {wanted}" if is_right else f"\n  [red]wrong[/red]: expected {wanted}"
    )
    return is_right


def _invite(stage: Stage) -> None:
    out.print(
        f"""
[bold]It is all yours until Ctrl-C.[/bold]
  webhook URL     {stage.listener}
  webhook secret  {stage.webhook_secret}
  status API      {stage.console}/api/v1/deliveries   (openapi: {stage.console}/openapi.json)
  API token       {stage.api_token}
  Komodo Core     {stage.core.url}   (simulated; key {stage.core.key})
  RabbitMQ        {os.environ["KGW_AMQP_URL"]}
"""
    )


if __name__ == "__main__":
    sys.exit(main())
