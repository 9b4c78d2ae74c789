"""
Komodo's Updates: the records of executions, their bounded store, and those who listen to it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from demo.core.queries import matches_filter
from demo.core.resources import Json

KEPT = 20_000
CHANNEL = 100
"""How many unsent items a websocket may have before Core stops sending to it for good, without closing it."""
PAGE = 100
ERROR_SPAN = '<span style="color: var(--mantine-color-red-6)">ERROR</span>'
MUTED_SPAN = '<span style="color: var(--mantine-color-dimmed)">'


def log(
    stage: str, now_ms: int, *, command: str = "", stdout: str = "", stderr: str = "", success: bool = True
) -> Json:
    return {
        "stage": stage,
        "command": command,
        "stdout": stdout,
        "stderr": stderr,
        "success": success,
        "start_ts": now_ms,
        "end_ts": now_ms,
    }


def error_log(stage: str, message: str, now_ms: int) -> Json:
    """
    Write an error as Komodo does: with HTML in it.
    """
    return log(stage, now_ms, stderr=f"{ERROR_SPAN}: {message}", success=False)


@dataclass(slots=True, kw_only=True)
class Update:
    """
    `success` is true from the start and means nothing before `status` is Complete. An empty id was never stored.
    """

    id: str
    operation: str
    start_ts: int
    operator: str
    username: str
    target_type: str
    target_id: str
    success: bool = True
    status: str = "InProgress"
    end_ts: int | None = None
    commit_hash: str = ""
    logs: list[Json] = field(default_factory=list)

    def wire(self) -> Json:
        """
        The full form; empty `_id` and `commit_hash` are left out.
        """
        head: Json = {"_id": {"$oid": self.id}} if self.id else {}
        tail: Json = {"commit_hash": self.commit_hash} if self.commit_hash else {}
        return {
            **head,
            "operation": self.operation,
            "start_ts": self.start_ts,
            "success": self.success,
            "operator": self.operator,
            "target": {"type": self.target_type, "id": self.target_id},
            "logs": self.logs,
            "end_ts": self.end_ts,
            "status": self.status,
            **tail,
        }

    def item(self) -> Json:
        """
        The list form: neither logs nor `end_ts`.
        """
        return {
            "id": self.id,
            "operation": self.operation,
            "start_ts": self.start_ts,
            "success": self.success,
            "username": self.username,
            "operator": self.operator,
            "target": {"type": self.target_type, "id": self.target_id},
            "status": self.status,
        }

    def finish(self, now_ms: int) -> None:
        """
        Complete it; success is that of all logs.
        """
        self.success = all(entry["success"] for entry in self.logs)
        self.end_ts = now_ms
        self.status = "Complete"


@dataclass
class Updates:
    """
    The newest 20 000 updates in order of their start, also by target.
    """

    by_id: OrderedDict[str, Update] = field(default_factory=OrderedDict)
    by_target: dict[str, OrderedDict[str, Update]] = field(default_factory=dict)

    def add(self, update: Update) -> None:
        self.by_id[update.id] = update
        self.by_target.setdefault(update.target_id, OrderedDict())[update.id] = update
        if len(self.by_id) > KEPT:
            _, oldest = self.by_id.popitem(last=False)
            self.by_target[oldest.target_id].pop(oldest.id, None)

    def in_progress(self) -> list[Update]:
        return [update for update in self.by_id.values() if update.status == "InProgress"]

    def matching(self, wanted: Json) -> Iterator[Update]:
        """
        Yield what the MongoDB filter lets through, newest first.
        """
        for update in self._candidates(wanted):
            if not wanted or matches_filter(wanted, update.wire()):
                yield update

    def _candidates(self, wanted: Json) -> Iterator[Update]:
        """
        Use the id or target of a filter as an index where it has one.
        """
        if (ids := _wanted_ids(wanted.get("_id"))) is not None:
            found = [self.by_id[oid] for oid in ids if oid in self.by_id]
            return iter(sorted(found, key=lambda update: update.id, reverse=True))
        target = wanted.get("target.id")
        if isinstance(target, str):
            return reversed(self.by_target.get(target, OrderedDict()).values())
        return reversed(self.by_id.values())


def _wanted_ids(condition: object) -> set[str] | None:
    """
    Read the ids of `{"$oid": …}` or `{"$in": [{"$oid": …}, …]}`; None where the condition is something else.
    """
    if not isinstance(condition, dict):
        return None
    listed = condition.get("$in", [condition])
    if not isinstance(listed, list) or not all(isinstance(entry, dict) and "$oid" in entry for entry in listed):
        return None
    return {str(entry["$oid"]) for entry in listed}


class Listener:
    """
    One websocket's channel. `next` returns None when Core goes away.
    """

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.lost = False
        self._items: asyncio.Queue[Json | None] = asyncio.Queue()

    def offer(self, item: Json) -> None:
        if self.lost or self._items.qsize() >= CHANNEL:
            self.lost = True
            return
        self._items.put_nowait(item)

    def close(self) -> None:
        self._items.put_nowait(None)

    async def next(self) -> Json | None:
        return await self._items.get()
