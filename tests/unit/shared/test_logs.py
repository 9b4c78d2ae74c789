"""Logging: one line per happening, and nothing of what stood in the variables around an error (I9)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

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


LINE = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "event": "event_planned"}
HEAD = "2026-01-01T00:00:00Z info     event_planned                 "


def as_text(**values: Any) -> str:
    return logs.as_text(LINE | values, is_coloured=False).decode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("refs/heads/main", "refs/heads/main"),
        ("https://example.org/?a=b", "https://example.org/?a=b"),
        ("größer", "größer"),
        ("two words", "'two words'"),
        ("", "''"),
        ("it's", '"it\'s"'),
        ('say "so"', "'say \"so\"'"),
        ("main\n2026 forged", "'main\\n2026 forged'"),
        ("\x1b[31mred", "'\\x1b[31mred'"),
        ("a\u2028b", "'a\\u2028b'"),
        ("half\ud800", "'half\\ud800'"),
        (None, "None"),
        (7, "7"),
        ([1], "[1]"),
        ([1, 2], "'[1, 2]'"),
    ],
)
def test_a_value_is_quoted_where_it_would_not_be_told_from_the_rest(value: object, shown: str) -> None:
    assert as_text(key=value) == f"{HEAD} key={shown}"


@given(st.text())
def test_no_text_breaks_a_line_or_moves_the_cursor(text: str) -> None:
    assert as_text(event=text, key=text).isprintable()


def test_keys_stand_in_the_order_they_were_given() -> None:
    assert as_text(outcome="queued", attempt=2).endswith(" outcome=queued attempt=2")


def test_a_traceback_stands_indented_below_its_line() -> None:
    text = as_text(exception="Traceback:\nValueError: a\x1b[31m\n2026-01-01 error forged")

    assert text.splitlines()[1:] == ["  Traceback:", "  ValueError: a\\x1b[31m", "  2026-01-01 error forged"]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_colours_change_nothing_of_what_a_line_says(level: str) -> None:
    line = LINE | {"level": level, "key": "a value"}
    coloured = logs.as_text(line, is_coloured=True).decode()

    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == logs.as_text(line, is_coloured=False).decode()


def test_json_is_utf_8_bytes() -> None:
    assert logs.as_json({"event": "größer"}) == '{"event":"größer"}'.encode()


@pytest.mark.parametrize("value", [2**70, "half\ud800"])
def test_json_has_what_other_encoders_refuse(value: object) -> None:
    assert json.loads(logs.as_json({"key": value})) == {"key": value}


def test_json_shows_what_it_has_no_form_for_as_python_does() -> None:
    assert json.loads(logs.as_json({"key": {1, 2}})) == {"key": "{1, 2}"}


@pytest.mark.parametrize("form", ["standard", "json"])
def test_a_line_is_written_at_once(form: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """What several processes write to one file stays whole lines."""
    logs.configure("info", form)
    structlog.get_logger().info("event_planned", branch="größer")

    written = capfdbinary.readouterr().err
    assert written.endswith(b"\n")
    assert "größer".encode() in written
