"""
Any provider's API over HTTP: every call bounded in time and size, nothing followed, every foreign error turned into one of ours once.

No token and nothing of an answer's body is part of an error (I9).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import orjson
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from shared import clock
from shared.errors import KgwError, Permanent, RateLimited, Transient
from shared.imports import hidden
from shared.provider_api.access import ProviderAccess

with hidden("httpx._main"):  # httpx's own command, which loads click, Pygments and rich
    import httpx

T = TypeVar("T")

REQUEST_SECONDS = 15.0
CONNECT_SECONDS = 5.0
TRIES = 3
MAX_WAIT_SECONDS = 5.0
MAX_ANSWER = 8 * 1024 * 1024
MAX_PAGES = 100
MAX_QUERY = 20

_PAUSES = wait_exponential(multiplier=0.2, max=2.0) + wait_random(0.0, 0.2)
_RESETS = ("x-ratelimit-reset", "ratelimit-reset")
_LEFT = ("x-ratelimit-remaining", "ratelimit-remaining")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class Refused(Permanent):
    """The provider does not take the token."""


@dataclass(frozen=True)
class Answer:
    """A good answer: its JSON, its headers, and the query of the page after it where a Link header names one."""

    body: Any
    headers: Mapping[str, str]
    next_query: Mapping[str, str] | None = None


NextOf = Callable[[Answer], Mapping[str, str] | None]


def _by_link(answer: Answer) -> Mapping[str, str] | None:
    return answer.next_query


class ApiClient:
    """
    What any of these APIs can be asked. Every method raises `Transient` when it is away or not itself, `RateLimited` when it says when to come back,
    `Refused` when it does not take the token, and `Permanent` for every other no.
    """

    def __init__(self, http: httpx.AsyncClient, name: str) -> None:
        self._http = http
        self._name = name

    @classmethod
    @asynccontextmanager
    async def connect(cls, access: ProviderAccess, headers: Mapping[str, str]) -> AsyncIterator[ApiClient]:
        """A client for the API of that access, with the headers that log it in."""
        async with httpx.AsyncClient(
            base_url=access.api_url,
            headers={"User-Agent": "komodo-global-webhook", "Accept": "application/json", **headers},
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # the rest is bounded by `_send`, as a whole
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=4),
            follow_redirects=False,
            trust_env=False,
        ) as http:
            yield cls(http, access.repository_host)

    async def get(self, path: str, query: Mapping[str, str]) -> Answer:
        """`GET`, tried again for seconds. `path` is made of quoted segments."""
        return await _retried(partial(self._send, "GET", path, query))

    async def post(self, path: str) -> None:
        """`POST` of nothing, for what may be asked twice; tried again for seconds."""
        await _retried(partial(self._send, "POST", path, {}))

    async def pages(
        self, path: str, query: Mapping[str, str], next_of: NextOf = _by_link
    ) -> AsyncGenerator[Answer, None]:
        """
        Page after page. What an answer names as the next one adds its query to our own path; its address is not looked at.

        Raises `Permanent` after `MAX_PAGES`.
        """
        for _ in range(MAX_PAGES):
            answer = await self.get(path, query)
            yield answer
            following = next_of(answer)
            if following is None:
                return
            query = following
        raise Permanent(f"{self._name} has more than {MAX_PAGES} pages of that")

    def parsed(self, parse: Callable[[Any], T], body: Any) -> T:
        """What an answer says; raises `Transient` when it is JSON and yet none of the provider's."""
        try:
            return parse(body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Transient(f"{self._name} answered with other JSON: is its url right?") from error

    async def _send(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_SECONDS), self._http.stream(method, path, params=query) as response:
                body = await _read(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Transient(f"{self._name} does not answer: {type(error).__name__}") from error
        return self._checked(response, body)

    def _checked(self, response: httpx.Response, body: bytes) -> Answer:
        status = response.status_code
        if not response.is_success:
            raise _refusal(self._name, response)
        if status == httpx.codes.NON_AUTHORITATIVE_INFORMATION:  # Azure DevOps sends its login page with it
            raise Refused(f"{self._name} does not take the token")
        try:
            return Answer(orjson.loads(body) if body else None, response.headers, _next_by_link(response))
        except ValueError as error:
            raise Transient(f"{self._name} answered {status} without JSON: is its url right?") from error


async def read_heads(
    client: ApiClient,
    path: str,
    query: Mapping[str, str],
    *,
    wanted: frozenset[str],
    parse: Callable[[Any], Mapping[str, str]],
    next_of: NextOf = _by_link,
) -> dict[str, str]:
    """The heads of the wanted branches out of a list of all; pages are read until all are found. One that is missing is not there."""
    found: dict[str, str] = {}
    async with aclosing(client.pages(path, query, next_of)) as pages:
        async for page in pages:
            listed = client.parsed(parse, page.body)
            found |= {name: listed[name] for name in wanted & listed.keys()}
            if len(found) == len(wanted):
                break
    return found


def quoted(path: str) -> str:
    """The path with each segment quoted, so that a name can not lead anywhere else."""
    return "/".join(quote(segment, safe="") for segment in path.split("/"))


def sha(value: Any) -> str:
    """A full commit id; raises `ValueError` for anything else."""
    if not isinstance(value, str) or not _SHA.fullmatch(value):
        raise ValueError("not a commit id")
    return value


def query_of(url: Any) -> dict[str, str] | None:
    """The query of the URL that an answer gives for its next page; None without one. Raises `ValueError` for what is no URL."""
    if url is None:
        return None
    return dict(parse_qsl(urlsplit(url).query, max_num_fields=MAX_QUERY))


async def _read(response: httpx.Response) -> bytes:
    received = bytearray()
    async for chunk in response.aiter_bytes():
        received += chunk
        if len(received) > MAX_ANSWER:
            raise httpx.DecodingError("the answer is too large")
    return bytes(received)


def _next_by_link(response: httpx.Response) -> dict[str, str] | None:
    return query_of(response.links.get("next", {}).get("url"))


def _refusal(name: str, response: httpx.Response) -> KgwError:
    status, headers = response.status_code, response.headers
    if _is_limited(status, headers):
        return RateLimited(f"{name} asks to come back later ({status})", retry_after=_retry_after(headers))
    if response.is_server_error or status == httpx.codes.REQUEST_TIMEOUT:
        return Transient(f"{name} answered {status}")
    if response.is_redirect or response.has_redirect_location:
        return Permanent(f"{name} answered {status}, a redirect: was the repository renamed, or is the url wrong?")
    if status == httpx.codes.UNAUTHORIZED:
        return Refused(f"{name} does not take the token ({status})")
    return Permanent(f"{name} answered {status}: {_MEANING.get(status, 'it does not do that')}")


_MEANING = {
    403: "the token may not read that",
    404: "there is no such repository, or the token may not see it",
    410: "it is gone",
}


def _is_limited(status: int, headers: Mapping[str, str]) -> bool:
    """
    GitHub says 403 for its limits as well: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api.
    """
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return True
    return status == httpx.codes.FORBIDDEN and (
        "retry-after" in headers or any(headers.get(name) == "0" for name in _LEFT)
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    told = headers.get("retry-after", "")
    if told.isdigit():
        return float(told[:9])
    now = clock.now()
    try:
        if told:
            at = parsedate_to_datetime(told)
            return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
    except ValueError:
        return None
    reset = next((headers[name] for name in _RESETS if headers.get(name, "").isdigit()), None)
    return None if reset is None else max(0.0, float(reset[:12]) - now.timestamp())


def _is_worth_waiting(error: BaseException) -> bool:
    return isinstance(error, Transient) and (getattr(error, "retry_after", None) or 0.0) <= MAX_WAIT_SECONDS


async def _retried(call: Callable[[], Any]) -> Answer:
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(_is_worth_waiting), stop=stop_after_attempt(TRIES), wait=_wait, reraise=True
    ):
        with attempt:
            answer: Answer = await call()
            return answer
    raise AssertionError("tenacity ends by returning or raising")


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    return float(_PAUSES(state)) if asked is None else float(asked)
