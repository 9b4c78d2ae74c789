"""The fan-out: bounded, and nobody waits for anybody else."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from console import follow
from console.follow import Following
from tests.builders import a_result, new_id


async def test_a_result_reaches_who_follows_its_run_and_who_follows_its_delivery() -> None:
    following = Following()
    told = a_result()
    with (
        following.follow(told.delivery_id) as by_delivery,
        following.follow(str(told.run_id)) as by_run,
        following.follow(new_id()) as of_another,
    ):
        following.tell(told)

        assert await by_delivery.next() is told
        assert await by_run.next() is told
        of_another.end()
        assert await of_another.next() is None


async def test_a_follower_that_does_not_keep_up_is_let_go_and_keeps_nothing() -> None:
    following = Following()
    told = a_result()
    with following.follow(told.delivery_id) as slow, following.follow(told.delivery_id) as quick:
        for _ in range(follow.BUFFERED + 1):
            following.tell(told)
            assert await quick.next() is told

        assert slow.has_ended
        assert not slow._waiting
        assert await slow.next() is None
        assert not quick.has_ended


async def test_closing_wakes_who_waits_and_lets_nobody_in_any_more() -> None:
    following = Following()
    with following.follow(new_id()) as follower:
        waiting = asyncio.create_task(follower.next())
        await asyncio.sleep(0)
        following.close()

        assert await waiting is None
    with following.follow(new_id()) as late:
        assert await late.next() is None


async def test_nothing_is_kept_of_who_has_left() -> None:
    following = Following()
    with following.follow("a"), following.follow("a"), following.follow("b"):
        assert len(following) == 3

    assert len(following) == 0
    assert not following._followers


async def test_a_console_takes_a_limited_number_of_followers() -> None:
    following = Following()
    with ExitStack() as stack:
        for _ in range(follow.MAX_FOLLOWERS):
            assert not following.is_full
            stack.enter_context(following.follow(new_id()))

        assert following.is_full
