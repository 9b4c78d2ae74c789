"""Komodo's stacks as the matcher needs them, cached for seconds; however many ask at once, Komodo is asked once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shared.komodo.client import KomodoClient, parsed
from shared.komodo.types import Server, Stack
from shared.matching.index import StackIndex

_EVERYTHING = {"templates": "Include"}


class StackCache:
    """The list of all stacks that our user may see, at most `seconds` old."""

    def __init__(self, komodo: KomodoClient, *, seconds: float) -> None:
        self._komodo = komodo
        self._seconds = seconds
        self._stacks = StackIndex()
        self._read_at = float("-inf")
        self._reading: asyncio.Task[StackIndex] | None = None

    async def get(self) -> StackIndex:
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

    def _has_read(self, reading: asyncio.Task[StackIndex]) -> None:
        if self._reading is reading:
            self._reading = None
        if not reading.cancelled():
            reading.exception()

    async def _read(self) -> StackIndex:
        asked_at = time.monotonic()
        # Alone and first: with a wrong key this is the one failure that Komodo's limiter counts.
        tags = await self._komodo.read("ListTags", query=None)
        items, fulls, servers = await asyncio.gather(
            self._komodo.read("ListStacks", query=_EVERYTHING, limit=0),
            self._komodo.read("ListFullStacks", query=_EVERYTHING, limit=0),
            self._komodo.read("ListServers", query=_EVERYTHING, limit=0),
        )
        stacks = parsed("ListStacks", _join, (items, fulls, servers, tags))
        if self._reading is asyncio.current_task():
            self._stacks, self._read_at = stacks, asked_at
        return stacks


def _join(answers: tuple[list[Any], list[Any], list[Any], list[Any]]) -> StackIndex:
    items, fulls, servers, tags = answers
    names = {tag["_id"]["$oid"]: tag["name"] for tag in tags}
    by_id = {full["_id"]["$oid"]: full for full in fulls}
    hosts = {item["id"]: Server.from_json(item, names) for item in servers}
    # A stack that was made between the two reads is in one of them alone; the next read has it.
    return StackIndex(
        Stack.from_json(item, by_id[item["id"]], names, hosts.get(item["info"].get("server_id") or ""))
        for item in items
        if item["id"] in by_id
    )
