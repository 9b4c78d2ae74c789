"""What Komodo v2.3 answers, in its shapes and with everything that it sends, for the tests that parse it."""

from __future__ import annotations

import copy
from typing import Any

STACK_ID = "67076689ed600cfdd52ac637"
TAG_ID = "66c7f0a1d2b3c4d5e6f70811"
UPDATE_ID = "68a0c7f0a1d2b3c4d5e6f708"
RED = '<span style="color: var(--mantine-color-red-6)">ERROR</span>'

_LIST_ITEM: dict[str, Any] = {
    "id": STACK_ID,
    "type": "Stack",
    "name": "web-prod",
    "template": False,
    "tags": [TAG_ID],
    "info": {
        "swarm_id": "",
        "swarm_name": "",
        "server_id": "66113df3abe32960b87018dd",
        "server_name": "prod-1",
        "files_on_host": False,
        "file_contents": False,
        "linked_repo": "",
        "linked_repo_name": "",
        "git_provider": "github.com",
        "repo": "acme/infra",
        "branch": "main",
        "repo_link": "https://github.com/acme/infra/tree/main",
        "state": "running",
        "status": "running(2)",
        "services": [
            {"service": "app", "image": "ghcr.io/acme/app:1.4", "latest_image": None, "update_available": False}
        ],
        "project_missing": False,
        "missing_files": [],
        "deployed_hash": "a1b2c3d",
        "latest_hash": "a1b2c3d",
    },
}

_FULL_STACK: dict[str, Any] = {
    "_id": {"$oid": STACK_ID},
    "name": "web-prod",
    "description": "",
    "template": False,
    "tags": [TAG_ID],
    "info": {
        "missing_files": [],
        "deployed_project_name": "web-prod",
        "deployed_hash": "a1b2c3d",
        "deployed_message": "bump app",
        "deployed_contents": [{"path": "compose.yaml", "contents": "services: {}"}],
        "deployed_services": [],
        "deployed_config": "name: web-prod",
        "latest_services": [],
        "remote_contents": [
            {"path": "compose.yaml", "contents": "services: {}", "services": [], "requires": "Redeploy"}
        ],
        "remote_errors": [],
        "latest_hash": "a1b2c3d",
        "latest_message": "bump app",
    },
    "config": {
        "swarm_id": "",
        "server_id": "66113df3abe32960b87018dd",
        "linked_repo": "",
        "git_provider": "github.com",
        "repo": "acme/infra",
        "branch": "main",
        "commit": "",
        "webhook_enabled": True,
        "webhook_secret": "a secret of this stack",
        "webhook_force_deploy": False,
        "files_on_host": False,
        "run_directory": "stacks/web",
        "file_paths": ["compose.yaml"],
        "env_file_path": ".env",
        "additional_env_files": [{"path": "prod.env", "track": True}, {"path": "local.env", "track": False}],
        "config_files": [{"path": "config/app.yml", "services": ["app"], "requires": "Restart"}, {"path": "notes.md"}],
        "file_contents": "",
        "environment": "PASSWORD=hunter2",
    },
    "base_permission": "None",
    "updated_at": 1786400000000,
}


def list_item(*, name: str = "web-prod", template: bool = False, **info: Any) -> dict[str, Any]:
    """An item of `ListStacks`, with these fields of its `info` replaced."""
    item = copy.deepcopy(_LIST_ITEM) | {"name": name, "template": template}
    item["info"].update(info)
    return item


def full_stack(*, info: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """What `GetStack` answers and `ListFullStacks` lists, with these fields of its `config` and `info` replaced."""
    stack = copy.deepcopy(_FULL_STACK)
    stack["config"].update(config)
    stack["info"].update(info or {})
    return stack


def file(path: str, contents: str, requires: str | None = None, *services: str) -> dict[str, Any]:
    """A file with its contents; a deployed one has no more than these two."""
    more = {} if requires is None else {"requires": requires, "services": list(services)}
    return {"path": path, "contents": contents, **more}


def log(stage: str, *, stdout: str = "", stderr: str = "", success: bool = True) -> dict[str, Any]:
    """A log of an update."""
    return {
        "stage": stage,
        "command": "docker compose",
        "stdout": stdout,
        "stderr": stderr,
        "success": success,
        "start_ts": 0,
        "end_ts": 0,
    }


def update(*logs: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    """A complete update of a deploy, successful when its logs are."""
    return {
        "_id": {"$oid": UPDATE_ID},
        "operation": "DeployStack",
        "start_ts": 1786400000000,
        "success": all(entry["success"] for entry in logs),
        "operator": "66aac7f0a1d2b3c4d5e6f708",
        "target": {"type": "Stack", "id": STACK_ID},
        "logs": list(logs),
        "end_ts": 1786400009000,
        "status": "Complete",
    } | overrides
