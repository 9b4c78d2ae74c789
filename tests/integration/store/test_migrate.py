"""The migrations: they build exactly the tables, once, whoever starts them and how many do."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Text, inspect, text

from shared.errors import Misconfigured
from shared.procedure import builtin
from shared.store import procedures, runs
from shared.store.engine import Store, StoreUnreachable, open_store
from shared.store.migrate import migrate
from shared.store.schema import REVISION, require_current
from shared.store.tables import metadata
from tests.builders import a_procedure, at, store_run

ROOT = Path(__file__).parents[3]
MIGRATE = """
import asyncio, sys
from shared.store.migrate import migrate
from shared.store.schema import require_current
from shared.store.engine import open_store

async def main():
    sys.stdin.readline()
    await migrate(sys.argv[1])
    async with open_store(sys.argv[1]) as store:
        await require_current(store)

print("ready", flush=True)
asyncio.run(main())
"""


async def test_the_migrations_build_exactly_the_tables(store: Store) -> None:
    def differences(connection: SyncConnection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    async with store.read() as db:
        assert await db.run_sync(differences) == []


async def test_the_partial_indexes_are_partial(store: Store) -> None:
    """Comparing metadata does not look at an index's WHERE."""

    def partial(connection: SyncConnection) -> set[str]:
        found = inspect(connection)
        dialect = connection.dialect.name
        return {
            str(index["name"])
            for table in metadata.tables
            for index in found.get_indexes(table)
            if index.get("dialect_options", {}).get(f"{dialect}_where") is not None
        }

    async with store.read() as db:
        assert await db.run_sync(partial) == {"ix_runs_open", "ix_actions_open", "ix_results_unpublished"}


async def test_a_new_store_has_the_builtin_procedure_once_however_often_it_is_migrated(empty_store_url: str) -> None:
    await migrate(empty_store_url)
    await migrate(empty_store_url)

    async with open_store(empty_store_url) as store, store.read() as db:
        (saved,) = await procedures.current(db)
    assert saved.version == 1
    assert saved.definition == builtin.GLOBAL


async def test_migrating_again_keeps_what_a_person_made_of_the_builtin_procedure(store: Store, store_url: str) -> None:
    edited = a_procedure(builtin.GLOBAL.name, description="ours")
    async with store.begin() as db:
        await procedures.save(db, edited, now=at(0))

    await migrate(store_url)

    async with store.read() as db:
        (saved,) = await procedures.current(db)
    assert saved.definition == edited


async def test_many_tasks_may_migrate_at_once(empty_store_url: str) -> None:
    await asyncio.gather(*(migrate(empty_store_url) for _ in range(6)))

    async with open_store(empty_store_url) as store:
        await require_current(store)
        async with store.read() as db:
            assert len(await procedures.current(db)) == 1


async def test_processes_that_start_together_may_all_migrate(tmp_path: Path) -> None:
    """On SQLite: its locks are the process's; PostgreSQL's are the connection's, so that tasks tell as much."""
    command = [sys.executable, "-c", MIGRATE, f"sqlite:///{tmp_path / 'new.db'}"]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"

    ends = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    assert [(process.returncode, error) for process, (_, error) in zip(processes, ends, strict=True)] == [(0, b"")] * 2


async def test_the_parent_folder_of_a_new_file_is_made(tmp_path: Path) -> None:
    await migrate(f"sqlite:///{tmp_path}/new/folder/kgw.db")

    assert (tmp_path / "new/folder/kgw.db").exists()


async def test_a_migration_may_rebuild_a_table_that_others_refer_to(sqlite_url: str) -> None:
    """SQLite knows no ALTER COLUMN: the batch form drops the old table, which foreign keys would forbid."""

    def rebuild(connection: SyncConnection) -> None:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("deliveries") as batch:
            batch.alter_column("provider", type_=Text())

    async with open_store(sqlite_url) as store, store.begin() as db:
        run = await store_run(db)
    async with open_store(sqlite_url, is_migrating=True) as store, store.begin() as db:
        await db.run_sync(rebuild)

    async with open_store(sqlite_url) as store, store.read() as db:
        assert (await db.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1
        assert (await db.execute(text("PRAGMA foreign_key_check"))).all() == []
        assert await runs.get(db, run.id) == run


def test_the_newest_migration_is_the_schema_that_this_version_is_written_for() -> None:
    scripts = ScriptDirectory(str(ROOT / "shared" / "store" / "migrations"))

    assert scripts.get_heads() == [REVISION]


async def test_a_store_that_was_never_migrated_is_refused_with_what_to_do(empty_store_url: str) -> None:
    async with open_store(empty_store_url) as store:
        with pytest.raises(Misconfigured, match=r"has schema none.*run kgw migrate"):
            await require_current(store)


async def test_a_store_of_another_version_is_refused(empty_store_url: str) -> None:
    await migrate(empty_store_url)
    async with open_store(empty_store_url) as store:
        await require_current(store)
        async with store.begin() as db:
            await db.execute(text("UPDATE alembic_version SET version_num = '9999'"))

        with pytest.raises(Misconfigured, match="has schema 9999, this version needs"):
            await require_current(store)


async def test_migrating_a_database_that_is_away_says_so() -> None:
    with pytest.raises(StoreUnreachable):
        await migrate("postgresql://kgw@127.0.0.1:1/kgw")
