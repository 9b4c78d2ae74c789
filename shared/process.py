"""Run until a signal: one task group, one stop event that loops watch; cancelling is the second resort."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import uvloop

from shared import logs
from shared.errors import KgwError, Misconfigured, Transient, Unavailable
from shared.settings import Settings, load

S = TypeVar("S", bound=Settings)

MISCONFIGURED, UNREACHABLE, FAILED = 78, 69, 1

STARTED_SECONDS = 3.0  # enough to open the store and the connections, which leaves something behind as well


def main(kind: type[S], run: Callable[[S, asyncio.Event], Awaitable[None]]) -> None:
    """
    Read the settings and run `run(settings, stop)` until a signal.

    An error of ours is one line on standard error, and the exit code says which kind it was (sysexits.h: 78 configuration, 69 unavailable).
    """
    try:
        settings = load(kind)
        logs.configure(settings.log_level, settings.log_format)
        run_until_signal(partial(run, settings))
    except KgwError as error:
        print(f"kgw: {error.reason}", file=sys.stderr)  # noqa: T201
        sys.exit(exit_code(error))


def exit_code(error: KgwError) -> int:
    """How a process ends that could not go on."""
    match error:
        case Misconfigured():
            return MISCONFIGURED
        case Unavailable() | Transient():
            return UNREACHABLE
        case _:
            return FAILED


def run_until_signal(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """
    Run `run(stop)`; SIGINT and SIGTERM set `stop`, a second one ends the process the hard way.

    Raises the first of our errors, out of whatever task groups it went through.
    """
    _settle_memory()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(run))
    except* KgwError as errors:
        raise _first(errors) from errors


def _first(errors: BaseExceptionGroup[KgwError]) -> KgwError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, KgwError) else Unavailable(str(found))


async def _until_signal(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    loop.call_later(STARTED_SECONDS, _give_back)
    await run(stop)


def _settle_memory() -> None:
    """
    Give back what importing has left, and keep what it made out of every later collection: 4 MB less, and shorter pauses.
    """
    gc.collect()
    gc.freeze()
    _give_back()


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)
