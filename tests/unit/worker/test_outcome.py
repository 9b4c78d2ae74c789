"""What a complete update of Komodo's means."""

from __future__ import annotations

import pytest

from shared.komodo.types import MAX_FAILURE_TEXT, Log, Update
from shared.states import Happening
from worker.outcome import Settled, Unsettled, of_update
from worker.retries import Cause

ERROR = '<span style="color: var(--mantine-color-red-6)">ERROR</span>: '


def update_with(*logs: Log, success: bool = False) -> Update:
    return Update(
        id="u" * 24,
        operation="DeployStack",
        status="Complete",
        success=success,
        start_ts=0,
        target_type="Stack",
        target_id="s" * 24,
        operator="o" * 24,
        logs=logs,
    )


def failing(stage: str, stderr: str = "", stdout: str = "") -> Log:
    return Log(stage, success=False, stdout=stdout, stderr=stderr)


def test_a_successful_update_settles_the_action_and_is_named() -> None:
    outcome = of_update(update_with(success=True))

    assert outcome == Settled(Happening.SUCCEED, detail={"update": "u" * 24})


REFUSALS = [
    ("busy", failing("Task Error", ERROR + "Resource is busy"), Cause.BUSY),
    ("spawned busy", failing("Spawn Error", ERROR + "Resource is busy"), Cause.BUSY),
    ("Core restarted", failing("Komodo shutdown", "Komodo was shut down"), Cause.ABORTED),
    (
        "server away",
        failing("Task Error", ERROR + "cannot send action when server is unreachable or disabled"),
        Cause.UNREACHABLE,
    ),
    (
        "forbidden",
        failing(
            "Task Error", ERROR + "User does not have required permissions on this Stack. Must have at least Execute"
        ),
        Cause.REJECTED,
    ),
    ("another refusal", failing("Task Error", ERROR + "Must attach either swarm or server"), Cause.FAILED),
    ("compose failed", failing("Compose Up", "Error: port is already allocated"), Cause.FAILED),
    ("compose speaks of a busy resource", failing("Compose Up", "Resource is busy"), Cause.FAILED),
    ("compose speaks of an unreachable host", failing("Compose Pull", "registry is unreachable"), Cause.FAILED),
    ("files missing", failing("Validate Files", "Missing files: compose.yaml"), Cause.FAILED),
    ("nothing said", None, Cause.FAILED),
]


@pytest.mark.parametrize(("log", "cause"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_an_unsuccessful_update_has_one_cause(log: Log | None, cause: Cause) -> None:
    outcome = of_update(update_with(*([log] if log else [])))

    assert isinstance(outcome, Unsettled)
    assert outcome.cause is cause


def test_the_reason_is_what_the_failing_logs_say_and_nothing_of_the_others() -> None:
    outcome = of_update(
        update_with(
            Log("Compose Pull", success=True, stdout="", stderr=" Pulled"),
            failing("Compose Up", "Error: port is already allocated"),
        )
    )

    assert outcome.reason == "Compose Up: Error: port is already allocated"


def test_the_reason_has_no_markup_and_no_control_characters() -> None:
    outcome = of_update(update_with(failing("Task Error", ERROR + "<b>gone</b>\x1b[31m!\x00")))

    assert outcome.reason == "Task Error: ERROR: gone!"


def test_a_failing_log_without_stderr_is_read_from_stdout() -> None:
    assert of_update(update_with(failing("Post Deploy", stdout="exit 3"))).reason == "Post Deploy: exit 3"


def test_an_update_without_logs_still_has_a_reason() -> None:
    assert of_update(update_with()).reason == "DeployStack was not successful"


def test_the_reason_is_bounded() -> None:
    outcome = of_update(update_with(failing("Compose Up", "x" * 1_000_000)))

    assert outcome.reason is not None
    assert len(outcome.reason) <= MAX_FAILURE_TEXT
