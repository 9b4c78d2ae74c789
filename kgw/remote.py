"""The console's API from the command's side: one client, and one live stream that comes back after a lost connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import httpx
import orjson
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from shared.errors import Misconfigured, Permanent, Unavailable
from shared.settings import CliSettings

NOTHING: Mapping[str, str] = MappingProxyType({})
SECONDS = 10.0
QUIET_SECONDS = 60.0
PAUSE_SECONDS = 1.0
AWAY_SECONDS = 60.0

_LOGINS = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})


class Unauthorised(Permanent):
    """The console does not accept KGW_API_TOKEN."""


class Unfollowable(Permanent):
    """The console knows nothing of that id."""


@dataclass(frozen=True)
class Told:
    """One result as a CloudEvent, and the id after which the stream goes on."""

    id: str
    event: dict[str, Any]


@asynccontextmanager
async def connected(settings: CliSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged in at the console; raises `Misconfigured` when KGW_CONSOLE_URL is none."""
    token = settings.api_token.get_secret_value()
    headers = {b"Authorization": f"Bearer {token}".encode()} if token else {}
    timeout = httpx.Timeout(SECONDS, read=QUIET_SECONDS)
    try:
        url = httpx.URL(settings.console_url)
    except httpx.InvalidURL:
        raise Misconfigured("KGW_CONSOLE_URL is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise Misconfigured("KGW_CONSOLE_URL is not an http(s) URL")
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout) as client:
        yield client


async def find(client: httpx.AsyncClient, subject: str) -> str:
    """
    The path of the run or the delivery with that id; what is neither may be a delivery that is not planned yet.

    Raises `Unauthorised`, or `Unavailable` when the console does not answer.
    """
    name = quote(subject, safe="")
    answer = await _get(client, f"/api/v1/runs/{name}")
    return f"/api/v1/deliveries/{name}" if answer.status_code == httpx.codes.NOT_FOUND else f"/api/v1/runs/{name}"


@retry(
    retry=retry_if_exception_type(Unavailable),
    wait=wait_fixed(PAUSE_SECONDS),
    stop=stop_after_delay(AWAY_SECONDS),
    reraise=True,
)
async def state(client: httpx.AsyncClient, path: str) -> str:
    """How the run or delivery stands, in the console's word; asked again for a minute while the console is away."""
    answer = await _get(client, path)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise Unfollowable
    body = answer.json()
    return str(body.get("status") or body["state"])


async def fetch(client: httpx.AsyncClient, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """What the console has at `/api/v1/` and that path; raises `Unauthorised`, `Unfollowable`, or `Unavailable`."""
    answer = await _get(client, f"/api/v1/{path}", query)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise Unfollowable
    body: dict[str, Any] = answer.json()
    return body


async def follow(client: httpx.AsyncClient, path: str, last_id: str = "") -> AsyncIterator[Told]:
    """
    The results after `last_id` as they come, until all have come. A lost connection is taken up again where it broke off.

    Raises `Unauthorised`, `Unfollowable`, or `Unavailable` when the console stays away for a minute.
    """
    heard_at = time.monotonic()
    while True:
        try:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            async with client.stream("GET", f"{path}/events", headers=headers) as response:
                _require_answer(response)
                if response.status_code == httpx.codes.NOT_FOUND:
                    raise Unfollowable
                fields: dict[str, str] = {}
                async for line in response.aiter_lines():
                    heard_at = time.monotonic()
                    match line.partition(":"):
                        case "", ":", " over":
                            return
                        case "", ":", " unknown":
                            raise Unfollowable
                        case "", "", "" if "data" in fields:
                            last_id = fields.get("id", last_id)
                            yield Told(last_id, orjson.loads(fields["data"]))
                            fields = {}
                        case name, ":", value if name:
                            fields[name] = value.removeprefix(" ")
        except (httpx.TransportError, Unavailable) as error:
            if time.monotonic() - heard_at > AWAY_SECONDS:
                raise Unavailable(f"the console has not answered for {AWAY_SECONDS:.0f} s") from error
        await asyncio.sleep(PAUSE_SECONDS)


async def _get(client: httpx.AsyncClient, path: str, query: Mapping[str, str] = NOTHING) -> httpx.Response:
    try:
        answer = await client.get(path, params=query)
    except httpx.HTTPError as error:
        raise Unavailable(f"the console does not answer: {type(error).__name__}") from error
    _require_answer(answer)
    return answer


def _require_answer(response: httpx.Response) -> None:
    """Let through what the console says of the subject: it is there, or it is not."""
    if response.status_code in _LOGINS:
        raise Unauthorised
    if response.status_code not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
        raise Unavailable(f"the console answered {response.status_code}")
