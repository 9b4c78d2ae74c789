"""What senders are told, one row per outcome (I8)."""

import orjson
import pytest

from ingress.answer import ANSWERS, MAX_REASON, Outcome, Receipt, to_response

STATUS = {
    Outcome.QUEUED: 202,
    Outcome.IGNORED: 200,
    Outcome.PONG: 200,
    Outcome.UNAUTHORIZED: 401,
    Outcome.RATE_LIMITED: 429,
    Outcome.NOT_FOUND: 404,
    Outcome.METHOD_NOT_ALLOWED: 405,
    Outcome.UNKNOWN_PARAMETER: 400,
    Outcome.BAD_FRAMING: 400,
    Outcome.HEADERS_TOO_LARGE: 431,
    Outcome.TOO_LARGE: 413,
    Outcome.UNSUPPORTED_MEDIA: 415,
    Outcome.UNSUPPORTED_ENCODING: 415,
    Outcome.TIMED_OUT: 408,
    Outcome.INVALID_BODY: 400,
    Outcome.UNAVAILABLE: 503,
}


@pytest.mark.parametrize(("outcome", "status"), STATUS.items(), ids=[outcome.name for outcome in STATUS])
def test_every_outcome_has_its_status_and_a_small_json_body(outcome: Outcome, status: int) -> None:
    receipt = Receipt(outcome, reason="ä" * 5_000, delivery_id="d" * 36, events=3)

    response = to_response(receipt, "https://kgw.example")

    assert response is not None
    code, headers, body = response
    assert code == status
    assert dict(headers)[b"content-type"] == b"application/json"
    assert dict(headers)[b"content-length"] == str(len(body)).encode()
    assert len(body) <= 1024
    assert orjson.loads(body)["status"] == outcome.value
    assert not 300 <= code < 400


def test_the_table_leaves_out_only_the_sender_who_is_gone() -> None:
    assert set(Outcome) - set(ANSWERS) == {Outcome.DISCONNECTED}
    assert to_response(Receipt(Outcome.DISCONNECTED)) is None


def test_a_queued_delivery_is_answered_with_where_to_look() -> None:
    response = to_response(Receipt(Outcome.QUEUED, delivery_id="42", events=2), "https://kgw.example/")

    assert response is not None
    assert orjson.loads(response[2]) == {
        "status": "queued",
        "delivery": "42",
        "events": 2,
        "status_url": "https://kgw.example/api/v1/deliveries/42",
    }


def test_without_a_public_url_there_is_no_link() -> None:
    response = to_response(Receipt(Outcome.QUEUED, delivery_id="42", events=1))

    assert response is not None
    assert "status_url" not in orjson.loads(response[2])


def test_an_unauthorized_sender_learns_nothing_else() -> None:
    one = to_response(
        Receipt(Outcome.UNAUTHORIZED, reason="wrong", hook="global", delivery_id="42"), "https://kgw.example"
    )
    other = to_response(Receipt(Outcome.UNAUTHORIZED, reason="no such hook", hook="x"), "https://kgw.example")

    assert one == other
    assert one is not None
    assert one[2] == b'{"status":"unauthorized"}'


def test_a_sender_that_failed_too_often_learns_when_to_come_again_and_nothing_else() -> None:
    response = to_response(Receipt(Outcome.RATE_LIMITED, reason="wrong", hook="global", retry_in=41.2))

    assert response is not None
    assert response[2] == b'{"status":"rate limited"}'
    assert (b"retry-after", b"42") in response[1]


def test_a_reason_is_cut() -> None:
    response = to_response(Receipt(Outcome.IGNORED, reason="x" * 1_000))

    assert response is not None
    assert len(orjson.loads(response[2])["reason"]) == MAX_REASON


@pytest.mark.parametrize(
    ("outcome", "header"),
    [(Outcome.METHOD_NOT_ALLOWED, (b"allow", b"POST")), (Outcome.UNAVAILABLE, (b"retry-after", b"30"))],
)
def test_some_answers_say_what_to_do_in_a_header(outcome: Outcome, header: tuple[bytes, bytes]) -> None:
    response = to_response(Receipt(outcome))

    assert response is not None
    assert header in response[1]
