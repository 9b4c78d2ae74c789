"""The console's application without a server, on a store that does what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import httpx
from pydantic import SecretStr

from console import auth
from console.app import application
from console.context import Context
from console.follow import Following
from shared.settings import ConsoleSettings
from shared.store.engine import Connection, Store

TOKEN = "Zy0Qn4f2ReZcJq1rQ9mSTu7bXw5vKd8L"


class FailingStore:
    """Every read ends with the same error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Raises."""
        raise self.error
        yield


def settings_with(**values: object) -> ConsoleSettings:
    """Settings of a console whose token is `TOKEN`."""
    return ConsoleSettings.model_validate({"api_token": SecretStr(TOKEN), **values})


def client_of(store: Store | FailingStore, settings: ConsoleSettings, **headers: str) -> httpx.AsyncClient:
    """Asks the application directly; a defect is answered, as a server does, and not raised into the test."""
    app = application(Context(cast(Store, store), Following()), auth.guard(settings))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://console", headers=headers)
