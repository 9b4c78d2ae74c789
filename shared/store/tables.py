"""
Every table of the store. The migrations build the same; a test compares them.

Instants are stored as unix microseconds, so that both databases keep order and precision alike; JSON is text.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class Instant(TypeDecorator[datetime]):
    """An aware datetime as unix microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Raises `ValueError` for a naive datetime."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime can not be stored")
        return round(value.timestamp() * 1_000_000)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The instant in UTC."""
        return None if value is None else datetime.fromtimestamp(value / 1_000_000, UTC)


class Json(TypeDecorator[Any]):
    """A JSON value as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Raises `TypeError` for what JSON has no form for."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """The value as it was stored."""
        return None if value is None else orjson.loads(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = String(36)
_NAME = String(200)

procedures = Table(
    "procedures",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
)

procedure_versions = Table(
    "procedure_versions",
    metadata,
    Column("procedure_id", _ID, ForeignKey("procedures.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("definition", Json, nullable=False),
    Column("saved_at", Instant, nullable=False),
)

hooks = Table(
    "hooks",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("provider", String(40)),
    Column("secrets", Json, nullable=False),
    Column("repositories", Text, nullable=False),
    Column("images", Text, nullable=False),
    Column("max_body_bytes", Integer),
    Column("options", Json),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("disabled", Boolean, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("hook", _NAME, nullable=False),
    Column("provider", String(40), nullable=False),
    Column("provider_delivery_id", Text),
    Column("received_at", Instant, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("body_sha256", Text),
    Index(None, "received_at"),
    Index(None, "hook", "body_sha256", "received_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("delivery_id", _ID, ForeignKey("deliveries.id"), nullable=False),
    Column("seen", Integer, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("body", Json, nullable=False),
    Index(None, "delivery_id"),
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("event_id", _ID, ForeignKey("events.id"), primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("trace", Json),
    Index(None, "event_id"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("delivery_id", _ID, ForeignKey("deliveries.id"), nullable=False),
    Column("event_id", _ID, ForeignKey("events.id"), nullable=False),
    Column("receipt_id", _ID, nullable=False),
    Column("procedure_name", Text, nullable=False),
    Column("procedure_id", _ID),
    Column("procedure_version", Integer),
    Column("definition", Json, nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", Text),
    Column("sequence", Integer, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index(None, "delivery_id"),
    Index(None, "event_id"),
    Index(
        "ix_runs_open",
        "created_at",
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)

stages = Table(
    "stages",
    metadata,
    Column("run_id", _ID, ForeignKey("runs.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", Text),
    Column("trace", Json),
    Column("started_at", Instant),
    Column("ended_at", Instant),
)

actions = Table(
    "actions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    Column("stage", Integer, nullable=False),
    Column("execution", Integer, nullable=False),
    Column("type", String(60), nullable=False),
    Column("params", Json, nullable=False),
    Column("policy", Json, nullable=False),
    Column("resource", Text, nullable=False),
    Column("resource_name", Text, nullable=False),
    Column("effect", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("delays", Integer, nullable=False),
    Column("reason", Text),
    Column("outcome", Json),
    Column("received_at", Instant, nullable=False),
    Column("queued_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Index(None, "run_id", "stage"),
    Index(None, "resource", "effect", "received_at"),
    Index(
        "ix_actions_open",
        "state",
        "due_at",
        sqlite_where=text("state IN ('queued', 'waiting', 'running')"),
        postgresql_where=text("state IN ('queued', 'waiting', 'running')"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("action_id", _ID, ForeignKey("actions.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("worker", _ID, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("deadline_at", Instant, nullable=False),
    Column("update_id", String(40)),
    Column("ended_at", Instant),
    Column("outcome", String(20)),
    Column("reason", Text),
    Index(None, "update_id"),
)

leases = Table(
    "leases",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("action_id", _ID, nullable=False),
    Column("holder", _ID, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "holder"),
)

results = Table(
    "results",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("stream", _ID, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("type", String(40), nullable=False),
    Column("delivery_id", _ID, ForeignKey("deliveries.id"), nullable=False),
    Column("run_id", _ID),
    Column("data", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("published", Boolean, nullable=False),
    UniqueConstraint("stream", "sequence"),
    Index(None, "delivery_id"),
    Index(
        "ix_results_unpublished",
        "stream",
        "sequence",
        sqlite_where=text("published = 0"),
        postgresql_where=text("NOT published"),
    ),
)
