"""Azure DevOps: https://learn.microsoft.com/rest/api/azure/devops/git/refs/list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import Permanent
from shared.provider_api.client import Answer, ApiClient, quoted, read_heads, sha

PAGE = {"filter": "heads/", "$top": "1000", "api-version": "7.1"}

_HEADS = "refs/heads/"


class Azure:
    """dev.azure.com."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def heads(self, repository: str, wanted: frozenset[str]) -> dict[str, str]:
        """The heads of these branches of `organization/project/repository`."""
        parts = repository.split("/")
        if len(parts) != 3:
            raise Permanent("an Azure repository is organization/project/repository")
        path = f"/{quoted('/'.join(parts[:2]))}/_apis/git/repositories/{quoted(parts[2])}/refs"
        return await read_heads(self._client, path, PAGE, wanted=wanted, parse=_branches, next_of=_next)


def _next(answer: Answer) -> Mapping[str, str] | None:
    token = answer.headers.get("x-ms-continuationtoken")
    return {**PAGE, "continuationToken": token} if token else None


def _branches(body: Any) -> Mapping[str, str]:
    return {
        ref["name"].removeprefix(_HEADS): sha(ref["objectId"])
        for ref in body["value"]
        if ref["name"].startswith(_HEADS)
    }
