from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from dev import postgres, private, processes
from dev.host import Host, Unavailable
from dev.postgres import Cluster
from dev.private import Given
from tests.unit.dev.hosts import Machine


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = postgres.find(tmp_path / "state", given=None, host=Host.here(), durable=False)
    assert isinstance(found, Cluster)
    with found:
        yield found


async def test_a_killed_cluster_starts_again_at_the_same_url_with_its_data(cluster: Cluster) -> None:
    url = cluster.url
    await _execute(url, "CREATE TABLE kept AS SELECT 7 AS value")

    cluster.kill()
    assert cluster.pid is None
    cluster.start()

    assert cluster.url == url
    assert await _fetch(url, "SELECT value FROM kept") == 7


async def test_a_cluster_leaves_neither_process_nor_data(tmp_path: Path) -> None:
    found = postgres.find(tmp_path / "state", given=None, host=Host.here(), durable=True)
    assert isinstance(found, Cluster)
    with found as cluster:
        pid = cluster.pid
        assert await _fetch(cluster.url, "SHOW fsync") == "on"
        assert await _fetch(cluster.url, "SHOW listen_addresses") == "127.0.0.1"

    assert pid is not None
    assert processes.command_line(pid) == ""
    assert not cluster.data.exists()
    assert list((tmp_path / "state").iterdir()) == []


def test_two_clusters_run_side_by_side(tmp_path: Path, cluster: Cluster) -> None:
    other = postgres.find(tmp_path / "state", given=None, host=Host.here(), durable=False)
    with other:
        assert other.url != cluster.url
        assert len(private.in_use(tmp_path / "state")) == 2


def test_the_cluster_of_a_killed_command_is_ended(cluster: Cluster) -> None:
    """The lock is given up here as the kernel does for a killed owner."""
    pid = cluster.pid
    cluster._folder.release()

    (folder,) = private.stale(cluster.folder.parent)
    postgres.end_cluster(folder)

    assert pid is not None
    assert processes.command_line(pid) == ""
    assert not cluster.data.exists()


class TestFind:
    def test_a_given_url_is_used_before_anything_else(self, tmp_path: Path) -> None:
        found = postgres.find(tmp_path, given="postgresql+asyncpg://a@b/c", host=Machine(tmp_path).host(), durable=True)

        assert isinstance(found, Given)
        assert found.url == "postgresql+asyncpg://a@b/c"

    def test_the_newest_of_several_versions_is_used(self, tmp_path: Path) -> None:
        for version in ("9.6", "16", "15"):
            _install(tmp_path / version / "bin")

        found = postgres.installed(Machine(tmp_path).host(), [f"{tmp_path}/*/bin"])
        assert found == tmp_path / "16" / "bin"

    def test_root_on_debian_installs_it(self, tmp_path: Path) -> None:
        def on_install(package: str) -> int:
            _install(tmp_path / "15" / "bin")
            return 0

        machine = Machine(tmp_path, programs=["apt-get"], root=True, debian=True, on_install=on_install)
        postgres.provide(given=None, host=machine.host(), layouts=[f"{tmp_path}/*/bin"])

        assert machine.executed[-1][-1] == "postgresql"

    def test_without_any_of_them_one_line_says_what_to_install(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match=r"^PostgreSQL is missing: [^\n]+$"):
            postgres.find(tmp_path, given=None, host=Machine(tmp_path).host(), durable=True, layouts=[])


def _install(binaries: Path) -> None:
    binaries.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (binaries / name).touch()


async def _execute(url: str, statement: str) -> None:
    async with _connection(url) as connection:
        await connection.execute(text(statement))
        await connection.commit()


async def _fetch(url: str, query: str) -> object:
    async with _connection(url) as connection:
        return (await connection.execute(text(query))).scalar_one()


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()
