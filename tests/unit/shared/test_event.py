"""The event: it travels unchanged, its ids are derived, and nothing unknown is part of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.event import (
    Commit,
    GlobalListener,
    Image,
    Kind,
    ProcedureListener,
    Repository,
    StackListener,
    WebhookEvent,
    delivery_id_for,
    event_id_for,
)
from tests.builders import an_event, new_id

TEXT = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
REPOSITORIES = st.builds(Repository, key=st.none() | TEXT, full_name=TEXT, urls=st.lists(TEXT, max_size=2).map(tuple))
LISTENERS = st.one_of(
    st.builds(GlobalListener),
    st.builds(ProcedureListener, name=TEXT, branch=TEXT),
    st.builds(StackListener, name=TEXT, execution=st.sampled_from(["deploy", "refresh"])),
)
EVENTS = st.builds(
    WebhookEvent,
    id=TEXT,
    delivery_id=TEXT,
    receipt_id=TEXT,
    provider=TEXT,
    kind=st.sampled_from(Kind),
    listener=LISTENERS,
    repository=st.none() | REPOSITORIES,
    commits=st.lists(st.builds(Commit, id=TEXT, message=TEXT), max_size=2).map(tuple),
    changed_paths=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    changed_paths_complete=st.none() | st.booleans(),
    image=st.none() | st.builds(Image, registry=TEXT, name=TEXT, tag=st.none() | TEXT),
    received_at=st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    payload=JSON,
)


@given(EVENTS)
def test_what_travels_arrives_unchanged(event: WebhookEvent) -> None:
    assert WebhookEvent.from_bytes(event.to_bytes()) == event


@given(st.binary(max_size=200))
def test_of_any_bytes_only_an_event_is_one(raw: bytes) -> None:
    """Nothing but a ValidationError, which the worker knows as poison."""
    with pytest.raises(ValidationError):
        WebhookEvent.from_bytes(raw)


@given(JSON)
def test_of_any_json_only_an_event_is_one(value: Any) -> None:
    with pytest.raises(ValidationError):
        WebhookEvent.model_validate(value)


def test_a_key_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValidationError):
        an_event(signature="sha256=…")


def test_an_event_never_changes() -> None:
    with pytest.raises(ValidationError):
        an_event().branch = "other"  # type: ignore[misc]


def test_what_the_provider_does_not_say_is_none() -> None:
    event = WebhookEvent.model_validate(
        {"id": "1", "delivery_id": "2", "receipt_id": "3", "provider": "x", "kind": "push", "received_at": 0}
    )

    unknown = event.model_dump(exclude={"id", "delivery_id", "receipt_id", "provider", "kind", "received_at"})
    assert {name: value for name, value in unknown.items() if value is not None} == {
        "schema_version": 1,
        "hook": "global",
        "listener": {"kind": "global", "filters": {}},
        "source": "delivery",
        "commits": (),
        "deleted": False,
    }


def test_a_redelivery_has_the_same_ids() -> None:
    first = delivery_id_for("global", "github", "abc")

    assert first == delivery_id_for("global", "github", "abc")
    assert event_id_for(first, 0) == event_id_for(first, 0)
    assert UUID(first).version == 5


@given(st.lists(st.tuples(*[st.text("ab/ -", max_size=3)] * 3), unique=True, min_size=2))
def test_different_deliveries_have_different_ids(parts: list[tuple[str, str, str]]) -> None:
    assert len({delivery_id_for(*each) for each in parts}) == len(parts)


def test_the_events_of_a_delivery_have_ids_of_their_own() -> None:
    delivery = new_id()

    assert len({delivery, *(event_id_for(delivery, position) for position in range(5))}) == 6
