"""Which module speaks with which provider, and how each is logged in, as a table."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.provider_api import github
from shared.provider_api.access import ProviderAccess, ProviderName
from shared.provider_api.api import ProviderApi
from shared.provider_api.azure import Azure
from shared.provider_api.bitbucket import Bitbucket
from shared.provider_api.client import ApiClient
from shared.provider_api.gitea import Gitea
from shared.provider_api.github import GitHub
from shared.provider_api.gitlab import GitLab


@asynccontextmanager
async def opened(access: ProviderAccess) -> AsyncIterator[ProviderApi]:
    """The API of that access until the end of the block."""
    kind = _KINDS[access.kind]
    async with ApiClient.connect(access, kind.headers(access)) as client:
        yield kind.api(client)


@dataclass(frozen=True)
class _Kind:
    headers: Callable[[ProviderAccess], Mapping[str, str]]
    api: Callable[[ApiClient], ProviderApi]


def _bearer(access: ProviderAccess) -> dict[str, str]:
    return {"Authorization": f"Bearer {access.token.get_secret_value()}"}


def _basic(access: ProviderAccess) -> dict[str, str]:
    pair = f"{access.user}:{access.token.get_secret_value()}".encode()
    return {"Authorization": f"Basic {b64encode(pair).decode()}"}


def _of_github(access: ProviderAccess) -> dict[str, str]:
    return _bearer(access) | github.HEADERS


def _of_gitlab(access: ProviderAccess) -> dict[str, str]:
    return {"PRIVATE-TOKEN": access.token.get_secret_value()}


def _of_gitea(access: ProviderAccess) -> dict[str, str]:
    return {"Authorization": f"token {access.token.get_secret_value()}"}


def _of_bitbucket(access: ProviderAccess) -> dict[str, str]:
    # An access token stands alone, an API token belongs to a user.
    return _basic(access) if access.user else _bearer(access)


_KINDS: dict[ProviderName, _Kind] = {
    "github": _Kind(_of_github, GitHub),
    "gitlab": _Kind(_of_gitlab, GitLab),
    "gitea": _Kind(_of_gitea, Gitea),
    "forgejo": _Kind(_of_gitea, Gitea),
    "bitbucket": _Kind(_of_bitbucket, Bitbucket),
    "azure": _Kind(_basic, Azure),
}
