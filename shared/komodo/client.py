"""
Komodo Core over HTTP: one method per area, every call bounded in time, every foreign error turned into one of ours once.

Reads, and writes that may be repeated, are tried again here for seconds. An execution never is: when its answer is lost nobody knows whether Komodo
has begun, and `Unknown` says so.
Facts: Komodo v2.3.2, `bin/core/src/api/mod.rs`, `lib/crates/error`, `lib/auth/server/src/middleware.rs`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from shared import metrics
from shared.errors import Misconfigured, Permanent, RateLimited, Transient, Unknown
from shared.komodo.types import StackDetail, Update

log = structlog.get_logger()

REQUEST_SECONDS = 10.0
CONNECT_SECONDS = 5.0
# A refresh answers when Komodo has fetched the repository.
REFRESH_SECONDS = 60.0
TRIES = 3
MAX_WAIT_SECONDS = 5.0
CONNECTIONS = 50
IDS_PER_READ = 100
MAX_REASON = 300

_TRY_AGAIN = re.compile(r"Try again in (\d+)s")
_NOT_THERE = ("Did not find any", "Cannot find", "no update exists")
_FORBIDDEN = ("does not have required permissions",)


class KomodoClient:
    """
    What Komodo Core can be asked. Every method raises `Transient` when Core is away, slow or not itself, `RateLimited` when it has locked us out for
    a while, and `Permanent` when it says no for a reason that stays.
    """

    def __init__(self, http: httpx.AsyncClient, *, execute_seconds: float) -> None:
        self._http = http
        self._execute_seconds = execute_seconds
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
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL as error:
            raise Misconfigured(f"KOMODO_ADDRESS is not a URL: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise Misconfigured("KOMODO_ADDRESS is not an http(s) URL")
        async with httpx.AsyncClient(
            base_url=url,
            headers={"X-Api-Key": key, "X-Api-Secret": secret, "Content-Type": "application/json"},
            timeout=httpx.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            trust_env=False,
        ) as http:
            yield cls(http, execute_seconds=execute_seconds)

    async def read(self, kind: str, **params: Any) -> Any:
        """`POST /read/{kind}`, tried again for seconds."""
        return await self._retried("read", kind, params, REQUEST_SECONDS)

    async def write(self, kind: str, **params: Any) -> Any:
        """`POST /write/{kind}` for a write that may be repeated, such as a refresh; tried again for seconds."""
        return await self._retried("write", kind, params, REFRESH_SECONDS)

    async def execute(self, kind: str, **params: Any) -> Update:
        """
        `POST /execute/{kind}`, once: the update that Komodo has begun.

        Raises `Unknown` when it may have begun and the answer was lost, `Transient` when it has certainly not.
        """
        try:
            return Update.from_json(await self._call("execute", kind, params, self._execute_seconds))
        except (KeyError, TypeError) as error:
            raise Unknown(f"Komodo answered {kind} with something that is not an update") from error

    async def version(self) -> str:
        """Core's version; needs no login, so it tells whether Core is there at all."""
        response = await self._send("GET", "/version", b"", CONNECT_SECONDS)
        if response.status_code != httpx.codes.OK or "<" in response.text:
            raise Transient("what answers at KOMODO_ADDRESS is not Komodo Core")
        return response.text.strip()

    async def user_id(self) -> str:
        """The id of the user whose API key we have."""
        if self._user_id is None:
            response = await self._send("GET", "/user", b"", REQUEST_SECONDS)
            body = _answer("read", "user", response)
            self._user_id = str(body["_id"]["$oid"])
        return self._user_id

    async def stack(self, stack: str) -> StackDetail:
        """One stack with its files and commits."""
        return StackDetail.from_json(await self.read("GetStack", stack=stack))

    async def update(self, update_id: str) -> Update:
        """One update with its logs."""
        return Update.from_json(await self.read("GetUpdate", id=update_id))

    async def updates(self, ids: Sequence[str]) -> dict[str, Update]:
        """Many updates in one read per hundred, without logs; those that Komodo does not know are missing."""
        found: dict[str, Update] = {}
        for start in range(0, len(ids), IDS_PER_READ):
            wanted = [{"$oid": update_id} for update_id in ids[start : start + IDS_PER_READ]]
            page = await self.read("ListUpdates", query={"_id": {"$in": wanted}}, page=0)
            found.update({update.id: update for update in map(Update.from_json, page["updates"])})
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
        page = await self.read("ListUpdates", query=query, page=0)
        found = [update for update in map(Update.from_json, page["updates"]) if update.id not in exclude_ids]
        return min(found, key=lambda update: (update.start_ts, update.id), default=None)

    async def _retried(self, area: str, kind: str, params: dict[str, Any], seconds: float) -> Any:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_after_attempt(TRIES),
            wait=_wait,
            reraise=True,
        ):
            with attempt:
                return await self._call(area, kind, params, seconds)
        raise AssertionError("tenacity ends by returning or raising")

    async def _call(self, area: str, kind: str, params: dict[str, Any], seconds: float) -> Any:
        response = await self._send("POST", f"/{area}/{kind}", orjson.dumps(params), seconds)
        metrics.KOMODO_REQUESTS.labels(op=f"{area}/{kind}", code=str(response.status_code)).inc()
        return _answer(area, kind, response)

    async def _send(self, method: str, path: str, body: bytes, seconds: float) -> httpx.Response:
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=None)
        try:
            return await self._http.request(method, path, content=body, timeout=timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Transient(f"Komodo does not answer: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            kind = Unknown if path.startswith("/execute/") else Transient
            raise kind(f"Komodo did not answer in full: {type(error).__name__}") from error


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    if asked is not None:
        return min(float(asked), MAX_WAIT_SECONDS)
    return float(wait_exponential_jitter(initial=0.2, max=2.0)(state))


def _answer(area: str, kind: str, response: httpx.Response) -> Any:
    """The body of a good answer; every other answer becomes one of our errors."""
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise _not_json(area, kind, response) from error
    if response.status_code == httpx.codes.OK:
        return body
    reason = str(body.get("error", ""))[:MAX_REASON] if isinstance(body, dict) else ""
    raise _error(area, kind, response, reason)


def _not_json(area: str, kind: str, response: httpx.Response) -> Transient:
    reason = f"Komodo answered {kind} with {response.status_code} and something that is not JSON"
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited(reason, retry_after=_seconds(response, ""))
    # A proxy that speaks for Core may have passed the request on before it gave up.
    return Unknown(reason) if area == "execute" else Transient(reason)


def _error(area: str, kind: str, response: httpx.Response, reason: str) -> Exception:
    status = response.status_code
    told = f"Komodo answered {kind} with {status}: {reason}"
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited(f"Komodo has locked us out for a while: {reason}", retry_after=_seconds(response, reason))
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Permanent(f"Komodo refuses the API key: {reason}")
    if any(text in reason for text in (*_NOT_THERE, *_FORBIDDEN)) or httpx.codes.is_client_error(status):
        return Permanent(told)
    if area == "execute" and status in (httpx.codes.BAD_GATEWAY, httpx.codes.GATEWAY_TIMEOUT):
        return Unknown(told)
    return Transient(told)


def _seconds(response: httpx.Response, reason: str) -> float | None:
    header = response.headers.get("Retry-After", "")
    if header.isdigit():
        return float(header)
    match = _TRY_AGAIN.search(reason)
    return float(match.group(1)) if match else None
