"""
Keeping the named hooks: from the store into memory and into a snapshot on disk, beside the way of a delivery.

The snapshot is read first, so that a restart needs no store. It holds what the store holds: the secrets are sealed. Whatever is wrong with the store,
the snapshot or the key is a warning, and the ingress goes on with the hooks that it has.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from ingress.hooks import Hooks
from shared import logs
from shared.errors import KgwError
from shared.event import Frozen
from shared.hook import SealedHook
from shared.settings import IngressSettings

if TYPE_CHECKING:
    from shared.sealing import Sealing
    from shared.store.engine import Store

log = logs.get_logger()

# SQLite's statements run on the event loop, and a listener must not stand still for another process's transaction.
BUSY_SECONDS = 0.2
MAX_SNAPSHOT_BYTES = 64 * 1024 * 1024


class Snapshot(Frozen):
    """The file's form."""

    version: Literal[1] = 1
    hooks: tuple[SealedHook, ...]


def open_hooks(settings: IngressSettings) -> Hooks:
    """The global hook, and the named ones of the snapshot; raises `Misconfigured` when the global one has no secret."""
    secrets = [settings.webhook_secret.get_secret_value(), settings.webhook_secret_old.get_secret_value()]
    hooks = Hooks(secrets[:1] + [old for old in secrets[1:] if old.strip()])
    if not _are_named(settings):
        return hooks
    kept = _read(Path(settings.hooks_file))
    if kept:
        log.info("hooks_read", source="snapshot", hooks=hooks.take(kept, _sealing(settings)))
    return hooks


async def keep_hooks(hooks: Hooks, settings: IngressSettings, stop: asyncio.Event) -> None:
    """Follow the store until `stop`, when there is a key to open what it holds. Never raises for what is wrong there."""
    if not _are_named(settings):
        return
    refresher = _Refresher(hooks, settings)
    while not stop.is_set():
        try:
            async with _opened(settings.database_url.get_secret_value()) as store:
                while not stop.is_set():
                    await refresher.refresh(store)
                    await _pause(stop, settings.hooks_interval)
        except Exception as error:  # whatever it is: the listener must not end with the store
            refresher.complain(error)
            await _pause(stop, settings.hooks_interval)


class _Refresher:
    """What was seen last, so that only what changed is unsealed, written and told."""

    def __init__(self, hooks: Hooks, settings: IngressSettings) -> None:
        self._hooks = hooks
        self._sealing = _sealing(settings)
        self._file = Path(settings.hooks_file)
        self._taken: tuple[SealedHook, ...] | None = None
        self._written: tuple[SealedHook, ...] | None = None
        self._trouble: str | None = None

    async def refresh(self, store: Store) -> None:
        """Take what the store holds; raises whatever is wrong with the store or the snapshot."""
        from shared.store import hooks

        async with store.read() as db:
            found = await hooks.every(db)
        if found != self._taken:
            usable = self._hooks.take(found, self._sealing)
            self._taken = found
            log.info("hooks_read", source="store", hooks=usable)
        if found != self._written:
            await asyncio.to_thread(_write, self._file, found)
            self._written = found
        if self._trouble is not None:
            self._trouble = None
            log.info("hooks_are_kept_again")

    def complain(self, error: Exception) -> None:
        """Warn, once for each kind of trouble."""
        reason = _reason(error)
        if reason != self._trouble:
            self._trouble = reason
            log.warning("hooks_not_kept", reason=reason)


def _are_named(settings: IngressSettings) -> bool:
    return bool(settings.secret_key.get_secret_value())


def _sealing(settings: IngressSettings) -> Sealing:
    from shared.sealing import Sealing

    return Sealing(settings.secret_key.get_secret_value())


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Store]:
    # With the store come libraries that an ingress without named hooks has no use for.
    from shared.store.engine import open_store
    from shared.store.schema import require_current, require_there

    require_there(url)
    async with open_store(url, busy_timeout=BUSY_SECONDS) as store:
        await require_current(store)
        yield store


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _reason(error: Exception) -> str:
    """For the log, without what a database's own error says of the statement and the server."""
    if isinstance(error, KgwError):
        return error.reason
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    return type(error).__name__


def _read(path: Path) -> tuple[SealedHook, ...]:
    """What the snapshot holds; nothing, with a warning, when it can not be read. Its absence is how every ingress begins."""
    try:
        with path.open("rb") as file:
            return Snapshot.model_validate_json(file.read(MAX_SNAPSHOT_BYTES)).hooks
    except FileNotFoundError:
        return ()
    except OSError as error:
        reason = str(error.strerror)
    except ValidationError:
        reason = "it is empty, damaged, or another version's"
    log.warning("hooks_snapshot_not_read", path=str(path), reason=reason)
    return ()


def _write(path: Path, kept: tuple[SealedHook, ...]) -> None:
    """Put the snapshot in its place at once, for its owner alone; raises OSError."""
    number, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(Snapshot(hooks=kept).model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
