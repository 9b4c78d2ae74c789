"""What is no message for a worker goes to the dead ones with its reason, and the worker lives on."""

from __future__ import annotations

import aio_pika
import pytest
from uuid_utils import uuid7

from shared.broker.topology import ACTION_KEY, Exchange, Names
from shared.states import RunState
from tests.builders import an_event
from tests.integration.worker.scene import Scene, dead_letters

NOBODY = str(uuid7())
UNKNOWN_LISTENER = an_event().model_dump_json().replace('"kind":"global"', '"kind":"elsewhere"').encode()

EVENTS = {
    "empty": (b"", "not an event: body: Invalid JSON"),
    "no JSON": (b"\xff\xfe\x00", "not an event: body: Invalid JSON"),
    "a list": (b"[]", "not an event: body: Input should be an object"),
    "an object of nobody's": (b'{"token": "hunter2"}', "not an event: id: Field required"),
    "of another version": (
        an_event().model_dump_json().replace('"schema_version":1', '"schema_version":2').encode(),
        "not an event: schema_version",
    ),
    "for an unknown listener": (UNKNOWN_LISTENER, "not an event: listener"),
    "too deep": (b"[" * 50_000, "not an event: body: Invalid JSON"),
}
ACTIONS = {
    "no JSON": (b"deploy web", "not a message for a worker: body: Invalid JSON"),
    "without a run": (b'{"action_id": "x"}', "not a message for a worker: run_id: Field required"),
    "about an action that nobody has": (
        b'{"run_id": "%b", "action_id": "%b", "attempt": 1}' % (NOBODY.encode(), NOBODY.encode()),
        f"there is no action {NOBODY} in the store",
    ),
    "about a run that nobody has": (
        b'{"run_id": "%b"}' % NOBODY.encode(),
        f"there is no run {NOBODY} in the store",
    ),
}


@pytest.mark.parametrize(
    ("exchange", "key", "queue", "messages"),
    [
        (Exchange.EVENTS, "github.push.acme.infra", "events", EVENTS),
        (Exchange.ACTIONS, ACTION_KEY, "actions", ACTIONS),
    ],
    ids=["events", "actions"],
)
async def test_a_malformed_message_is_buried_with_its_reason_and_the_worker_lives_on(
    amqp_url: str,
    names: Names,
    scene: Scene,
    exchange: Exchange,
    key: str,
    queue: str,
    messages: dict[str, tuple[bytes, str]],
) -> None:
    async with dead_letters(amqp_url, names) as next_dead, await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        target = await channel.get_exchange(names.exchange(exchange), ensure=False)
        for name, (body, reason) in messages.items():
            await target.publish(aio_pika.Message(body), key)
            buried, told, source = await next_dead()

            assert (buried, source) == (body, queue), name
            assert told.startswith(reason), name
            assert "hunter2" not in told, name

    assert (await scene.deploy(scene.change("web"))).state is RunState.SUCCEEDED
