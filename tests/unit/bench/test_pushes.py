"""The pushes that the benchmarks send are what GitHub would send and the ingress accepts."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from bench.figures import Sample
from bench.first_call import milliseconds
from bench.komodo import Pushed, repos, stack_id, world
from bench.pushes import PUSH_BYTES, request, some_commit
from demo.core.world import World

SECRET = "a secret of the tests"


def test_a_push_has_the_size_of_a_real_one_and_ends_with_its_head_commit() -> None:
    commit = some_commit(7)

    body = request("bench/repo", commit, "0" * 40, SECRET).body

    assert PUSH_BYTES <= len(body) < PUSH_BYTES * 1.1
    assert json.loads(body)["commits"][-1] == json.loads(body)["head_commit"]
    assert json.loads(body)["after"] == commit.sha


def test_a_push_is_signed_over_its_body_and_leaves_the_delivery_id_open() -> None:
    made = request("bench/repo", some_commit(1), "0" * 40, SECRET)

    digest = hmac.new(SECRET.encode(), made.body.encode(), hashlib.sha256).hexdigest()

    assert f"X-Hub-Signature-256: sha256={digest}" in made.head
    assert f"Content-Length: {len(made.body)}" in made.head
    assert "X-GitHub-Delivery" not in made.head


def test_the_generated_world_is_one_that_the_simulated_core_takes() -> None:
    generated = World.model_validate(world(repos(3, stacks_each=2)))

    assert len(generated.stack) == 6
    assert {stack.config.repo for stack in generated.stack} == {git.repo for git in generated.git}


def test_a_delivery_waits_until_the_first_call_about_its_stack() -> None:
    first, second = (Pushed(repo, some_commit(0), "0" * 40) for repo in repos(2, stacks_each=1))
    samples = [Sample(1, at=10.0, seconds=0.1, status=202), Sample(0, at=11.0, seconds=0.1, status=202)]
    calls = [(stack_id(second.repo.stacks[0]), at_ms) for at_ms in (10_500, 10_040)]

    waited = milliseconds(samples, [first, second], [*calls, (stack_id(first.repo.stacks[0]), 11_007)])

    assert waited == [40.0, 7.0]


def test_a_delivery_that_komodo_never_heard_of_is_an_error() -> None:
    pushed = Pushed(repos(1, stacks_each=1)[0], some_commit(0), "0" * 40)

    with pytest.raises(KeyError):
        milliseconds([Sample(0, at=1.0, seconds=0.1, status=202)], [pushed], [])
