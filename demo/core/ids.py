"""
MongoDB ObjectIds as Komodo uses them: 24 hex digits, the first eight of which are the unix second they were made in.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from itertools import count

WORLD_EPOCH = 1_786_400_000
"""The second that every id of a world file carries, so that the same world has the same ids each time."""

_SHAPE = re.compile(r"[0-9a-fA-F]{24}")

BUILT_IN_OPERATORS = {
    "System": 0,
    "Procedure": 1,
    "Action": 2,
    "Git Webhook": 3,
    "Auto Redeploy": 4,
    "Resource Sync": 5,
    "Stack Wizard": 6,
    "Build Manager": 7,
    "Repo Manager": 8,
}


def operator_id(name: str) -> str:
    """
    Return the fixed id of one of Komodo's own users.
    """
    return f"{BUILT_IN_OPERATORS[name]:024x}"


def is_object_id(text: str) -> bool:
    return _SHAPE.fullmatch(text) is not None


def world_id(kind: str, name: str) -> str:
    """
    Return the same id for the same resource of every world that has it.
    """
    digest = hashlib.sha256(f"{kind}:{name}".encode()).digest()
    return f"{WORLD_EPOCH:08x}{digest[:8].hex()}"


@dataclass
class ObjectIds:
    """
    Gives out ids that sort by time and then by order of making.
    """

    machine: str = "c0de0dec0d"
    _numbers: count[int] = field(default_factory=count)

    def make(self, now_ms: int) -> str:
        return f"{now_ms // 1000:08x}{self.machine}{next(self._numbers) & 0xFFFFFF:06x}"
