"""
What DeployStackIfChanged decides from the files that were deployed and those that are there now. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from demo.core.resources import Json


@dataclass(frozen=True)
class Plan:
    """
    Deploy all, or deploy and restart some services. `restart_all` means those that are not deployed.
    """

    full: bool = False
    deploy: tuple[str, ...] = ()
    restart_all: bool = False
    restart: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.full or self.deploy or self.restart_all or self.restart)


FULL = Plan(full=True)


def plan(deployed: list[Json] | None, remote: list[Json] | None) -> Plan:
    """
    Compare as Komodo does: never deployed is a full deploy, no remote files (UI defined, failed fetch) is no change,
    and files that are gone from the list are not noticed.
    """
    if deployed is None:
        return FULL
    known = {file["path"]: file["contents"] for file in deployed}
    deploy: dict[str, None] = {}
    restart: dict[str, None] = {}
    restart_all = False
    for file in remote or []:
        if file["path"] not in known:
            return FULL
        if known[file["path"]] == file["contents"]:
            continue
        match file["requires"], file["services"]:
            case "Redeploy", []:
                return FULL
            case "Redeploy", services:
                deploy |= dict.fromkeys(services)
            case "Restart", []:
                restart_all = True
            case "Restart", services:
                restart |= dict.fromkeys(services)
    return Plan(
        deploy=tuple(deploy),
        restart_all=restart_all,
        restart=tuple(service for service in restart if service not in deploy),
    )
