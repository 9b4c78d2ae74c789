"""Hooks and their secrets, in memory."""

from __future__ import annotations

import secrets as random
from collections.abc import Sequence

from shared.errors import Misconfigured

GLOBAL = "global"


class Hooks:
    """
    The secrets of each hook, newest first; raises `Misconfigured` when a hook would be open to everyone.

    An unknown hook has as many secrets as the global one, random and known to nobody: refusing it costs the same, so that the time
    does not tell which hooks exist.
    """

    def __init__(self, global_secrets: Sequence[str]) -> None:
        if not global_secrets or not all(secret.strip() for secret in global_secrets):
            raise Misconfigured("KOMODO_WEBHOOK_SECRET is not set: without it anyone could deploy")
        self._secrets = {GLOBAL: tuple(secret.encode() for secret in global_secrets)}
        self._decoys = tuple(random.token_bytes(len(secret)) for secret in self._secrets[GLOBAL])

    def secrets_of(self, name: str) -> tuple[bytes, ...]:
        """What senders to this hook may sign with."""
        return self._secrets.get(name, self._decoys)
