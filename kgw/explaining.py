"""Showing why a delivery did what it did: the sentence, and the table under it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
import typer

from kgw.remote import connected, fetch
from shared.settings import CliSettings

_COLUMNS = ("procedure", "stage", "stack", "answer", "predicate", "wanted", "found", "reason")
MAX_CELL = 60


async def explanation(settings: CliSettings, delivery: str, stack: str | None) -> dict[str, Any]:
    """What the console says; raises what `fetch` raises."""
    async with connected(settings) as client:
        return await fetch(
            client, f"deliveries/{quote(delivery, safe='')}/explanation", {"stack": stack} if stack else {}
        )


def show_json(told: dict[str, Any]) -> None:
    """As the API has it."""
    typer.echo(orjson.dumps(told).decode())


def show_table(told: dict[str, Any]) -> None:
    """For a person."""
    typer.echo(told["sentence"])
    rows = [_COLUMNS, *(tuple(_cell(row, name) for name in _COLUMNS) for row in told["rows"])]
    if len(rows) == 1:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    typer.echo()
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if name == "stack" and row["count"] > 1:
        return f"{row['count']} others"
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"
