"""The command against a real console, a real broker, a real store and a simulated Komodo: its exit codes are how it went."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from demo.core.serve import Core, serving
from demo.core.world import World
from shared.broker.topology import Names
from shared.matching.trigger import match
from shared.procedure.model import Trigger
from shared.results import ResultType
from shared.store.deliveries import ReceiptOutcome, add_receipt
from shared.store.engine import Store, open_store
from shared.store.schema import require_current
from tests.builders import NOON, a_procedure, an_event, new_id, store_event
from tests.integration.following import TOKEN, Console, running_console
from tests.unit.kgw.command import Ended, environment, kgw_beside

STARTED, QUEUED = ResultType.RUN_STARTED, ResultType.ACTION_QUEUED


@dataclass(frozen=True)
class Desk:
    """A console, and a shell whose environment names it."""

    console: Console

    async def tail(self, subject: str, *options: str) -> Ended:
        """`kgw tail`, while the console goes on."""
        return await kgw_beside("tail", subject, *options)


@pytest.fixture
async def desk(amqp_url: str, names: Names, sqlite_store: Store) -> AsyncIterator[Desk]:
    async with running_console(amqp_url, names, sqlite_store) as console:
        with environment(KGW_CONSOLE_URL=console.url, KGW_API_TOKEN=TOKEN):
            yield Desk(console)


async def test_a_run_that_succeeded_ends_with_0_and_its_results(desk: Desk) -> None:
    run = await desk.console.teller.new_run()
    await desk.console.teller.run(run, STARTED, QUEUED, ResultType.RUN_SUCCEEDED)

    ended = await desk.tail(run.id, "--format", "json")

    assert (ended.code, ended.err) == (0, "")
    assert [orjson.loads(line)["type"].removeprefix("komodo.webhook.") for line in ended.out.splitlines()] == [
        "run.started",
        "action.queued",
        "run.succeeded",
    ]


async def test_a_run_that_failed_ends_with_1(desk: Desk) -> None:
    run = await desk.console.teller.new_run()
    await desk.console.teller.run(run, STARTED, QUEUED, ResultType.RUN_FAILED, reason="web did not come up")

    ended = await desk.tail(run.id)

    assert ended.code == 1
    assert "web did not come up" in ended.out


async def test_a_delivery_is_followed_as_a_run_is(desk: Desk) -> None:
    delivery = new_id()
    run = await desk.console.teller.new_run(delivery)
    await desk.console.teller.delivery(delivery, ResultType.DELIVERY_ACCEPTED, procedures=["homelab"])
    await desk.console.teller.run(run, STARTED, QUEUED, ResultType.RUN_SUCCEEDED)

    ended = await desk.tail(delivery)

    assert ended.code == 0
    assert len(ended.out.splitlines()) == 4


@pytest.mark.parametrize(("options", "code"), [(("--fail-empty",), 3), ((), 0)])
async def test_a_delivery_that_nothing_matched_ends_with_3_when_asked(
    desk: Desk, options: tuple[str, ...], code: int
) -> None:
    event = an_event()
    async with desk.console.teller.store.begin() as db:
        await store_event(db, event)
        await add_receipt(db, event, ReceiptOutcome.UNMATCHED, {"procedures": []}, received_at=NOON)
    await desk.console.teller.delivery(event.delivery_id, ResultType.DELIVERY_UNMATCHED)

    assert (await desk.tail(event.delivery_id, *options)).code == code


async def test_a_wait_that_is_too_long_ends_with_4(desk: Desk) -> None:
    run = await desk.console.teller.new_run()
    await desk.console.teller.run(run, STARTED)

    ended = await desk.tail(run.id, "--timeout", "0.5")

    assert ended.code == 4
    assert "run.started" in ended.out


async def test_a_wrong_token_ends_with_5_and_one_line(desk: Desk) -> None:
    run = await desk.console.teller.new_run()
    with environment(KGW_CONSOLE_URL=desk.console.url, KGW_API_TOKEN="another token"):
        ended = await desk.tail(run.id)

    assert ended.code == 5
    assert ended.err.startswith("kgw: ")
    assert ended.err.count("\n") == 1
    assert ended.out == ""


async def test_explain_says_first_why_nothing_happened(desk: Desk) -> None:
    event = an_event(delivery_id=new_id(), branch="dev")
    trace = {"procedures": [match(a_procedure(trigger=Trigger(branch="main")), event).to_trace()]}
    async with desk.console.teller.store.begin() as db:
        await store_event(db, event)
        await add_receipt(db, event, ReceiptOutcome.UNMATCHED, trace, received_at=NOON)

    shown = await kgw_beside("explain", event.delivery_id)
    told = await kgw_beside("explain", event.delivery_id, "web", "--format", "json")
    unknown = await kgw_beside("explain", new_id())

    assert (shown.code, told.code, unknown.code) == (0, 0, 1)
    assert shown.out.splitlines()[0] == (
        "No procedure started: homelab did not, because the branch does not match (branch is dev, wanted main)."
    )
    assert orjson.loads(told.out)["rows"][0]["predicate"] == "branch"
    assert unknown.err == "kgw: The console knows nothing of that id.\n"


async def test_an_id_with_a_path_in_it_stays_an_id(desk: Desk) -> None:
    """It is asked for as it stands, and nothing else of the console is."""
    ended = await desk.tail("../../readyz?x=", "--timeout", "1")

    assert ended.code != 0
    assert ended.out == ""


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with serving(World.monorepo("web", "db")) as core:
        yield core


@pytest.fixture
def installation(amqp_url: str, names: Names, sqlite_url: str, core: Core) -> Iterator[dict[str, str]]:
    """The environment of a complete installation."""
    values = {
        "KGW_AMQP_URL": amqp_url,
        "KGW_AMQP_PREFIX": names.prefix,
        "KGW_DATABASE_URL": sqlite_url,
        "KOMODO_ADDRESS": core.url,
        "KOMODO_API_KEY": core.key,
        "KOMODO_API_SECRET": core.secret,
        "KOMODO_WEBHOOK_SECRET": "Zy0Qn4f2ReZcJq1rQ9mSTu7b",
        "KGW_API_TOKEN": TOKEN,
    }
    with environment(**values):
        yield values


def failed(ended: Ended) -> list[str]:
    """The lines about what is not well."""
    return [line for line in ended.out.splitlines() if line.startswith("FAIL")]


async def test_doctor_ends_with_0_when_all_is_well(installation: dict[str, str]) -> None:
    ended = await kgw_beside("doctor")

    assert failed(ended) == []
    assert (ended.code, ended.err) == (0, "")
    assert len(ended.out.splitlines()) >= 5
    for secret in ("KOMODO_API_KEY", "KOMODO_API_SECRET", "KOMODO_WEBHOOK_SECRET", "KGW_API_TOKEN"):
        assert installation[secret] not in ended.out


async def test_doctor_names_a_komodo_that_is_away_and_ends_with_1(
    installation: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgw.doctor.CHECK_SECONDS", 1.0)
    with environment(**installation | {"KOMODO_ADDRESS": "http://127.0.0.1:1"}):
        ended = await kgw_beside("doctor")

    assert ended.code == 1
    assert failed(ended)
    assert all(line.split()[1].startswith("komodo") for line in failed(ended))


async def test_doctor_names_a_wrong_api_key(installation: dict[str, str]) -> None:
    with environment(**installation | {"KOMODO_API_SECRET": "S-another"}):
        ended = await kgw_beside("doctor")

    assert ended.code == 1
    assert [line.split()[1] for line in failed(ended)]
    assert "S-another" not in ended.out + ended.err


async def test_doctor_names_a_store_that_was_not_migrated_and_does_not_make_it(
    installation: dict[str, str], tmp_path: Path
) -> None:
    with environment(**installation | {"KGW_DATABASE_URL": f"sqlite:///{tmp_path / 'none.db'}"}):
        ended = await kgw_beside("doctor")

    assert ended.code == 1
    (line,) = failed(ended)
    assert line.split()[1] == "store"
    assert "kgw migrate" in line
    assert not (tmp_path / "none.db").exists()


async def test_migrating_twice_is_as_good_as_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'kgw.db'}"
    with environment(KGW_DATABASE_URL=url):
        codes = [(await kgw_beside("migrate")).code for _ in range(2)]

    assert codes == [0, 0]
    async with open_store(url) as store:
        await require_current(store)
