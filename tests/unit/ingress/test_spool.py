"""The spool keeps what it has accepted, in order, through any end of the process, and refuses what it has no room for."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingress.spool import Record, Size, Spool, SpoolTaken, opened, summarize
from shared.errors import Misconfigured, Unavailable
from tests.builders import NOON, at

ROOM = 1024 * 1024
ALL = 1_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the spool will be."""
    return tmp_path / "spool.db"


@pytest.fixture
async def spool(path: Path) -> AsyncIterator[Spool]:
    """An empty one."""
    async with opened(path, max_bytes=ROOM) as spool:
        yield spool


async def bodies(spool: Spool) -> list[bytes]:
    return [record.body for record in await spool.read(ALL, ROOM)]


async def fill(spool: Spool, *texts: str) -> list[Record]:
    for text in texts:
        await spool.append(text.encode())
    return await spool.read(ALL, ROOM)


def crashed(path: Path, folder: Path) -> Path:
    """The files as a process leaves them that is killed now."""
    folder.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, folder)
    return folder / path.name


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def size_of(path: Path) -> int:
    return path.stat().st_size


async def test_what_is_appended_is_read_in_that_order(spool: Spool) -> None:
    await fill(spool, "a", "b", "c")

    assert await bodies(spool) == [b"a", b"b", b"c"]
    assert spool.size == Size(3, 3)
    assert spool.filled.is_set()


async def test_appends_that_wait_together_keep_their_order(spool: Spool) -> None:
    sent = [b"%d" % number for number in range(500)]

    await asyncio.gather(*map(spool.append, sent))

    assert await bodies(spool) == sent


async def test_an_append_that_has_returned_is_there_after_a_crash(spool: Spool, path: Path, tmp_path: Path) -> None:
    await fill(spool, "a", "b")

    async with opened(crashed(path, tmp_path / "after"), max_bytes=ROOM) as reopened:
        assert await bodies(reopened) == [b"a", b"b"]
        assert reopened.size == Size(2, 2)
        assert reopened.filled.is_set()


async def test_an_event_counts_also_when_nobody_awaits_it_any_more(spool: Spool) -> None:
    appending = asyncio.create_task(spool.append(b"a"))
    await asyncio.sleep(0)
    appending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await appending
    await spool.append(b"b")

    assert await bodies(spool) == [b"a", b"b"]
    assert spool.size == Size(2, 2)


async def test_it_holds_an_event_from_the_moment_it_is_on_its_way(spool: Spool) -> None:
    appending = asyncio.create_task(spool.append(b"a"))
    await asyncio.sleep(0)

    assert spool.holds_any
    await appending
    await spool.remove(await spool.read(1, ROOM))
    assert not spool.holds_any
    assert not spool.filled.is_set()


async def test_reading_stops_at_the_count_or_at_the_bytes_and_gives_at_least_one(spool: Spool) -> None:
    records = await fill(spool, "aaaa", "bbbb", "cccc")

    assert await spool.read(2, ROOM) == records[:2]
    assert await spool.read(ALL, 5) == records[:2]
    assert await spool.read(ALL, 1) == records[:1]
    assert await spool.read(ALL, ROOM, after=records[0].seq) == records[1:]


async def test_numbers_are_never_given_twice(spool: Spool) -> None:
    (first,) = await fill(spool, "a")
    await spool.remove([first])
    (second,) = await fill(spool, "b")

    assert second.seq > first.seq


async def test_it_refuses_more_bytes_than_it_may_hold(path: Path) -> None:
    async with opened(path, max_bytes=10) as spool:
        results = await asyncio.gather(*(spool.append(b"1234") for _ in range(3)), return_exceptions=True)

        assert [str(one) for one in results if one] == ["the spool is full: 0 bytes"]
        with pytest.raises(Unavailable, match="full: 8 bytes"):
            await spool.append(b"123")
        await spool.append(b"12")
        with pytest.raises(Unavailable, match="full"):
            await spool.check()
        await spool.remove(await spool.read(1, ROOM))
        await spool.check()


async def test_it_refuses_more_events_than_it_may_hold(path: Path) -> None:
    async with opened(path, max_bytes=ROOM, max_events=2) as spool:
        await fill(spool, "a", "b")

        with pytest.raises(Unavailable, match="full: 2 events"):
            await spool.append(b"c")


async def test_a_disk_without_room_refuses_and_takes_again_what_it_refused(path: Path) -> None:
    async with opened(path, max_bytes=ROOM) as spool:
        await fill(spool, "a")
        await limit_pages(spool, 10)
        with pytest.raises(Unavailable, match="full"):
            await spool.append(b"b" * 100_000)
        assert spool.size == Size(1, 1)
        await limit_pages(spool, 1_000_000)
        await spool.check()
        await spool.append(b"c")

        assert await bodies(spool) == [b"a", b"c"]


async def limit_pages(spool: Spool, pages: int) -> None:
    """SQLite reports this limit as it reports a full disk."""
    await spool._call(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())


async def test_what_is_set_aside_is_out_of_the_way_and_kept_with_its_reason(path: Path) -> None:
    async with opened(path, max_bytes=10, now=lambda: NOON) as spool:
        records = await fill(spool, "aaaa", "bbbb")
        await spool.set_aside(records[0], "not an event")

        assert await bodies(spool) == [b"bbbb"]
        assert spool.size == Size(1, 4)
        with pytest.raises(Unavailable, match="full"):
            await spool.append(b"cccc")
    summary = summarize(path)
    assert [(one.seq, one.reason, one.set_aside_at) for one in summary.aside] == [
        (records[0].seq, "not an event", NOON)
    ]


async def test_the_summary_tells_of_a_spool_that_another_process_has(path: Path) -> None:
    times = iter(map(at, range(10)))
    async with opened(path, max_bytes=ROOM, now=lambda: next(times)) as spool:
        await fill(spool, "a", "bc")
        await spool.note_failure("the broker did not confirm")

        summary = summarize(path)

    assert (summary.size, summary.oldest) == (Size(2, 3), at(0))
    assert summary.failure is not None
    assert (summary.failure.reason, summary.failure.at) == ("the broker did not confirm", at(2))


async def test_a_failure_is_forgotten_when_events_leave(spool: Spool, path: Path) -> None:
    records = await fill(spool, "a")
    await spool.note_failure("away")
    await spool.remove(records)

    assert summarize(path).failure is None


def test_a_spool_that_was_never_made_is_empty(path: Path) -> None:
    assert summarize(path).size == Size(0, 0)
    assert not path.exists()


async def test_a_second_process_is_told_who_has_it(spool: Spool, path: Path) -> None:
    script = f"""
import asyncio, pathlib
from ingress.spool import SpoolTaken, opened
async def main():
    try:
        async with opened(pathlib.Path({str(path)!r}), max_bytes=10):
            print("opened")
    except SpoolTaken as taken:
        print(taken.reason)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()

    assert "belongs to an ingress that runs" in told.decode()
    with pytest.raises(SpoolTaken):
        async with opened(path, max_bytes=ROOM):
            pass


async def test_it_is_free_again_when_it_was_closed_or_could_not_be_opened(path: Path) -> None:
    other = path.with_name("other.db")
    write(other, b"something else that is not a database at all" * 100)
    for _ in range(2):
        with pytest.raises(Misconfigured, match=r"KGW_SPOOL: .* can not be used: file is not a database"):
            async with opened(other, max_bytes=ROOM):
                pass
    for _ in range(2):
        async with opened(path, max_bytes=ROOM) as spool:
            await spool.append(b"a")
    assert summarize(path).size == Size(2, 2)


@pytest.mark.parametrize("place", ["missing/spool.db", "."])
async def test_a_place_that_can_not_be_used_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(Misconfigured, match="KGW_SPOOL: "):
        async with opened(tmp_path / place, max_bytes=ROOM):
            pass


async def test_a_file_of_another_version_is_left_alone(path: Path) -> None:
    async with opened(path, max_bytes=ROOM) as spool:
        await spool.append(b"a")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")

    with pytest.raises(Misconfigured, match="is of version 7"):
        async with opened(path, max_bytes=ROOM):
            pass


async def test_nobody_else_may_read_the_files(spool: Spool, path: Path) -> None:
    await spool.append(b"a")

    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
        f"spool.db{end}": 0o600 for end in ("", "-wal", "-shm", ".lock")
    }


async def test_an_emptied_spool_gives_the_disk_back(spool: Spool, path: Path) -> None:
    for _ in range(200):
        await spool.append(b"x" * 5_000)
    await spool.remove(await spool.read(ALL, ROOM))
    while await spool.shrink():
        pass

    assert size_of(path) < 100_000
    assert size_of(path.with_name("spool.db-wal")) == 0


async def test_it_commits_with_full_synchronisation(spool: Spool) -> None:
    assert await spool._call(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    assert await spool._call(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)


class SpoolMachine(RuleBasedStateMachine):
    """The spool against a list, through closing, reopening and crashing."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "spool.db"
        self.lives = 0
        self.model: list[bytes] = []
        self.aside: list[bytes] = []
        self.open()

    def open(self) -> None:
        self.stack = AsyncExitStack()
        self.spool = self.runner.run(self.stack.enter_async_context(opened(self.path, max_bytes=ROOM)))

    def records(self) -> list[Record]:
        return self.runner.run(self.spool.read(ALL, ROOM))

    @rule(sent=st.lists(st.binary(max_size=40), max_size=8))
    def append(self, sent: list[bytes]) -> None:
        async def all_at_once() -> None:
            await asyncio.gather(*map(self.spool.append, sent))

        self.runner.run(all_at_once())
        self.model += sent

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        records = self.records()
        gone = data.draw(st.lists(st.sampled_from(records), unique=True) if records else st.just([]))
        self.runner.run(self.spool.remove(gone))
        seqs = {record.seq for record in gone}
        self.model = [record.body for record in records if record.seq not in seqs]

    @precondition(lambda self: self.model)
    @rule(reason=st.text(max_size=10))
    def set_aside(self, reason: str) -> None:
        self.runner.run(self.spool.set_aside(self.records()[0], reason))
        self.aside.append(self.model.pop(0))

    @rule()
    def shrink(self) -> None:
        while self.runner.run(self.spool.shrink()):
            pass

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.stack.aclose())
        self.open()

    @rule()
    def crash(self) -> None:
        self.lives += 1
        left = crashed(self.path, self.folder / str(self.lives))
        self.runner.run(self.stack.aclose())
        self.path = left
        self.open()

    @invariant()
    def is_the_list(self) -> None:
        assert [record.body for record in self.records()] == self.model
        assert self.spool.size == Size(len(self.model), sum(map(len, self.model)))
        assert self.spool.holds_any == self.spool.filled.is_set() == bool(self.model)
        assert len(summarize(self.path).aside) == len(self.aside)

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)


SpoolMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase
