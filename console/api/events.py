"""The answer that streams a run's or a delivery's results as server-sent events."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, HTTPException
from fastapi.responses import StreamingResponse

from console.context import Context
from console.streams import Read, stream

LastEventId = Annotated[str, Header(alias="Last-Event-ID", description="Go on after this event.")]

# nginx would hold events back until its buffer is full.
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    media_type = "text/event-stream"


def event_stream(context: Context, subject: str, read: Read, last_event_id: str) -> EventStream:
    """The subject's events as they come; 503 while there are too many followers."""
    if context.following.is_full:
        raise HTTPException(503, "too many streams are open", {"Retry-After": "5"})
    return EventStream(
        stream(context.store, context.following, subject, read, last_event_id=last_event_id), headers=_HEADERS
    )
