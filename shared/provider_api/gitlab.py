"""GitLab: https://docs.gitlab.com/api/branches/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from shared.provider_api.client import ApiClient, read_heads, sha


class GitLab:
    """gitlab.com, or a GitLab of one's own."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def heads(self, repository: str, wanted: frozenset[str]) -> dict[str, str]:
        """The heads of these branches. A project's path, groups included, is one quoted segment."""
        path = f"/projects/{quote(repository, safe='')}/repository/branches"
        return await read_heads(self._client, path, {"per_page": "100"}, wanted=wanted, parse=_branches)


def _branches(body: Any) -> Mapping[str, str]:
    return {str(branch["name"]): sha(branch["commit"]["id"]) for branch in body}
