"""
A real worker that ends by SIGKILL, or halts, at chosen edges of its work.

An edge is one side of one step that others can see: a commit, a call to Komodo, a publication, an ack. Each has a name that is the same in every
process that does the same work, such as `actions: before execute/DeployStack #1`. The steps of loops that run beside the work (polling updates,
renewing leases, reconciling) are left out, because their number hangs on time; publishing results is not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.message import IncomingMessage

from shared.broker.consumer import Consumer
from shared.broker.publisher import Publisher
from shared.komodo.client import KomodoClient
from shared.store import engine
from worker import app
from worker.telling import Telling

POLL_SECONDS = 0.02

# Whose step the current task makes; None in the loops beside the work.
_ORIGIN: ContextVar[str | None] = ContextVar("origin", default=None)

# One reading for all who ask at once, so how many there are hangs on time.
_SHARED_CALLS = frozenset({"read/ListStacks", "read/ListFullStacks", "read/ListServers", "read/ListTags"})


@dataclass
class Watch:
    """
    Counts edges, writes the name of each to `record`, and ends the process or halts the task at the chosen ones.

    Halted tasks go on when the file `go` exists; the loops beside them never stand still.
    """

    record: Path
    dies_at: str = ""
    halts_at: Collection[str] = ()
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def go(self) -> Path:
        """The file that ends the halt."""
        return self.record.with_suffix(".go")

    async def passes(self, side: str, step: str) -> None:
        """The current task stands before or after a step."""
        origin = _ORIGIN.get()
        if origin is None or step in _SHARED_CALLS:
            return
        kind = f"{origin}: {side} {step}"
        self.counts[kind] += 1
        edge = f"{kind} #{self.counts[kind]}"
        self._write(edge)
        if edge == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if edge in self.halts_at:
            while not self.go.exists():  # noqa: ASYNC110  a file is all that the drill and this process share
                await asyncio.sleep(POLL_SECONDS)

    def _write(self, edge: str) -> None:
        # One write to a file opened for appending: what is there after a SIGKILL is whole lines.
        descriptor = os.open(self.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, f"{edge}\n".encode())
        finally:
            os.close(descriptor)


def install(watch: Watch) -> None:
    """Put an edge on each side of every step of this process."""
    for store in (engine._Sqlite, engine._Postgres):
        _replace(store, "begin", _commit_with_edges(store.begin, watch))
        _replace(store, "begin_one", _commit_with_edges(store.begin_one, watch, by_itself=True))
    _replace(KomodoClient, "_call", _with_edges(KomodoClient._call, watch, lambda _, area, kind, *__: f"{area}/{kind}"))
    _replace(Publisher, "_send", _with_edges(Publisher._send, watch, _publication))
    _replace(IncomingMessage, "ack", _with_edges(IncomingMessage.ack, watch, lambda *_: "ack"))
    _replace(Consumer, "_handle", _handle_with_origin(Consumer._handle))
    _replace(Telling, "run", _run_with_origin(Telling.run))


def _publication(publisher: Publisher, exchange: str, *_: Any) -> str:
    return f"publish {exchange.removeprefix(publisher._names.prefix)}"


def _replace(owner: type, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)


def _with_edges(step: Callable[..., Any], watch: Watch, name_of: Callable[..., str]) -> Callable[..., Any]:
    async def watched(*args: Any, **kwargs: Any) -> Any:
        name = name_of(*args)
        await watch.passes("before", name)
        result = await step(*args, **kwargs)
        await watch.passes("after", name)
        return result

    return watched


def _commit_with_edges(begin: Callable[..., Any], watch: Watch, *, by_itself: bool = False) -> Callable[..., Any]:
    """What commits `by_itself` may be committed by the end of the block, so its edge before that is at the beginning."""

    def watched(store: engine.Store) -> AbstractAsyncContextManager[engine.Connection]:
        return transaction(store, f"commit of {sys._getframe(1).f_code.co_name.lstrip('_')}")

    @asynccontextmanager
    async def transaction(store: engine.Store, name: str) -> AsyncIterator[engine.Connection]:
        async with begin(store) as connection:
            if by_itself:
                await watch.passes("before", name)
            yield connection
            if not by_itself:
                await watch.passes("before", name)
        await watch.passes("after", name)

    return watched


def _handle_with_origin(handle: Callable[..., Any]) -> Callable[..., Any]:
    async def handled(consumer: Consumer, message: AbstractIncomingMessage) -> None:
        _ORIGIN.set(str(consumer._queue))
        await handle(consumer, message)

    return handled


def _run_with_origin(run: Callable[..., Any]) -> Callable[..., Any]:
    async def told(telling: Telling, stop: asyncio.Event) -> None:
        _ORIGIN.set("telling")
        await run(telling, stop)

    return told


def main(environment: Mapping[str, str], log: Path, watch: Watch) -> None:
    """Become that worker: what `python -m worker` does with this environment, its output in `log`."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.environ.update(environment)
    install(watch)
    app.main()
