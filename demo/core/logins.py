"""
Who is asking: Komodo's order of checks over the request's headers, shared by HTTP and the websocket.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Mapping

from demo.core.accounts import Account
from demo.core.errors import CoreError
from demo.core.state import State

EXPIRY_GRACE_MS = 5 * 60 * 1000


async def from_headers(
    state: State, headers: Mapping[bytes, bytes], peer: str, *, disabled_too: bool = False
) -> Account:
    """
    Return the account of a request.

    An `Authorization` header wins over an API key, and every token is refused: log-ins by password are not simulated.
    """
    if b"authorization" in headers:
        raise CoreError("Invalid user credentials")
    key, secret = headers.get(b"x-api-key"), headers.get(b"x-api-secret")
    if key is None:
        raise CoreError("Invalid client credentials", status=401)
    if secret is None:
        raise CoreError("Request headers have X-API-KEY but missing X-API-SECRET")
    return await check(
        state, key.decode("latin-1"), secret.decode("latin-1"), address(headers, peer), disabled_too=disabled_too
    )


async def check(state: State, key: str, secret: str, client: str, *, disabled_too: bool = False) -> Account:
    """
    Check a key and its secret, counting failures per client. A tripped limiter refuses the right ones too.
    """
    knobs = state.knobs
    attempts, window = knobs.auth_max_attempts, knobs.auth_window_seconds
    if knobs.auth_rate_limit:
        wait = state.limiter.retry_in(client, now=time.monotonic(), attempts=attempts, window=window)
        if wait is not None:
            raise CoreError(f"Too many attempts | Try again in {wait}s", status=429)
    account = state.accounts.get(key.strip())
    if knobs.auth_cost_ms > 0:
        await asyncio.to_thread(_burn, knobs.auth_cost_ms / 1000)
    if account is not None and _is_good(state, account, secret.strip(), disabled_too=disabled_too):
        return account
    if not knobs.auth_rate_limit:
        raise CoreError("Invalid user credentials", status=401)
    left = state.limiter.fail(client, now=time.monotonic(), attempts=attempts, window=window)
    raise CoreError(f"Invalid user credentials | You have {left} attempts remaining", status=401)


def _is_good(state: State, account: Account, secret: str, *, disabled_too: bool) -> bool:
    expired = account.expires != 0 and state.now_ms() > account.expires + EXPIRY_GRACE_MS
    same = hmac.compare_digest(account.secret.encode(), secret.encode())
    return same and not expired and (account.enabled or disabled_too)


def address(headers: Mapping[bytes, bytes], peer: str) -> str:
    """
    Return the client's address: the first of X-Forwarded-For, else X-Real-Ip, else the socket's.
    """
    forwarded = headers.get(b"x-forwarded-for", b"").split(b",")[0] or headers.get(b"x-real-ip", b"")
    if not forwarded:
        return peer
    try:
        return str(ipaddress.ip_address(forwarded.decode("latin-1").strip()))
    except ValueError as error:
        raise CoreError("invalid IP address syntax", status=401) from error


def _burn(seconds: float) -> None:
    """
    Use up so much CPU time of this thread, without the interpreter's lock, as bcrypt would.
    """
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.pbkdf2_hmac("sha256", b"komodo", b"core", 2000)
