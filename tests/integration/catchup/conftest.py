"""A service and a GitHub whose API knows the repository of its stacks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.catchup.providers import Provider, served


@pytest.fixture
async def github() -> AsyncIterator[Provider]:
    """A GitHub without branches."""
    async with served(Provider("github", repositories={"acme/infra": {}})) as provider:
        yield provider
