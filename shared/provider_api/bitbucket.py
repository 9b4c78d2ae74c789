"""
Bitbucket Cloud: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-refs/.

Its pages are named in the body: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.provider_api.client import Answer, ApiClient, query_of, quoted, read_heads, sha

PAGE = {"pagelen": "100"}


class Bitbucket:
    """bitbucket.org."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def heads(self, repository: str, wanted: frozenset[str]) -> dict[str, str]:
        """The heads of these branches."""
        path = f"/repositories/{quoted(repository)}/refs/branches"
        return await read_heads(self._client, path, PAGE, wanted=wanted, parse=_branches, next_of=self._next)

    def _next(self, answer: Answer) -> Mapping[str, str] | None:
        return self._client.parsed(lambda body: query_of(body.get("next")), answer.body)


def _branches(body: Any) -> Mapping[str, str]:
    return {str(branch["name"]): sha(branch["target"]["hash"]) for branch in body["values"]}
