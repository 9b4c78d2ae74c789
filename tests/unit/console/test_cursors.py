"""The cursor of a list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from console.api.cursors import from_cursor, to_cursor


@given(st.integers(0, 7_258_118_400_000_000), st.uuids())
def test_a_cursor_is_read_as_it_was_written(microseconds: int, item: UUID) -> None:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)

    assert from_cursor(to_cursor(instant, str(item))) == (instant, str(item))


@pytest.mark.parametrize(
    "cursor", ["", "yesterday", "2026-01-01T00:00:00", "x.y", "9" * 40, "-" + "9" * 40, "9" * 5000]
)
def test_what_is_not_a_cursor_is_answered_422(cursor: str) -> None:
    with pytest.raises(HTTPException) as refused:
        from_cursor(cursor)

    assert refused.value.status_code == 422
