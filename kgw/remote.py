"""The console's API from the command's side: one client, and one live stream that comes back after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

from shared.errors import Permanent, Unavailable
from shared.settings import CliSettings

SECONDS = 10.0
QUIET_SECONDS = 60.0
PAUSE_SECONDS = 1.0


class Unauthorised(Permanent):
    """The console does not accept KGW_API_TOKEN."""


class Unfollowable(Permanent):
    """The console knows nothing of that id."""


@asynccontextmanager
async def connected(settings: CliSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged in at the console."""
    token = settings.api_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx.Timeout(SECONDS, read=QUIET_SECONDS)
    async with httpx.AsyncClient(base_url=settings.console_url, headers=headers, timeout=timeout) as client:
        yield client


async def subject_path(client: httpx.AsyncClient, subject: str) -> str:
    """Whether the id is a run's or a delivery's, as a path of the API; raises `Unauthorised` or `Unavailable`."""
    try:
        answer = await client.get(f"/api/v1/runs/{subject}")
    except httpx.HTTPError as error:
        raise Unavailable(f"the console does not answer: {type(error).__name__}") from error
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise Unauthorised
    return f"/api/v1/runs/{subject}" if answer.is_success else f"/api/v1/deliveries/{subject}"


async def follow(client: httpx.AsyncClient, subject: str) -> AsyncIterator[dict[str, Any]]:
    """
    The subject's results as they come, until it is over. A lost connection is taken up again where it broke off.

    Raises `Unauthorised`, `Unfollowable`, or `Unavailable` when the console was never there.
    """
    path = await subject_path(client, subject) + "/events"
    last_id, is_over = "", False
    while not is_over:
        try:
            async with client.stream("GET", path, headers={"Last-Event-ID": last_id} if last_id else {}) as response:
                _check(response)
                fields: dict[str, str] = {}
                async for line in response.aiter_lines():
                    name, _, value = line.partition(":")
                    if name:
                        fields[name] = value.strip()
                    if not line and "data" in fields:
                        last_id = fields.get("id", last_id)
                        yield orjson.loads(fields.pop("data"))
                    elif line == ": over":
                        is_over = True
        except httpx.TransportError:
            await asyncio.sleep(PAUSE_SECONDS)


def _check(response: httpx.Response) -> None:
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise Unauthorised
    if response.status_code == httpx.codes.NOT_FOUND:
        raise Unfollowable
    if not response.is_success:
        raise Unavailable(f"the console answered {response.status_code}")
