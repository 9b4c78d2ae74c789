"""
GitHub: https://docs.github.com/rest/branches/branches and https://docs.github.com/rest/repos/webhooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.provider_api.client import ApiClient, quoted, read_heads, sha

PAGE = {"per_page": "100"}
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


@dataclass(frozen=True)
class Hook:
    """One webhook of a repository, and where it sends to."""

    id: int
    url: str


@dataclass(frozen=True)
class Attempt:
    """One try of GitHub's to deliver; `guid` is the same for every try of one delivery. `status_code` is 0 when nothing answered."""

    id: int
    guid: str
    event: str
    status_code: int
    delivered_at: datetime


class GitHub:
    """github.com, or a GitHub Enterprise Server."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def heads(self, repository: str, wanted: frozenset[str]) -> dict[str, str]:
        """The heads of these branches."""
        path = f"/repos/{quoted(repository)}/branches"
        return await read_heads(self._client, path, PAGE, wanted=wanted, parse=_branches)

    async def hooks(self, repository: str) -> list[Hook]:
        """The repository's webhooks that are switched on."""
        path = f"/repos/{quoted(repository)}/hooks"
        pages = self._client.pages(path, PAGE)
        return [hook async for page in pages for hook in self._client.parsed(_hooks, page.body)]

    async def attempts(self, repository: str, hook: Hook, *, since: datetime) -> list[Attempt]:
        """What GitHub has tried to deliver since then, newest first."""
        path = f"/repos/{quoted(repository)}/hooks/{hook.id}/deliveries"
        found: list[Attempt] = []
        async with aclosing(self._client.pages(path, PAGE)) as pages:
            async for page in pages:
                listed = self._client.parsed(_attempts, page.body)
                found += [attempt for attempt in listed if attempt.delivered_at >= since]
                if any(attempt.delivered_at < since for attempt in listed):
                    break
        return found

    async def redeliver(self, repository: str, hook: Hook, attempt: Attempt) -> None:
        """Have GitHub send it again, under the id that it had."""
        await self._client.post(f"/repos/{quoted(repository)}/hooks/{hook.id}/deliveries/{attempt.id}/attempts")


def _branches(body: Any) -> Mapping[str, str]:
    return {str(branch["name"]): sha(branch["commit"]["sha"]) for branch in body}


def _hooks(body: Any) -> list[Hook]:
    return [Hook(int(hook["id"]), str(hook["config"].get("url") or "")) for hook in body if hook["active"]]


def _attempts(body: Any) -> list[Attempt]:
    return [
        Attempt(
            id=int(one["id"]),
            guid=str(one["guid"]),
            event=str(one["event"]),
            status_code=int(one["status_code"] or 0),
            delivered_at=_instant(one["delivered_at"]),
        )
        for one in body
    ]


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant without a zone")
    return instant
