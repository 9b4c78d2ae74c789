"""
The update websocket: logging in, what it sends to whom, and the ways in which it falls silent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from demo.core.serve import Core
from demo.core.updates import CHANNEL
from tests.unit.demo.conftest import Komodo


@pytest.fixture
def more() -> dict[str, list[dict[str, Any]]]:
    return {
        "user": [
            {
                "username": "blogger",
                "key": "K_blog_K",
                "secret": "S_blog_S",
                "permissions": [{"kind": "Stack", "name": "blog", "level": "Read"}],
            }
        ]
    }


def login(key: str, secret: str) -> str:
    return json.dumps({"type": "ApiKeys", "params": {"key": key, "secret": secret}})


@asynccontextmanager
async def connected(core: Core, key: str = "", secret: str = "") -> AsyncIterator[ClientConnection]:
    async with asyncio.timeout(5), connect(core.url.replace("http", "ws") + "/ws/update") as socket:
        await socket.send(login(key or core.key, secret or core.secret))
        yield socket


async def test_each_change_of_an_update_is_sent_without_logs(komodo: Komodo) -> None:
    async with connected(komodo.core) as socket:
        assert await socket.recv() == "LOGGED_IN"

        update = await komodo.run("DeployStack", stack="cache")
        frames = [json.loads(await socket.recv()) for _ in range(2)]

    assert [frame["status"] for frame in frames] == ["InProgress", "Complete"]
    assert [frame["id"] for frame in frames] == [update["_id"]["$oid"]] * 2
    assert frames[0]["username"] == "kgw"
    assert not {"logs", "end_ts", "_id"} & set(frames[1])


async def test_only_updates_that_the_user_may_see_are_sent(komodo: Komodo) -> None:
    async with connected(komodo.core, "K_blog_K", "S_blog_S") as socket:
        assert await socket.recv() == "LOGGED_IN"

        await komodo.run("DeployStack", stack="cache")
        await komodo.run("DeployStack", stack="blog")
        frame = json.loads(await socket.recv())

    assert frame["target"]["id"] == komodo.core.state.stack("blog").id


async def test_a_wrong_secret_is_told_and_the_socket_drops(core: Core) -> None:
    async with connected(core, "K_x_K", "S_x_S") as socket:
        told = await socket.recv()
        with pytest.raises(ConnectionClosed):
            await socket.recv()

    assert told == "[401 Unauthorized]: Invalid user credentials | You have 4 attempts remaining"


async def test_a_silent_socket_stays_open_and_says_nothing(komodo: Komodo) -> None:
    async with connected(komodo.core) as socket:
        assert await socket.recv() == "LOGGED_IN"
        komodo.core.knobs.silent_socket = True
        await komodo.run("DeployStack", stack="cache")
        komodo.core.knobs.silent_socket = False
        await komodo.run("DeployStack", stack="web")

        first = json.loads(await socket.recv())

    assert first["target"]["id"] == komodo.core.state.stack("web").id


async def test_a_reader_that_lags_by_more_than_the_channel_holds_hears_no_more(komodo: Komodo) -> None:
    async with connected(komodo.core) as socket:
        assert await socket.recv() == "LOGGED_IN"
        state = komodo.core.state
        cache, account = state.stack("cache"), state.accounts[komodo.core.key]

        for _ in range(CHANNEL + 20):  # in one turn of the loop, so that nothing can be sent meanwhile
            state.start_update("DeployStack", account, cache)
        frames = [json.loads(await socket.recv()) for _ in range(CHANNEL)]
        await komodo.run("DeployStack", stack="web")
        await socket.ping()
        listener = next(iter(state.listeners))

    assert len(frames) == CHANNEL
    assert listener.lost


async def test_a_restart_of_core_closes_the_socket(core: Core) -> None:
    async with connected(core) as socket:
        assert await socket.recv() == "LOGGED_IN"

        core.restart()

        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_procedure_sends_its_own_item_again_for_every_line(komodo: Komodo) -> None:
    async with connected(komodo.core) as socket:
        assert await socket.recv() == "LOGGED_IN"
        parent = await komodo.run("RunProcedure", procedure="nightly")
        seen: list[str] = []
        while seen[-1:] != ["Complete"]:
            frame = json.loads(await socket.recv())
            if frame["id"] == parent["_id"]["$oid"]:
                seen.append(frame["status"])

    assert len(seen) > 4
    assert set(seen[:-1]) == {"InProgress"}
