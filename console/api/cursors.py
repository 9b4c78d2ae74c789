"""Where a page of a list ends: the instant and the id of its last item, as one opaque word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import HTTPException

Position = tuple[datetime, str]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_cursor(instant: datetime, item_id: str) -> str:
    """The cursor after which the next page begins."""
    return f"{(instant - _EPOCH) // _MICROSECOND}.{item_id}"


def from_cursor(cursor: str | None) -> Position | None:
    """Read what `to_cursor` wrote; anything else is answered 422."""
    if cursor is None:
        return None
    refusal = HTTPException(422, "before: not a cursor; take the `next` of the page before")
    microseconds, _, item_id = cursor.partition(".")
    if "\0" in item_id:  # PostgreSQL has no form for it
        raise refusal
    try:
        return _EPOCH + int(microseconds) * _MICROSECOND, item_id
    except (ValueError, OverflowError):
        raise refusal from None
