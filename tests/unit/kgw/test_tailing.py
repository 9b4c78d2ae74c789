"""What a person sees of a result: one line, in colours that can be turned off, with nothing that moves the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgw.tailing import show_json, show_line
from tests.builders import a_result


def event_with(**data: Any) -> dict[str, Any]:
    return a_result(data=data).to_cloudevent()


def test_a_line_says_when_what_where_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    show_line(event_with(resource="web", reason="Komodo said no", outcome={"deployed_hash": "abc1234"}))

    out = capsys.readouterr().out
    assert out.split() == ["12:00:00.000", "run.started", "web", "at", "abc1234,", "Komodo", "said", "no"]


def test_a_delivery_that_nothing_matched_says_why_for_each_procedure(capsys: pytest.CaptureFixture[str]) -> None:
    show_line(event_with(repository="acme/infra", reasons={"homelab": "branch: dev is not main"}))

    assert "acme/infra" in (out := capsys.readouterr().out)
    assert "homelab: branch: dev is not main" in out


@given(st.text(), st.text())
def test_nothing_from_outside_moves_the_terminal(resource: str, reason: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("typer.echo", printed.append)
        show_line(event_with(resource=resource, reason=reason))

    assert all(letter.isprintable() for line in printed for letter in line)


@pytest.mark.parametrize(("no_color", "is_coloured"), [("1", False), ("", True)])
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, no_color: str, is_coloured: bool) -> None:
    printed: list[str] = []
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("typer.echo", printed.append)
    event = event_with(procedure="homelab") | {"type": "komodo.webhook.run.failed"}
    show_line(event)

    assert ("\x1b[" in printed[0]) is is_coloured


def test_json_is_the_cloudevent_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    import orjson

    event = event_with(reason="two\nlines")
    show_json(event)

    (line,) = capsys.readouterr().out.splitlines()
    assert orjson.loads(line) == event
