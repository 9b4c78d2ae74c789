"""The snapshot of the named hooks: read first, replaced whole, and never the end of the ingress (I9: nothing in it can be read without the key)."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from ingress.refresh import Snapshot, keep_hooks, open_hooks
from shared.errors import Misconfigured
from shared.hook import GLOBAL, SealedHook
from shared.settings import IngressSettings
from shared.store import hooks
from shared.store.engine import Store, open_store
from shared.store.migrate import migrate
from tests.builders import NOON, at
from tests.named_hooks import KEY, a_hook
from tests.waiting import until

WEB = a_hook("web", "web secret")
AWAY = "postgresql://kgw:hunter2@127.0.0.1:1/kgw"


def settings(folder: Path, **overrides: Any) -> IngressSettings:
    values: dict[str, Any] = {
        "webhook_secret": SecretStr("global secret"),
        "secret_key": SecretStr(KEY),
        "database_url": SecretStr(f"sqlite:///{folder / 'kgw.db'}"),
        "hooks_file": str(folder / "hooks.json"),
        "hooks_interval": 0.05,
    }
    return IngressSettings(**{**values, **overrides})


def given_snapshot(folder: Path, *kept: SealedHook) -> Path:
    path = folder / "hooks.json"
    path.write_text(Snapshot(hooks=kept).model_dump_json())
    return path


class Keeping:
    """`keep_hooks` beside the test, until the end of the block."""

    def __init__(self, of: IngressSettings) -> None:
        self.settings = of
        self.hooks = open_hooks(of)
        self._stop = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Keeping:
        await self._group.__aenter__()
        self._group.create_task(keep_hooks(self.hooks, self.settings, self._stop))
        return self

    async def __aexit__(self, *failure: Any) -> None:
        self._stop.set()
        await self._group.__aexit__(*failure)

    def knows(self, secret: str, name: str = "web") -> bool:
        return secret.encode() in self.hooks.find("github", name).secrets_at(NOON)


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    """The store of `settings`."""
    url = f"sqlite:///{tmp_path / 'kgw.db'}"
    await migrate(url)
    async with open_store(url) as opened:
        yield opened


async def add(store: Store, hook: SealedHook) -> None:
    async with store.begin() as db:
        assert await hooks.add(db, hook)


def test_the_snapshot_is_there_before_the_store_is(tmp_path: Path) -> None:
    given_snapshot(tmp_path, WEB)

    found = open_hooks(settings(tmp_path, database_url=SecretStr(AWAY)))

    assert found.find("github", "web").secrets_at(NOON) == (b"web secret",)


def test_the_global_hook_may_have_an_old_secret() -> None:
    found = open_hooks(IngressSettings(webhook_secret=SecretStr("new"), webhook_secret_old=SecretStr("old")))

    assert found.find("github", GLOBAL).secrets_at(NOON) == (b"new", b"old")


def test_an_old_secret_alone_is_none() -> None:
    with pytest.raises(Misconfigured, match="KOMODO_WEBHOOK_SECRET"):
        open_hooks(IngressSettings(webhook_secret_old=SecretStr("old")))


async def test_without_a_key_nothing_is_read_and_nothing_is_written(tmp_path: Path, store: Store) -> None:
    path = given_snapshot(tmp_path, WEB)
    before = path.read_bytes()
    await add(store, a_hook("other", "secret"))
    plain = settings(tmp_path, secret_key=SecretStr(""))

    found = open_hooks(plain)
    await keep_hooks(found, plain, asyncio.Event())

    assert b"web secret" not in found.find("github", "web").secrets_at(NOON)
    assert path.read_bytes() == before


BAD: dict[str, bytes] = {
    "empty": b"",
    "cut": Snapshot(hooks=(WEB,)).model_dump_json().encode()[:-9],
    "another form": b"[1, 2]",
    "another version": b'{"version": 2, "hooks": []}',
    "no text": b"\xff\x00",
    "a hook that is none": b'{"hooks": [{"name": "../x"}]}',
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_a_snapshot_that_can_not_be_read_is_a_warning(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "hooks.json"
    path.write_bytes(raw)

    with structlog.testing.capture_logs() as lines:
        found = open_hooks(settings(tmp_path))

    assert found.find("github", GLOBAL).secrets_at(NOON) == (b"global secret",)
    assert [(line["event"], line["log_level"], line["path"]) for line in lines] == [
        ("hooks_snapshot_not_read", "warning", str(path))
    ]


def test_a_snapshot_that_is_a_folder_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "hooks.json").mkdir()

    with structlog.testing.capture_logs() as lines:
        open_hooks(settings(tmp_path))

    assert [line["event"] for line in lines] == ["hooks_snapshot_not_read"]


def test_a_wrong_key_is_a_warning(tmp_path: Path) -> None:
    given_snapshot(tmp_path, WEB)

    with structlog.testing.capture_logs() as lines:
        found = open_hooks(settings(tmp_path, secret_key=SecretStr("another key of 32 characters or more")))

    assert b"web secret" not in found.find("github", "web").secrets_at(NOON)
    assert {line["log_level"] for line in lines if "KGW_SECRET_KEY" in line.get("reason", "")} == {"warning"}


async def test_what_changes_in_the_store_comes_into_memory_and_onto_the_disk(tmp_path: Path, store: Store) -> None:
    await add(store, WEB)

    async with Keeping(settings(tmp_path)) as keeping:
        await until(lambda: keeping.knows("web secret"))
        async with store.begin() as db:
            assert await hooks.change(db, WEB, WEB.changed(now=at(1), disabled=True))
        await until(lambda: not keeping.knows("web secret"))

    snapshot = Snapshot.model_validate_json((tmp_path / "hooks.json").read_bytes())
    assert [(hook.name, hook.disabled) for hook in snapshot.hooks] == [("web", True)]


async def test_i9_the_snapshot_is_its_owners_alone_and_holds_no_secret(tmp_path: Path, store: Store) -> None:
    await add(store, WEB)
    path = tmp_path / "hooks.json"

    async with Keeping(settings(tmp_path)):
        await until(path.exists)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"web secret" not in path.read_bytes()
    assert KEY.encode() not in path.read_bytes()
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


async def test_what_does_not_change_is_written_and_told_once(tmp_path: Path, store: Store) -> None:
    await add(store, WEB)
    path = tmp_path / "hooks.json"

    with structlog.testing.capture_logs() as lines:
        async with Keeping(settings(tmp_path)) as keeping:
            await until(lambda: path.exists() and keeping.knows("web secret"))
            inode = path.stat().st_ino
            await add(store, a_hook("other", "other secret"))
            await until(lambda: keeping.knows("other secret", "other"))
            await until(lambda: path.stat().st_ino != inode)

    assert [(line["event"], line["hooks"]) for line in lines] == [("hooks_read", 1), ("hooks_read", 2)]


async def test_a_store_that_is_away_is_one_warning_without_its_password(tmp_path: Path) -> None:
    given_snapshot(tmp_path, WEB)

    with structlog.testing.capture_logs() as lines:
        async with Keeping(settings(tmp_path, database_url=SecretStr(AWAY))) as keeping:
            await until(lambda: any(line["event"] == "hooks_not_kept" for line in lines))
            again = asyncio.get_running_loop().time() + 0.3
            await until(lambda: asyncio.get_running_loop().time() > again)

            assert keeping.knows("web secret")

    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert [line["event"] for line in warnings] == ["hooks_not_kept"]
    assert "hunter2" not in str(lines)


async def test_a_store_that_is_not_there_yet_is_waited_for_and_not_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kgw.db'}"

    with structlog.testing.capture_logs() as lines:
        async with Keeping(settings(tmp_path)) as keeping:
            await until(lambda: bool(lines))
            assert not (tmp_path / "kgw.db").exists()
            await migrate(url)
            async with open_store(url) as store:
                await add(store, WEB)
            await until(lambda: keeping.knows("web secret"))

    assert (lines[0]["event"], "kgw migrate" in lines[0]["reason"]) == ("hooks_not_kept", True)
    assert "hooks_are_kept_again" in [line["event"] for line in lines]


async def test_a_snapshot_that_can_not_be_written_is_one_warning_and_the_hooks_work(
    tmp_path: Path, store: Store
) -> None:
    await add(store, WEB)

    with structlog.testing.capture_logs() as lines:
        async with Keeping(settings(tmp_path, hooks_file=str(tmp_path / "none" / "hooks.json"))) as keeping:
            await until(lambda: keeping.knows("web secret"))
            await until(lambda: any(line["event"] == "hooks_not_kept" for line in lines))
            (tmp_path / "none").mkdir()
            await until((tmp_path / "none" / "hooks.json").exists)
            await until(lambda: lines[-1]["event"] == "hooks_are_kept_again")

    assert [line["event"] for line in lines] == ["hooks_read", "hooks_not_kept", "hooks_are_kept_again"]
    assert "No such file or directory" in lines[1]["reason"]


async def test_a_store_without_hooks_takes_those_of_the_snapshot_away(tmp_path: Path, store: Store) -> None:
    given_snapshot(tmp_path, WEB)

    async with Keeping(settings(tmp_path)) as keeping:
        assert keeping.knows("web secret")
        await until(lambda: not keeping.knows("web secret"))
