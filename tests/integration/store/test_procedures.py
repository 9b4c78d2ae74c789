"""Procedures: each save is a version of its own, also when two people save at once."""

from __future__ import annotations

import asyncio

from sqlalchemy import select

from shared.procedure import builtin
from shared.store import procedures
from shared.store.engine import Store
from shared.store.procedures import SavedProcedure
from shared.store.tables import procedure_versions
from tests.builders import a_procedure, a_stage, at


async def save(store: Store, name: str, description: str) -> SavedProcedure:
    async with store.begin() as db:
        return await procedures.save(db, a_procedure(name, description=description), now=at(0))


async def test_a_procedure_comes_back_as_it_was_saved(store: Store) -> None:
    procedure = a_procedure("two", stages=(a_stage("one"), a_stage("two", on_failure="continue")))
    async with store.begin() as db:
        saved = await procedures.save(db, procedure, now=at(0))

    async with store.read() as db:
        assert saved in await procedures.current(db)
    assert saved.definition == procedure
    assert saved.version == 1


async def test_saving_again_makes_a_new_version_of_the_same_procedure(store: Store) -> None:
    first = await save(store, "homelab", "first")
    second = await save(store, "homelab", "second")

    assert (second.id, second.version) == (first.id, 2)
    async with store.read() as db:
        newest = {each.definition.name: each for each in await procedures.current(db)}
    assert newest["homelab"] == second


async def test_an_old_version_never_changes(store: Store) -> None:
    first = await save(store, "homelab", "first")
    await save(store, "homelab", "second")

    query = select(procedure_versions.c.definition).where(
        procedure_versions.c.procedure_id == first.id, procedure_versions.c.version == 1
    )
    async with store.read() as db:
        kept = (await db.execute(query)).scalar_one()
    assert kept["description"] == "first"


async def test_procedures_are_listed_by_name(store: Store) -> None:
    for name in ("zebra", "apple", "mango"):
        await save(store, name, "")

    async with store.read() as db:
        names = [saved.definition.name for saved in await procedures.current(db)]
    assert names == sorted(["zebra", "apple", "mango", builtin.GLOBAL.name])


async def test_people_who_save_at_once_make_a_version_each(store: Store) -> None:
    saved = await asyncio.gather(*(save(store, "contended", str(number)) for number in range(8)))

    assert sorted(each.version or 0 for each in saved) == list(range(1, 9))
    assert len({each.id for each in saved}) == 1
