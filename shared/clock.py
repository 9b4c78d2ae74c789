"""The one place that reads the wall clock; everything else is handed `now`."""

from datetime import UTC, datetime


def now() -> datetime:
    """This instant, aware, in UTC."""
    return datetime.now(UTC)


def from_ms(milliseconds: int) -> datetime:
    """Komodo's unix milliseconds as an aware datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_ms(instant: datetime) -> int:
    """An aware datetime as unix milliseconds."""
    return int(instant.timestamp() * 1000)
