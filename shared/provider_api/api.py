"""What every provider's API is asked."""

from __future__ import annotations

from typing import Protocol


class ProviderApi(Protocol):
    """One provider, logged in. What it raises is what `shared/provider_api/client.py` raises."""

    async def heads(self, repository: str, wanted: frozenset[str]) -> dict[str, str]:
        """
        The commits that these branches of the repository point to, by branch; those that are not there are missing.

        `repository` is its path below the provider's host, as Komodo has it.
        """
        ...
