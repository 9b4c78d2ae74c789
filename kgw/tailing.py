"""Following a run or a delivery on a terminal or for a program, and the word for how it ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import orjson
import typer

from kgw.remote import PAUSE_SECONDS, connected, find, follow, state
from shared.results import TYPE_PREFIX
from shared.settings import CliSettings

Event = dict[str, Any]
Show = Callable[[Event], None]

_COLOURS = {"succeeded": "green", "failed": "red", "timed_out": "red", "unchanged": "cyan", "retrying": "yellow"}
_STILL_OPEN = frozenset({"queued", "running"})
_FAILED = frozenset({"failed", "cancelled"})


class Ending(Enum):
    """How what was followed has ended."""

    SUCCEEDED = auto()
    FAILED = auto()
    NOTHING_MATCHED = auto()
    TIMED_OUT = auto()


async def watch(settings: CliSettings, subject: str, show: Show, *, timeout: float | None) -> Ending:
    """
    Show every result until the subject is over, or `timeout` seconds have passed.

    How it ended is what the console says in the end: a run that failed may have been followed by one that succeeded.
    """
    last_id, has_worked = "", False
    try:
        async with asyncio.timeout(timeout), connected(settings) as client:
            path = await find(client, subject)
            while True:
                async for told in follow(client, path, last_id):
                    last_id = told.id
                    show(told.event)
                    has_worked = has_worked or _kind(told.event) == "action.queued"
                reached = await state(client, path)
                if reached not in _STILL_OPEN:
                    return _ending(reached, has_worked=has_worked)
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        return Ending.TIMED_OUT


def show_json(event: Event) -> None:
    """The CloudEvent on one line."""
    typer.echo(orjson.dumps(event).decode())


def show_line(event: Event) -> None:
    """One line for a person."""
    kind, data = _kind(event), event["data"]
    about = data.get("resource") or data.get("name") or data.get("procedure") or data.get("repository") or ""
    outcome = data.get("outcome") or {}
    words = [data.get("reason") or outcome.get("reason")]
    if outcome.get("deployed_hash"):
        words.insert(0, f"at {outcome['deployed_hash']}")
    if data.get("reasons"):
        words += [f"{name}: {why}" for name, why in data["reasons"].items()]
    detail = ", ".join(str(word) for word in words if word)
    line = _printable(f"{about:<20} {detail}".rstrip())
    typer.echo(f"{_printable(event['time'][11:23])}  {_coloured(kind)} {line}")


def _ending(reached: str, *, has_worked: bool) -> Ending:
    if reached in _FAILED:
        return Ending.FAILED
    return Ending.SUCCEEDED if has_worked else Ending.NOTHING_MATCHED


def _coloured(kind: str) -> str:
    word = _printable(f"{kind:<20}")
    colour = _COLOURS.get(kind.partition(".")[2])
    # https://no-color.org
    return word if colour is None or os.environ.get("NO_COLOR") else typer.style(word, fg=colour)


def _printable(text: str) -> str:
    # Names and reasons come from outside; a terminal obeys control characters.
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _kind(event: Event) -> str:
    return str(event["type"]).removeprefix(TYPE_PREFIX)
