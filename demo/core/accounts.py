"""
Users, what they may do, and the limiter that counts failed log-ins per client address.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

from demo.core.ids import operator_id
from demo.core.resources import Json, Resource

LEVELS = {"None": 0, "Read": 1, "Execute": 2, "Write": 3}


@dataclass(slots=True, kw_only=True)
class Account:
    """
    A user with its one API key. `expires` is unix milliseconds, 0 for never.
    """

    id: str
    username: str
    key: str = ""
    secret: str = field(default="", repr=False)
    admin: bool = False
    enabled: bool = True
    expires: int = 0
    all: dict[str, str] = field(default_factory=dict)
    grants: dict[str, str] = field(default_factory=dict)

    def level(self, resource: Resource) -> int:
        """
        The highest of all that apply; admins have everything.
        """
        if self.admin:
            return LEVELS["Write"]
        return max(
            LEVELS[resource.base_permission],
            LEVELS[self.all.get(resource.kind, "None")],
            LEVELS[self.grants.get(resource.id, "None")],
        )

    def wire(self) -> Json:
        return {
            "_id": {"$oid": self.id},
            "username": self.username,
            "enabled": self.enabled,
            "super_admin": False,
            "admin": self.admin,
            "create_server_permissions": False,
            "create_build_permissions": False,
            "config": {"type": "Service", "data": {"description": ""}},
            "last_update_view": 0,
            "recents": {},
            "all": self.all,
            "updated_at": 0,
        }


PROCEDURE = Account(id=operator_id("Procedure"), username="Procedure", admin=True)
"""Who runs everything inside a Procedure."""


@dataclass
class Limiter:
    """
    Failed attempts by client address. Only failures count; a tripped address is refused whatever it sends.
    """

    failures: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def retry_in(self, address: str, *, now: float, attempts: int, window: float) -> int | None:
        """
        Return the whole seconds to wait, at least one, or None if the address may try.
        """
        failed = self._recent(address, now, window)
        if len(failed) < attempts:
            return None
        return max(1, round(failed[-attempts] + window - now))

    def fail(self, address: str, *, now: float, attempts: int, window: float) -> int:
        """
        Count a failure and return how many attempts are left.
        """
        failed = self._recent(address, now, window)
        failed.append(now)
        return max(0, attempts - len(failed))

    def _recent(self, address: str, now: float, window: float) -> deque[float]:
        failed = self.failures[address]
        while failed and failed[0] <= now - window:
            failed.popleft()
        return failed
