"""One attempt while it runs: what an execution may do with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shared import clock
from shared.errors import KgwError, Transient, Unknown
from shared.event import WebhookEvent
from shared.states import Happening
from shared.store import actions, attempts
from shared.store.actions import Action
from shared.store.attempts import Attempt
from worker.holding import execute_seconds
from worker.outcome import Outcome, Settled, Unfinished, of_update
from worker.tools import Tools


class LeaseLost(KgwError):
    """Another worker has gone on with this attempt; what this one knows is no longer wanted."""


@contextmanager
def to_be_looked_up() -> Iterator[None]:
    """
    Around whatever comes after an execution may have begun: a failure there must not begin another one (I2).

    A `Transient` becomes `Unknown`, so that whoever goes on looks for Komodo's update first.
    """
    try:
        yield
    except Transient as error:
        raise Unknown(error.reason) from error


@dataclass(frozen=True)
class Running:
    """
    An attempt of an action, its event, and what it needs to call Komodo.

    `previous_outcome` is how the attempt before it ended. `notes` is what earlier attempts, or an earlier worker, have left to know.
    """

    tools: Tools
    action: Action
    attempt: Attempt
    event: WebhookEvent
    previous_outcome: str | None
    notes: dict[str, Any] = field(default_factory=dict)

    async def execute_and_wait(self, kind: str, params: dict[str, Any]) -> Outcome:
        """
        Call Komodo's execute, once, remember its update, and wait for that.

        Raises `LeaseLost` when this process may not make the call any more.
        """
        call_seconds = execute_seconds(self.tools.settings.lease_seconds)
        if not self.tools.holding.is_held(self.action.id, for_seconds=call_seconds):
            raise LeaseLost
        update = await self.tools.komodo.execute(kind, **params)
        with to_be_looked_up():
            await self.note_update(update.id)
        return await self.wait(update.id)

    async def note(self, **notes: Any) -> None:
        """Leave something to know to whoever goes on with the action."""
        self.notes.update(notes)
        async with self.tools.store.begin_one() as db:
            await actions.note(db, self.action.id, self.notes)

    async def note_update(self, update_id: str) -> None:
        """From here on anyone finds what this attempt has begun."""
        async with self.tools.store.begin_one() as db:
            await attempts.note_update(db, self.attempt.action_id, self.attempt.number, update_id)

    async def wait(self, update_id: str) -> Outcome:
        """Wait for the update until the attempt's deadline, or as long as one message may be held."""
        deadline = self.attempt.deadline_at
        until = min(deadline, clock.now() + timedelta(seconds=self.tools.settings.hand_over_after))
        with to_be_looked_up():
            update = await self.tools.updates.wait(update_id, until=until)
        if update is not None:
            return of_update(update)
        if clock.now() < deadline:
            return Unfinished(1.0, "Komodo is still at work")
        return Settled(Happening.TIME_OUT, "Komodo's update was not complete by the deadline", {"update": update_id})
