"""How an attempt ended, as values; and what one of Komodo's updates means. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.komodo.types import Update, failure_text, is_busy, is_forbidden, is_shutdown, is_unreachable
from shared.states import Happening
from worker.retries import Cause


@dataclass(frozen=True)
class Settled:
    """The action is over. `detail` is what results show: hashes, services, Komodo's update."""

    happening: Happening
    reason: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unsettled:
    """The attempt is over, the action perhaps not: `retries.decide` says."""

    cause: Cause
    reason: str


@dataclass(frozen=True)
class Unfinished:
    """The attempt goes on, but not in this message: whoever takes the successor looks up what Komodo has begun."""

    seconds: float
    reason: str


Outcome = Settled | Unsettled | Unfinished


def of_update(update: Update) -> Settled | Unsettled:
    """What a complete update says; `success` alone is not to be believed before that (I6)."""
    if update.success:
        return Settled(Happening.SUCCEED, detail={"update": update.id})
    reason = failure_text(update)
    for applies, cause in (
        (is_busy, Cause.BUSY),
        (is_shutdown, Cause.ABORTED),
        (is_unreachable, Cause.UNREACHABLE),
        (is_forbidden, Cause.REJECTED),
    ):
        if applies(update):
            return Unsettled(cause, reason)
    return Unsettled(Cause.FAILED, reason)
