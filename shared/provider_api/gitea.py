"""Gitea and Forgejo: `GET /repos/{owner}/{repo}/branches` of their `/api/swagger`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.provider_api.client import ApiClient, quoted, read_heads, sha

# More than MAX_RESPONSE_ITEMS, 50 by default, is not given.
PAGE = {"limit": "50"}


class Gitea:
    """A Gitea or a Forgejo, Codeberg among them."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def heads(self, repository: str, wanted: frozenset[str]) -> dict[str, str]:
        """The heads of these branches."""
        path = f"/repos/{quoted(repository)}/branches"
        return await read_heads(self._client, path, PAGE, wanted=wanted, parse=_branches)


def _branches(body: Any) -> Mapping[str, str]:
    return {str(branch["name"]): sha(branch["commit"]["id"]) for branch in body}
