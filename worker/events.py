"""The events of the runs in hand: a run of many actions reads and parses its event once per worker, not once per action."""

from __future__ import annotations

from collections import OrderedDict

from shared.event import WebhookEvent
from shared.store import deliveries
from shared.store.engine import Connection

REMEMBERED = 64


class Events:
    """The events of the last runs; an event never changes."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, WebhookEvent] = OrderedDict()

    async def of_run(self, db: Connection, run_id: str) -> WebhookEvent:
        """The event that the run was started for."""
        event = self._events.get(run_id)
        if event is None:
            event = await deliveries.event_of_run(db, run_id)
        self.remember(run_id, event)
        return event

    def remember(self, run_id: str, event: WebhookEvent) -> None:
        """Whoever has just planned the run knows its event."""
        self._events[run_id] = event
        self._events.move_to_end(run_id)
        while len(self._events) > REMEMBERED:
            self._events.popitem(last=False)
