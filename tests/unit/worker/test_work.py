"""Messages for workers: what they carry, and what becomes of those that are none."""

from __future__ import annotations

import pytest

from shared.errors import Poison
from shared.store.actions import Due
from worker.work import Work


def test_a_message_about_an_action_comes_back_as_it_was() -> None:
    work = Work.for_action(Due("an-action", "a-run", 3))

    message = work.to_message()

    assert Work.from_body(message.body) == work
    assert message.message_id == "an-action"


def test_a_message_about_a_run_carries_nothing_of_an_action() -> None:
    message = Work(run_id="a-run").to_message()

    assert message.body == b'{"run_id":"a-run","attempt":0}'
    assert message.message_id == "a-run"


MALFORMED = [
    ("empty", b"", "body: Invalid JSON"),
    ("no JSON", b"{run", "body: Invalid JSON"),
    ("a list", b"[]", "body: Input should be an object"),
    ("no run", b'{"attempt": 1}', "run_id: Field required"),
    ("a run that is no text", b'{"run_id": 7}', "run_id: Input should be a valid string"),
    ("an attempt that is no number", b'{"run_id": "r", "attempt": "many"}', "attempt: Input should be a valid integer"),
    ("a key of somebody else", b'{"run_id": "r", "shell": "rm"}', "shell: Extra inputs are not permitted"),
    ("bytes that are no text", b"\xff\xfe", "body: Invalid JSON"),
    ("nested without end", b"[" * 100_000, "body: Invalid JSON"),
]


@pytest.mark.parametrize(("body", "text"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_what_is_no_message_for_a_worker_is_poison_and_says_where(body: bytes, text: str) -> None:
    with pytest.raises(Poison) as caught:
        Work.from_body(body)

    assert caught.value.reason.startswith(f"not a message for a worker: {text}")


def test_the_reason_does_not_repeat_what_the_message_held() -> None:
    with pytest.raises(Poison) as caught:
        Work.from_body(b'{"run_id": {"token": "hunter2"}}')

    assert "hunter2" not in caught.value.reason
