"""Results as CloudEvents: what subscribers read, and what comes back from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.results import ENDS_DELIVERY, ENDS_RUN, Result, ResultType

TEXT = st.text(max_size=40)
RESULTS = st.builds(
    Result,
    id=st.uuids().map(str),
    type=st.sampled_from(ResultType),
    stream=st.uuids().map(str),
    sequence=st.integers(1, 10**10 - 1),
    time=st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    delivery_id=st.uuids().map(str),
    run_id=st.none() | st.uuids().map(str),
    data=st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT, max_size=4),
)


def a_result(**overrides: Any) -> Result:
    defaults = {
        "id": "id",
        "type": ResultType.ACTION_FAILED,
        "stream": "run",
        "sequence": 7,
        "time": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "delivery_id": "delivery",
        "run_id": "run",
        "data": {"reason": "why"},
    }
    return Result.model_validate(defaults | overrides)


def test_a_result_is_a_structured_cloudevent() -> None:
    assert a_result().to_cloudevent() == {
        "specversion": "1.0",
        "id": "id",
        "source": "/komodo-global-webhook",
        "type": "komodo.webhook.action.failed",
        "subject": "run",
        "time": "2026-03-01T12:00:00.000000+00:00",
        "datacontenttype": "application/json",
        "sequence": "0000000007",
        "deliveryid": "delivery",
        "runid": "run",
        "data": {"reason": "why"},
    }


def test_a_result_of_a_delivery_names_no_run() -> None:
    assert "runid" not in a_result(run_id=None).to_cloudevent()


@given(RESULTS)
def test_what_was_written_is_read_back(result: Result) -> None:
    assert Result.from_cloudevent(json.loads(json.dumps(result.to_cloudevent()))) == result


@given(RESULTS)
def test_the_names_of_the_attributes_are_those_that_cloudevents_allows(result: Result) -> None:
    """Lower-case letters and digits, at most 20: CloudEvents 1.0, "Naming Conventions"."""
    assert all(name.isalnum() and name.islower() and len(name) <= 20 for name in result.to_cloudevent())


@given(st.lists(st.integers(1, 10**10 - 1), min_size=2))
def test_sequences_sort_as_text_as_their_numbers_do(numbers: list[int]) -> None:
    texts = [a_result(sequence=number).to_cloudevent()["sequence"] for number in numbers]

    assert sorted(texts) == [a_result(sequence=number).to_cloudevent()["sequence"] for number in sorted(numbers)]


@pytest.mark.parametrize("missing", ["id", "type", "subject", "sequence", "time", "deliveryid", "data"])
def test_an_event_that_lacks_something_is_refused(missing: str) -> None:
    event = a_result().to_cloudevent()
    del event[missing]

    with pytest.raises(KeyError):
        Result.from_cloudevent(event)


@pytest.mark.parametrize("wrong", [{"type": "komodo.webhook.nothing"}, {"sequence": "x"}, {"time": "x"}, {"data": 1}])
def test_an_event_that_is_none_of_ours_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  of which ValidationError is one
        Result.from_cloudevent(a_result().to_cloudevent() | wrong)


def test_a_result_never_changes() -> None:
    with pytest.raises(ValidationError):
        a_result().sequence = 8  # type: ignore[misc]


def test_only_runs_end_runs_and_only_deliveries_end_deliveries() -> None:
    assert all(kind.startswith("run.") for kind in ENDS_RUN)
    assert all(kind.startswith("delivery.") for kind in ENDS_DELIVERY)
