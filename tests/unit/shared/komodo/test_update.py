"""An update is read from each of its forms, and what went wrong is told in a few plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.komodo.types import (
    MAX_FAILURE_TEXT,
    Update,
    failure_text,
    is_busy,
    is_forbidden,
    is_shutdown,
    is_unreachable,
)
from tests.unit.shared.komodo.answers import RED, STACK_ID, UPDATE_ID, log, update


def task_error(message: str) -> dict[str, Any]:
    return log("Task Error", stderr=f"{RED}: {message}", success=False)


def failed(*logs: dict[str, Any]) -> Update:
    return Update.from_json(update(*logs))


def test_an_update_by_itself_has_its_id_target_and_logs() -> None:
    read = Update.from_json(update(log("Compose Up", stderr="Container web-app-1  Started")))

    assert (read.id, read.target_type, read.target_id) == (UPDATE_ID, "Stack", STACK_ID)
    assert [entry.stage for entry in read.logs] == ["Compose Up"]
    assert read.is_complete
    assert read.success


def test_an_item_of_a_list_has_its_id_in_another_place_and_no_logs() -> None:
    item = {key: value for key, value in update().items() if key not in ("_id", "logs", "end_ts")}

    read = Update.from_json(item | {"id": UPDATE_ID, "username": "kgw"})

    assert read.id == UPDATE_ID
    assert read.logs == ()


def test_an_update_that_is_never_stored_has_no_id() -> None:
    stored = update(status="InProgress", end_ts=None)

    read = Update.from_json({key: value for key, value in stored.items() if key != "_id"})

    assert read.id == ""


@pytest.mark.parametrize("status", ["Queued", "InProgress"])
def test_i6_an_update_that_says_success_before_its_end_is_not_complete(status: str) -> None:
    assert not Update.from_json(update(status=status, success=True)).is_complete


CAUSES: list[tuple[dict[str, Any], Callable[[Update], bool]]] = [
    (task_error("Resource is busy"), is_busy),
    (task_error("User does not have required permissions on this Stack"), is_forbidden),
    (task_error("cannot send action when server is unreachable or disabled"), is_unreachable),
    (task_error("Periphery is not connected"), is_unreachable),
    (log("Komodo shutdown", stderr="Komodo shutdown during execution", success=False), is_shutdown),
]
JUDGES = (is_busy, is_forbidden, is_shutdown, is_unreachable)


@pytest.mark.parametrize(("entry", "cause"), CAUSES)
def test_each_refusal_has_one_cause(entry: dict[str, Any], cause: Callable[[Update], bool]) -> None:
    assert [judge for judge in JUDGES if judge(failed(entry))] == [cause]


def test_what_compose_prints_is_never_taken_for_komodos_refusal() -> None:
    printed = failed(log("Compose Up", stderr="Resource is busy; host unreachable", success=False))

    assert not any(judge(printed) for judge in JUDGES)


def test_a_failure_is_told_without_html_colours_and_the_logs_that_went_well() -> None:
    told = failure_text(
        failed(
            log("Compose Pull", stderr="Pulled"),
            log("Compose Up", stderr=f"{RED}: \x1b[31mport is already\x1b[0m allocated\x07", success=False),
        )
    )

    assert told == "Compose Up: ERROR: port is already allocated"


def test_a_failing_log_without_stderr_is_told_by_its_stdout() -> None:
    told = failure_text(failed(log("Validate Files", stdout="Missing files: compose.yaml", success=False)))

    assert told == "Validate Files: Missing files: compose.yaml"


def test_a_failure_without_a_failing_log_is_told_all_the_same() -> None:
    assert failure_text(Update.from_json(update(success=False))) == "DeployStack was not successful"


def test_of_a_long_log_the_end_is_told_because_compose_says_last_what_went_wrong() -> None:
    progress = "\n".join(f" Container web-{number}  Creating" for number in range(500))

    told = failure_text(failed(log("Compose Up", stderr=f"{progress}\nError: no space left", success=False)))

    assert told.startswith("Compose Up: … ")
    assert told.endswith("Error: no space left")
    assert len(told) <= MAX_FAILURE_TEXT


def test_every_failing_log_has_its_share_of_the_text() -> None:
    told = failure_text(failed(*(log(f"Stage {n}", stderr=f"{'x' * 900} end {n}", success=False) for n in range(3))))

    assert all(f"end {number}" in told for number in range(3))


@given(st.lists(st.tuples(st.text(max_size=200), st.text(max_size=3_000)), max_size=8))
def test_a_failure_text_is_never_longer_than_its_limit_nor_empty(logs: list[tuple[str, str]]) -> None:
    told = failure_text(
        Update.from_json(update(*(log(stage, stderr=text, success=False) for stage, text in logs), success=False))
    )

    assert 0 < len(told) <= MAX_FAILURE_TEXT
