"""Logging: one line per happening, and nothing of what stood in the variables around an error (I9)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging is the process's; the next test finds it as this one did."""
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()


def fail(password: str) -> None:
    length = len(password)
    raise ValueError(f"{length} is too short")


def log_a_failure() -> None:
    try:
        fail("hunter" + "2")
    except ValueError:
        structlog.get_logger().exception("message_failed", queue="events")


@pytest.mark.parametrize("form", ["standard", "json"])
def test_a_traceback_shows_no_variable(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", form)
    log_a_failure()

    written = capsys.readouterr().err
    assert "7 is too short" in written
    assert "in fail" in written
    assert "hunter2" not in written


def test_json_is_one_object_per_line_with_the_bound_ids(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    with structlog.contextvars.bound_contextvars(run_id="r1"):
        structlog.get_logger().info("action_ended", outcome="succeed", text="two\nlines")
        log_a_failure()

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["run_id"]) == ("action_ended", "info", "r1")
    assert first["timestamp"].endswith("Z")
    assert first["text"] == "two\nlines"
    assert "ValueError" in second["exception"]


@pytest.mark.parametrize("form", ["standard", "json"])
def test_what_a_sender_wrote_starts_no_line_of_its_own(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A branch may be called anything."""
    logs.configure("info", form)
    structlog.get_logger().info("event_planned", branch="main\n2026-01-01 [error] forged \x1b[31m\r")

    written = capsys.readouterr().err
    assert len(written.splitlines()) == 1
    assert "\x1b[31m" not in written
    assert "forged" in written


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_what_is_less_grave_than_the_level_is_left_out(
    level: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(level, "json")
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")

    assert len(capsys.readouterr().err.splitlines()) == count


@pytest.mark.parametrize("name", ["aio_pika", "aiormq", "httpx"])
def test_libraries_speak_of_errors_alone(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", "standard")

    assert logging.getLogger(name).getEffectiveLevel() == logging.ERROR
