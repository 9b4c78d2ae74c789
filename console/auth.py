"""Who may ask: whoever has the API token. Without a token the console is for this machine alone."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request

from shared.errors import Misconfigured
from shared.settings import ConsoleSettings


def guard(settings: ConsoleSettings) -> Callable[[Request], Awaitable[None]]:
    """
    The dependency that every route of the API has: `Authorization: Bearer …` or `X-Api-Key`.

    Raises `Misconfigured` when there is no token and the console would be reachable from elsewhere.
    """
    token = settings.api_token.get_secret_value().encode()
    if not token and not _is_loopback(settings.console_bind_ip):
        raise Misconfigured("KGW_API_TOKEN is not set: without it the console listens on 127.0.0.1 alone")

    async def check(request: Request) -> None:
        if token and not hmac.compare_digest(_given(request), token):
            raise HTTPException(401, "a valid API token is needed", {"WWW-Authenticate": "Bearer"})

    return check


def _given(request: Request) -> bytes:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1")
    return request.headers.get("x-api-key", "").encode("latin-1")


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
