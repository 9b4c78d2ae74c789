"""What has been sent of each stream, and when all of it has come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.streams import Progress
from shared.results import Result, ResultType
from tests.builders import NOON, new_id

DELIVERY, RUN, OTHER_RUN = new_id(), new_id(), new_id()


def told(kind: ResultType, sequence: int, run: str | None = None, **data: Any) -> Result:
    """One result of the delivery's stream, or of the run's."""
    return Result(
        id=new_id(),
        type=kind,
        stream=run or DELIVERY,
        sequence=sequence,
        time=NOON,
        delivery_id=DELIVERY,
        run_id=run,
        data=data,
    )


def started(run: str, sequence: int = 1) -> Result:
    """A result that ends nothing."""
    return told(ResultType.RUN_STARTED, sequence, run)


ACCEPTED = told(ResultType.DELIVERY_ACCEPTED, 1, procedures=["web", "db"])


def test_the_next_of_a_stream_is_the_one_after_what_is_known() -> None:
    progress = Progress(RUN)
    progress.take(started(RUN, 1))

    seen = [started(RUN, sequence) for sequence in (1, 2, 4)]
    assert [progress.position(result) for result in seen] == [-1, 0, 2]


def test_every_stream_begins_at_one() -> None:
    progress = Progress(DELIVERY)
    progress.take(ACCEPTED)

    assert progress.position(started(RUN, 1)) == 0
    assert progress.position(started(OTHER_RUN, 2)) > 0


def test_a_client_without_an_id_gets_everything() -> None:
    progress = Progress(RUN)

    assert [progress.take(started(RUN, sequence)) for sequence in (1, 2, 3)] == [True, True, True]
    assert progress.event_id == f"{RUN}:3"


def test_what_the_client_has_is_known_and_not_sent_again() -> None:
    progress = Progress(RUN, f"{RUN}:2")

    assert [progress.take(started(RUN, sequence)) for sequence in (1, 2, 3)] == [False, False, True]
    assert progress.known == {RUN: 3}


@given(st.dictionaries(st.uuids().map(str), st.integers(1, 999_999), min_size=1, max_size=20))
def test_an_id_of_several_streams_comes_back_as_it_was_sent(sent: dict[str, int]) -> None:
    event_id = ",".join(f"{stream}:{sequence}" for stream, sequence in sent.items())
    again = Progress(DELIVERY, event_id)

    assert again.event_id == event_id
    for run, sequence in sent.items():
        assert again.take(started(run, sequence)) is False
        assert again.take(started(run, sequence + 1)) is True


@given(st.text(max_size=200) | st.from_regex(r"[0-9a-f:,²-]{0,100}", fullmatch=True))
def test_an_id_that_is_none_of_ours_leaves_nothing_out(last_event_id: str) -> None:
    progress = Progress(RUN, last_event_id)

    assert progress.take(started(RUN, 1)) is True


@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_an_id_without_end_is_read_up_to_a_bound(size: int) -> None:
    progress = Progress(RUN, f"{OTHER_RUN}:1," * size)

    assert progress.event_id == f"{OTHER_RUN}:1"


@pytest.mark.parametrize("end", [ResultType.RUN_SUCCEEDED, ResultType.RUN_FAILED, ResultType.RUN_CANCELLED])
def test_a_run_is_over_with_its_end(end: ResultType) -> None:
    progress = Progress(RUN)
    progress.take(started(RUN, 1))
    assert not progress.is_over

    progress.take(told(end, 2, RUN))

    assert progress.is_over


def test_a_delivery_is_over_when_all_of_its_procedures_have_ended() -> None:
    progress = Progress(DELIVERY)
    over = []
    for result in (
        ACCEPTED,
        started(RUN),
        told(ResultType.RUN_SUCCEEDED, 2, RUN),
        started(OTHER_RUN),
        told(ResultType.RUN_FAILED, 2, OTHER_RUN),
    ):
        progress.take(result)
        over.append(progress.is_over)

    assert over == [False, False, False, False, True]


def test_a_run_that_ends_before_the_delivery_is_known_is_not_all() -> None:
    progress = Progress(DELIVERY)
    progress.take(told(ResultType.RUN_SUCCEEDED, 1, RUN))
    assert not progress.is_over

    progress.take(ACCEPTED)
    assert not progress.is_over

    progress.take(told(ResultType.RUN_SUCCEEDED, 1, OTHER_RUN))
    assert progress.is_over


@pytest.mark.parametrize("decision", [ResultType.DELIVERY_UNMATCHED, ResultType.DELIVERY_DUPLICATE])
def test_a_delivery_without_runs_is_over_at_once(decision: ResultType) -> None:
    progress = Progress(DELIVERY)
    assert not progress.is_over

    progress.take(told(decision, 1))

    assert progress.is_over


def test_a_duplicate_does_not_end_the_runs_of_the_first() -> None:
    progress = Progress(DELIVERY)
    progress.take(ACCEPTED)
    progress.take(told(ResultType.DELIVERY_DUPLICATE, 2))
    progress.take(told(ResultType.RUN_SUCCEEDED, 1, RUN))
    assert not progress.is_over

    progress.take(told(ResultType.RUN_SUCCEEDED, 1, OTHER_RUN))
    assert progress.is_over


def test_a_delivery_that_is_planned_again_waits_for_its_new_runs() -> None:
    progress = Progress(DELIVERY)
    for result in (ACCEPTED, told(ResultType.RUN_FAILED, 1, RUN), told(ResultType.RUN_SUCCEEDED, 1, OTHER_RUN)):
        progress.take(result)
    assert progress.is_over

    progress.take(told(ResultType.DELIVERY_ACCEPTED, 2, procedures=["web"]))
    assert not progress.is_over

    progress.take(told(ResultType.RUN_SUCCEEDED, 1, new_id()))
    assert progress.is_over


def test_what_is_known_is_told_apart_so_that_reading_it_again_counts_it_once() -> None:
    """A result from the broker that the store had already said, and the other way round."""
    progress = Progress(DELIVERY)
    ends = [told(ResultType.RUN_SUCCEEDED, 1, RUN), told(ResultType.RUN_SUCCEEDED, 1, OTHER_RUN)]
    for result in (ACCEPTED, ends[0]):
        progress.take(result)

    assert [progress.position(result) for result in (ACCEPTED, *ends)] == [-1, -1, 0]
    assert not progress.is_over


def test_a_client_that_comes_back_with_everything_learns_that_it_is_over() -> None:
    progress = Progress(RUN, f"{RUN}:2")

    assert [progress.take(started(RUN)), progress.take(told(ResultType.RUN_SUCCEEDED, 2, RUN))] == [False, False]
    assert progress.is_over
