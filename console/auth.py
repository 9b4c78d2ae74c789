"""Who may ask: whoever has the API token. Without a token the console is for this machine alone."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import HTTPException, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from shared.errors import Misconfigured
from shared.settings import ConsoleSettings

Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))]
ApiKey = Annotated[str | None, Security(APIKeyHeader(name="X-Api-Key", auto_error=False))]
Check = Callable[[Bearer, ApiKey], Awaitable[None]]


def guard(settings: ConsoleSettings) -> Check:
    """
    The dependency that every route of the API has: `Authorization: Bearer …` or `X-Api-Key`.

    Raises `Misconfigured` when there is no token and the console would be reachable from elsewhere.
    """
    token = settings.api_token.get_secret_value().encode()
    if not token and not _is_loopback(settings.console_bind_ip):
        raise Misconfigured("KGW_API_TOKEN is not set: without it the console listens on 127.0.0.1 alone")

    async def check(bearer: Bearer, api_key: ApiKey) -> None:
        given = bearer.credentials if bearer else api_key or ""
        # Starlette reads headers as latin-1; this gives back the bytes that were sent.
        if token and not hmac.compare_digest(given.encode("latin-1"), token):
            raise HTTPException(401, "a valid API token is needed", {"WWW-Authenticate": "Bearer"})

    return check


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
