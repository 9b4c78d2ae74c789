"""
A Git provider in small: builds the body of a GitHub push and signs it by its own few lines, so that a wrong `ingress.providers.signing` would not
agree with itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from uuid import uuid4

from demo.core.git import Commit


def push_body(repo: str, branch: str, commit: Commit, before: str) -> bytes:
    """The JSON of a push of one commit, with the fields that GitHub sends and this service reads."""
    listed = {
        "id": commit.sha,
        "message": commit.message,
        "author": {"name": "Ada", "username": "ada"},
        "added": list(commit.added),
        "modified": list(commit.modified),
        "removed": list(commit.removed),
    }
    owner, name = repo.split("/")
    body: dict[str, Any] = {
        "ref": f"refs/heads/{branch}",
        "before": before,
        "after": commit.sha,
        "created": False,
        "deleted": False,
        "forced": False,
        "commits": [listed],
        "head_commit": listed,
        "repository": {
            "id": 1,
            "name": name,
            "full_name": repo,
            "owner": {"login": owner},
            "clone_url": f"https://github.com/{repo}.git",
            "ssh_url": f"git@github.com:{repo}.git",
            "html_url": f"https://github.com/{repo}",
            "default_branch": "main",
        },
        "pusher": {"name": "ada"},
        "sender": {"login": "ada"},
    }
    return json.dumps(body).encode()


def signed_headers(body: bytes, secret: str, *, event: str = "push", delivery: str | None = None) -> dict[str, str]:
    """GitHub's headers for the body (docs.github.com, "Validating webhook deliveries")."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/demo",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery or str(uuid4()),
        "X-Hub-Signature-256": f"sha256={digest}",
    }
