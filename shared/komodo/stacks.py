"""Komodo's stacks as the matcher needs them, cached for seconds; however many ask at once, Komodo is asked once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shared.komodo.client import KomodoClient, parsed
from shared.komodo.types import Stack

_EVERYTHING = {"templates": "Include"}


class StackCache:
    """The list of all stacks that our user may see, at most `seconds` old."""

    def __init__(self, komodo: KomodoClient, *, seconds: float) -> None:
        self._komodo = komodo
        self._seconds = seconds
        self._stacks: tuple[Stack, ...] = ()
        self._read_at = float("-inf")
        self._reading: asyncio.Task[tuple[Stack, ...]] | None = None

    async def get(self) -> tuple[Stack, ...]:
        """All stacks; raises what the client raises, and then the next caller asks again."""
        if time.monotonic() - self._read_at < self._seconds:
            return self._stacks
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="read-stacks")
            self._reading.add_done_callback(self._has_read)
        return await asyncio.shield(self._reading)

    async def find(self, stack_id: str) -> Stack | None:
        """The stack with this id, or None."""
        return next((stack for stack in await self.get() if stack.id == stack_id), None)

    def invalidate(self) -> None:
        """What is cached, and what a read on its way will say, is no longer true."""
        self._read_at = float("-inf")
        self._reading = None

    def _has_read(self, reading: asyncio.Task[tuple[Stack, ...]]) -> None:
        if self._reading is reading:
            self._reading = None
        if not reading.cancelled():
            reading.exception()

    async def _read(self) -> tuple[Stack, ...]:
        asked_at = time.monotonic()
        items, fulls, tags = await asyncio.gather(
            self._komodo.read("ListStacks", query=_EVERYTHING, limit=0),
            self._komodo.read("ListFullStacks", query=_EVERYTHING, limit=0),
            self._komodo.read("ListTags", query=None),
        )
        stacks = parsed("ListStacks", _join, (items, fulls, tags))
        if self._reading is asyncio.current_task():
            self._stacks, self._read_at = stacks, asked_at
        return stacks


def _join(answers: tuple[list[Any], list[Any], list[Any]]) -> tuple[Stack, ...]:
    items, fulls, tags = answers
    names = {tag["_id"]["$oid"]: tag["name"] for tag in tags}
    by_id = {full["_id"]["$oid"]: full for full in fulls}
    # A stack that was made between the two reads is in one of them alone; the next read has it.
    return tuple(Stack.from_json(item, by_id[item["id"]], names) for item in items if item["id"] in by_id)
