"""Named hooks with their secrets sealed, with defaults, so that a test names only what matters to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from shared.hook import SealedHook, SealedSecret, purpose_of
from shared.sealing import Sealing
from tests.builders import NOON

KEY = "c2VjcmV0IGtleSBvZiB0aGUgdGVzdHM6IDMyIGNoYXJhY3RlcnM"
SEALING = Sealing(KEY)


def sealed(name: str, secret: str, *, until: datetime | None = None, sealing: Sealing = SEALING) -> SealedSecret:
    """The secret as the hook `name` keeps it."""
    return SealedSecret(sealed=sealing.seal(secret.encode(), purpose=purpose_of(name)), made_at=NOON, expires_at=until)


def a_hook(name: str, *secrets: str | SealedSecret, **overrides: Any) -> SealedHook:
    """A hook that any provider may use, for everything."""
    kept = tuple(sealed(name, secret) if isinstance(secret, str) else secret for secret in secrets)
    return SealedHook.model_validate(
        {"name": name, "secrets": kept, "created_at": NOON, "changed_at": NOON} | overrides
    )
