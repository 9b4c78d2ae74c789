"""`kgw spool`: what is there, for people and for programs, and what stands in the way of draining it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from ingress.spool import opened
from tests.builders import NOON, an_event
from tests.unit.kgw.command import environment, kgw, kgw_beside


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where the command looks."""
    path = tmp_path / "spool.db"
    with environment(KGW_SPOOL=str(path)):
        yield path


def fill(path: Path) -> None:
    """Two events, one that is none, and a failure."""

    async def work() -> None:
        async with opened(path, max_bytes=100_000, now=lambda: NOON) as spool:
            for _ in range(3):
                await spool.append(an_event().to_bytes())
            (first,) = await spool.read(1, 1)
            await spool.set_aside(first, "not an event")
            await spool.note_failure("the broker did not confirm")

    asyncio.run(work())


def test_a_spool_that_was_never_made_is_shown_as_empty(path: Path) -> None:
    shown = kgw("spool", "show", "-f", "json")

    assert shown.code == 0
    assert orjson.loads(shown.out) == {"events": 0, "bytes": 0, "oldest": None, "last_error": None, "set_aside": []}
    assert kgw("spool", "drain").err == "published 0 events\n"
    assert not path.exists()


def test_a_spool_is_shown_to_programs(path: Path) -> None:
    fill(path)
    shown = orjson.loads(kgw("spool", "show", "-f", "json").out)

    noon = NOON.isoformat(timespec="milliseconds")
    assert shown.pop("bytes") > 100
    assert shown == {
        "events": 2,
        "oldest": noon,
        "last_error": {"at": noon, "reason": "the broker did not confirm"},
        "set_aside": [{"seq": 1, "at": noon, "reason": "not an event"}],
    }


def test_a_spool_is_shown_to_people(path: Path) -> None:
    fill(path)
    lines = kgw("spool", "show").out.splitlines()

    assert lines[0].split() == ["events", "2"]
    assert lines[3].endswith("the broker did not confirm")
    assert lines[-1].endswith("not an event")


async def test_an_ingress_that_has_the_spool_is_said_to_empty_it_itself(path: Path) -> None:
    async with opened(path, max_bytes=100_000) as spool:
        await spool.append(an_event().to_bytes())
        told = await kgw_beside("spool", "drain")
        shown = await kgw_beside("spool", "show", "-f", "json")

    assert told.code == 1
    assert told.err.startswith("kgw: an ingress has the spool and empties it by itself")
    assert orjson.loads(shown.out)["events"] == 1


def test_there_is_nothing_to_show_where_it_is_off() -> None:
    with environment(KGW_SPOOL="off"):
        for verb in ("show", "drain"):
            told = kgw("spool", verb)
            assert (told.code, told.err) == (78, 'kgw: KGW_SPOOL is "off": there is no spool\n')


def test_what_is_no_spool_is_named(path: Path) -> None:
    path.write_text("something else")
    told = kgw("spool", "show")

    assert told.code == 78
    assert told.err.startswith(f"kgw: KGW_SPOOL: {path} can not be read")
