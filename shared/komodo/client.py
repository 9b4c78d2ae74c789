"""
Komodo Core over HTTP: one method per area, every call bounded in time, every foreign error turned into one of ours once.

Reads, and writes that may be repeated, are tried again here for seconds. An execution never is: when its answer is lost nobody knows whether Komodo
has begun, and `Unknown` says so. What Komodo itself refuses it has not begun: it looks the resource up before it answers.
Facts: Komodo v2.3.2, `bin/core/src/api/mod.rs`, `lib/crates/error`, `lib/auth/server/src/middleware.rs`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import orjson
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from shared import metrics
from shared.errors import Misconfigured, Permanent, RateLimited, Transient, Unknown
from shared.imports import hidden
from shared.komodo.types import StackDetail, Update

with hidden("httpx._main"):  # httpx's own command, which loads click, Pygments and rich
    import httpx

T = TypeVar("T")

REQUEST_SECONDS = 10.0
CONNECT_SECONDS = 5.0
# A refresh answers when Komodo has fetched the repository.
REFRESH_SECONDS = 60.0
TRIES = 3
MAX_WAIT_SECONDS = 5.0
CONNECTIONS = 8
IDS_PER_READ = 100
MAX_REASON = 300
MAX_ANSWER = 64 * 1024 * 1024
SENDING = "http11.send_request_headers.started"

_TRY_AGAIN = re.compile(r"Try again in (\d+)s")
# Komodo says all of this with 500, as it does when its database is away; only what is listed here stays as it is.
_STAYS = (
    "Did not find any",
    "Cannot find",
    "no update exists",
    "does not have required permissions",
    "No tag found",
    "matching string invalid",
    "unknown variant",
    "missing field",
    "invalid type",
    "missing X-API-SECRET",
)
_PAUSES = wait_exponential(multiplier=0.2, max=2.0) + wait_random(0.0, 0.2)
_BEHIND_A_PROXY = "invalid IP address syntax"
# With any Authorization header, such as a proxy adds, Komodo says this with 500 and never looks at the API key.
_BAD_CREDENTIALS = "Invalid user credentials"
# Komodo never answers with these itself.
_FROM_A_PROXY = frozenset({httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT})


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP, read in full."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class KomodoClient:
    """
    What Komodo Core can be asked. Every method raises `Transient` when Core is away, slow or not itself, `RateLimited` when it has locked us out for
    a while, and `Permanent` when it says no for a reason that stays.
    """

    def __init__(self, http: httpx.AsyncClient, *, execute_seconds: float) -> None:
        self._http = http
        self._execute_seconds = execute_seconds
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._user_id: str | None = None

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, address: str, key: str, secret: str, *, execute_seconds: float = REQUEST_SECONDS
    ) -> AsyncIterator[KomodoClient]:
        """
        A client for the Core at `address`, logged in by API key; raises `Misconfigured` when the address is no http(s) URL.

        `execute_seconds` is how long an execution may take to be answered, which Komodo does before it begins the work.
        """
        url = _url(address)
        async with httpx.AsyncClient(
            base_url=url,
            headers={"X-Api-Key": key, "X-Api-Secret": secret, "Content-Type": "application/json"},
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # the rest is bounded by `_send`, as a whole
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            trust_env=False,
        ) as http:
            yield cls(http, execute_seconds=execute_seconds)

    async def read(self, kind: str, **params: Any) -> Any:
        """`POST /read/{kind}`, tried again for seconds."""
        return await _retried(partial(self._call, "read", kind, params, REQUEST_SECONDS))

    async def write(self, kind: str, **params: Any) -> Any:
        """`POST /write/{kind}` for a write that may be repeated, such as a refresh; tried again for seconds."""
        return await _retried(partial(self._call, "write", kind, params, REFRESH_SECONDS))

    async def execute(self, kind: str, **params: Any) -> Update:
        """
        `POST /execute/{kind}`, once: the update that Komodo has begun.

        Raises `Unknown` when it may have begun and the answer was lost, `Transient` when it has certainly not.
        """
        body = await self._call("execute", kind, params, self._execute_seconds)
        try:
            return Update.from_json(body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unknown(f"Komodo answered {kind} with something that is not an update") from error

    async def version(self) -> str:
        """Core's version; needs no login, so it tells whether Core is there at all."""
        answer = await self._send("GET", "version", "/version", b"", CONNECT_SECONDS)
        version = answer.body[:100].decode(errors="replace").strip()
        if answer.status != httpx.codes.OK or not version or "<" in version:
            raise Transient("what answers at KOMODO_ADDRESS is not Komodo Core")
        return version

    async def user(self) -> Any:
        """The user whose API key we have, as Komodo tells it."""
        return await _retried(self._user)

    async def user_id(self) -> str:
        """The id of the user whose API key we have; asked once."""
        if self._user_id is None:
            self._user_id = parsed("user", lambda user: str(user["_id"]["$oid"]), await self.user())
        return self._user_id

    async def stack(self, stack: str) -> StackDetail:
        """One stack with its files and commits."""
        return parsed("GetStack", StackDetail.from_json, await self.read("GetStack", stack=stack))

    async def update(self, update_id: str) -> Update:
        """One update with its logs."""
        return parsed("GetUpdate", Update.from_json, await self.read("GetUpdate", id=update_id))

    async def updates(self, ids: Sequence[str]) -> dict[str, Update]:
        """Many updates in one read per hundred, without logs; those that Komodo does not know are missing."""
        found: dict[str, Update] = {}
        for start in range(0, len(ids), IDS_PER_READ):
            wanted = [{"$oid": update_id} for update_id in ids[start : start + IDS_PER_READ]]
            found.update({update.id: update for update in await self._list_updates({"_id": {"$in": wanted}})})
        return found

    async def find_update(
        self, resource: str, resource_id: str, *, operations: Sequence[str], since_ms: int, exclude_ids: Collection[str]
    ) -> Update | None:
        """
        The oldest update of ours on the resource since then that is none of `exclude_ids`: what a worker that is gone had begun (I2).
        """
        query = {
            "target.type": resource,
            "target.id": resource_id,
            "operator": await self.user_id(),
            "operation": {"$in": list(operations)},
            "start_ts": {"$gte": since_ms},
        }
        found = [update for update in await self._list_updates(query) if update.id not in exclude_ids]
        return min(found, key=lambda update: (update.start_ts, update.id), default=None)

    async def _list_updates(self, query: Mapping[str, Any]) -> list[Update]:
        page = await self.read("ListUpdates", query=query, page=0)
        return parsed("ListUpdates", lambda body: [Update.from_json(update) for update in body["updates"]], page)

    async def _user(self) -> Any:
        return _body("user", "user", await self._send("GET", "user", "/user", b"", REQUEST_SECONDS))

    async def _call(self, area: str, kind: str, params: dict[str, Any], seconds: float) -> Any:
        code = "none"
        try:
            answer = await self._send("POST", area, f"/{area}/{kind}", orjson.dumps(params), seconds)
            code = str(answer.status)
        finally:
            metrics.KOMODO_REQUESTS.labels(op=f"{area}/{kind}", code=code).inc()
        return _body(area, kind, answer)

    async def _send(self, method: str, area: str, path: str, body: bytes, seconds: float) -> Answer:
        """One request, over in `seconds` from now whatever it waits for: a free connection, the network, or Komodo."""
        was_sent = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal was_sent
            was_sent = was_sent or event == SENDING

        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(method, path, body, {"trace": trace})
        except (httpx.HTTPError, TimeoutError) as error:
            if not was_sent:
                raise Transient(f"Komodo does not answer: {_name(error, 'PoolTimeout')}") from error
            raise _lost(area, f"Komodo did not answer in full: {_name(error, 'ReadTimeout')}") from error

    async def _exchange(self, method: str, path: str, body: bytes, extensions: dict[str, Any]) -> Answer:
        async with self._http.stream(method, path, content=body, extensions=extensions) as response:
            received = bytearray()
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > MAX_ANSWER:
                    raise httpx.DecodingError("the answer is too large")
            return Answer(response.status_code, response.headers, bytes(received))


def _name(error: Exception, on_timeout: str) -> str:
    return on_timeout if isinstance(error, TimeoutError) else type(error).__name__


def parsed(kind: str, parse: Callable[[Any], T], body: Any) -> T:
    """What an answer says; raises `Transient` when it is JSON and yet none of Komodo's, as from a proxy's maintenance page."""
    try:
        return parse(body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Transient(f"Komodo answered {kind} with something else: {type(error).__name__}") from error


def _url(address: str) -> httpx.URL:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise Misconfigured("KOMODO_ADDRESS is not a URL") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise Misconfigured("KOMODO_ADDRESS is not an http(s) URL")
    if url.userinfo:
        # It would be sent as an Authorization header, which Komodo reads before the API key.
        raise Misconfigured("KOMODO_ADDRESS must not hold a user or password")
    return url


async def _retried(call: Callable[[], Awaitable[T]]) -> T:
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(Transient),
        stop=stop_after_attempt(TRIES),
        wait=_wait,
        reraise=True,
    ):
        with attempt:
            return await call()
    raise AssertionError("tenacity ends by returning or raising")


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    if asked is not None:
        return min(float(asked), MAX_WAIT_SECONDS)
    return float(_PAUSES(state))


def _body(area: str, kind: str, answer: Answer) -> Any:
    """The body of a good answer; every other answer becomes one of our errors."""
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise _strange(area, kind, answer, "without JSON") from error
    if answer.status == httpx.codes.OK:
        return body
    reason = body.get("error") if isinstance(body, dict) else None
    if not isinstance(reason, str) or answer.status in _FROM_A_PROXY:
        raise _strange(area, kind, answer, "with other JSON")
    raise _refusal(kind, answer, reason[:MAX_REASON])


def _strange(area: str, kind: str, answer: Answer, what: str) -> Transient:
    """What Komodo does not say: a proxy's error page, a login page, somebody else's JSON."""
    reason = f"Komodo answered {kind} with {answer.status} and not as Komodo does, {what}: is KOMODO_ADDRESS right?"
    if answer.status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited(reason, retry_after=_seconds(answer, ""))
    return _lost(area, reason)


def _lost(area: str, reason: str) -> Transient:
    """A proxy that speaks for Core may have passed the request on before it gave up."""
    return Unknown(reason) if area == "execute" else Transient(reason)


def _refusal(kind: str, answer: Answer, reason: str) -> Transient | Permanent:
    """Komodo's own no. `reason` is its `error`; its `trace` may quote what was asked and is left out."""
    status = answer.status
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited(f"Komodo has locked us out for a while: {reason}", retry_after=_seconds(answer, reason))
    if _BEHIND_A_PROXY in reason:
        return Permanent(f"Komodo can not read the X-Forwarded-For or X-Real-Ip of the proxy in front of it: {reason}")
    if status == httpx.codes.UNAUTHORIZED or _BAD_CREDENTIALS in reason:
        return Permanent(f"Komodo refuses the API key: {reason}")
    told = f"Komodo answered {kind} with {status}: {reason}"
    stays = httpx.codes.is_client_error(status) or any(text in reason for text in _STAYS)
    return Permanent(told) if stays else Transient(told)


def _seconds(answer: Answer, reason: str) -> float | None:
    header = answer.headers.get("Retry-After", "")
    if header.isdigit():
        return float(header)
    match = _TRY_AGAIN.search(reason)
    return float(match.group(1)) if match else None
