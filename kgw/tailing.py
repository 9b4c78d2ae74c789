"""Following a run or a delivery on a terminal or for a program, and the word for how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import orjson
import typer

from kgw.remote import connected, follow
from shared.results import TYPE_PREFIX
from shared.settings import CliSettings

Event = dict[str, Any]
Show = Callable[[Event], None]

_COLOURS = {"succeeded": "green", "failed": "red", "timed_out": "red", "unchanged": "cyan", "retrying": "yellow"}


class Ending(Enum):
    """How what was followed has ended."""

    SUCCEEDED = auto()
    FAILED = auto()
    NOTHING_MATCHED = auto()
    TIMED_OUT = auto()


async def watch(settings: CliSettings, subject: str, show: Show, *, timeout: float | None) -> Ending:
    """Show every result until the subject is over, or `timeout` seconds have passed."""
    kinds: list[str] = []
    worked = False
    try:
        async with asyncio.timeout(timeout), connected(settings) as client:
            async for event in follow(client, subject):
                show(event)
                kinds.append(_kind(event))
                worked = worked or _kind(event) == "action.queued"
    except TimeoutError:
        return Ending.TIMED_OUT
    if "run.failed" in kinds or "run.cancelled" in kinds:
        return Ending.FAILED
    return Ending.SUCCEEDED if worked else Ending.NOTHING_MATCHED


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
    word = typer.style(f"{kind:<20}", fg=_COLOURS.get(kind.partition(".")[2]))
    typer.echo(f"{event['time'][11:23]}  {word} {about:<20} {detail}".rstrip())


def _kind(event: Event) -> str:
    return str(event["type"]).removeprefix(TYPE_PREFIX)
