"""
A named hook as it is kept, in the store and in the ingress's snapshot. Its secrets are sealed, and nothing here can open them.
"""

from __future__ import annotations

import secrets as random
from base64 import b64encode
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from shared.event import Frozen

GLOBAL = "global"
SECRET_BYTES = 32
MAX_SECRETS = 5
MIN_BODY_BYTES, MAX_BODY_BYTES = 1024, 100 * 1024 * 1024

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class SealedSecret(Frozen):
    """One secret of a hook; it counts until `expires_at`, without one for ever."""

    sealed: str
    made_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    def is_valid(self, at: datetime) -> bool:
        """Whether a sender may still use it."""
        return self.expires_at is None or at < self.expires_at


class SealedHook(Frozen):
    """
    A hook with its secrets, newest first.

    `provider` is the `{auth}` of its URL, None when it takes any. `repositories` and `images` are Komodo's pattern lists; with neither it may speak
    for everything, else only for what is listed. `options` are the settings of its provider, for one that has any.
    """

    name: Name
    provider: str | None = None
    secrets: tuple[SealedSecret, ...]
    repositories: str = ""
    images: str = ""
    max_body_bytes: Annotated[int, Field(ge=MIN_BODY_BYTES, le=MAX_BODY_BYTES)] | None = None
    options: dict[str, Any] | None = None
    created_at: AwareDatetime
    changed_at: AwareDatetime
    disabled: bool = False

    def changed(self, *, now: datetime, **values: Any) -> SealedHook:
        """The hook with other values. `changed_at` moves on even when the clock does not, so that no two versions share it."""
        instant = max(now, self.changed_at + timedelta(microseconds=1))
        return SealedHook.model_validate({**dict(self), **values, "changed_at": instant})

    def rotated(self, sealed: str, *, now: datetime, grace: timedelta) -> SealedHook:
        """The hook with one more secret. The ones that it has end after `grace`, or earlier where that was said before."""
        end = now + grace
        ending = (old.model_copy(update={"expires_at": min(old.expires_at or end, end)}) for old in self.secrets)
        kept = [old for old in ending if old.is_valid(now)][: MAX_SECRETS - 1]
        return self.changed(now=now, secrets=(SealedSecret(sealed=sealed, made_at=now), *kept))


def purpose_of(name: str) -> str:
    """What the secrets of the hook with this name are sealed for."""
    return f"hook {name}"


def new_secret(*, is_signing: bool) -> str:
    """
    32 random bytes: for a token or an HMAC in characters that a URL leaves alone, or as a key of Standard Webhooks.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    if is_signing:
        return "whsec_" + b64encode(random.token_bytes(SECRET_BYTES)).decode()
    return random.token_urlsafe(SECRET_BYTES)
