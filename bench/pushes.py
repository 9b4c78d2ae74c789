"""Signed GitHub pushes as the load generator takes them, of the size that real ones have."""

from __future__ import annotations

import json
from typing import Any

from bench.load import Request
from demo.core.git import Commit
from demo.sender import push_body, signed_headers

PUSH_BYTES = 8 * 1024

GLOBAL_PATH = "/listener/github/global"

_DELIVERY = "X-GitHub-Delivery"
_REPOSITORY_URLS = (
    *("forks", "keys", "collaborators", "teams", "hooks", "issue_events", "events", "assignees", "branches", "tags"),
    *("blobs", "git_tags", "git_refs", "trees", "statuses", "languages", "stargazers", "contributors", "subscribers"),
    *("subscription", "commits", "git_commits", "comments", "issue_comment", "contents", "compare", "merges"),
    *("archive", "downloads", "issues", "pulls", "milestones", "notifications", "labels", "releases", "deployments"),
)
_PERSON_URLS = (
    "followers",
    "following",
    "gists",
    "starred",
    "subscriptions",
    "organizations",
    "repos",
    "received_events",
)


def request(repo: str, commit: Commit, before: str, secret: str, *, path: str = GLOBAL_PATH) -> Request:
    """The push of `commit` to the repository's branch main, signed, about `PUSH_BYTES` long."""
    body = _of_size(json.loads(push_body(repo, "main", commit, before)), PUSH_BYTES)
    headers = signed_headers(body, secret)
    del headers[_DELIVERY]
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return Request("\r\n".join(lines), body.decode())


def some_commit(number: int) -> Commit:
    """A commit of no repository that the simulated Core knows."""
    return Commit.on(None, {"README.md": f"version {number}\n"}, f"Version {number}")


def _of_size(push: dict[str, Any], size: int) -> bytes:
    """
    With the URLs that GitHub lists and as many earlier commits as fit, each as long as GitHub writes one.

    See https://docs.github.com/webhooks/webhook-events-and-payloads#push.
    """
    repository, head = push["repository"], push["commits"][-1]
    api = "https://api.github.com"
    person = {f"{name}_url": f"{api}/users/ada/{name}" for name in _PERSON_URLS}
    repository |= {f"{name}_url": f"{api}/repos/{repository['full_name']}/{name}" for name in _REPOSITORY_URLS}
    repository["owner"] |= person
    push["sender"] |= person
    head |= _details(repository, head["id"])
    push["head_commit"] = head
    earlier = 0
    while len(body := json.dumps(push).encode()) < size:
        earlier += 1
        path = f"notes/{earlier:03}.md"
        push["commits"].insert(0, {**head, "message": f"Note {earlier}", "added": [path], "modified": []})
    return body


def _details(repository: dict[str, Any], sha: str) -> dict[str, Any]:
    person = {"name": "Ada", "email": "ada@users.noreply.github.com", "username": "ada", "date": "2025-01-01T12:00:00Z"}
    return {
        "tree_id": sha,
        "distinct": True,
        "timestamp": "2025-01-01T12:00:00+01:00",
        "url": f"{repository['html_url']}/commit/{sha}",
        "author": person,
        "committer": person,
    }
