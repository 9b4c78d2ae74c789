"""
The command: it starts the processes and asks them. Data goes to standard output, everything else to standard error.

Exit codes: 0 done, 1 it failed, 2 usage, 3 nothing matched (with --fail-empty), 4 the wait timed out, 5 unauthorised, 69 something is unreachable,
78 bad configuration, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kgw import hook
from kgw.formats import Format
from shared.errors import KgwError

app = typer.Typer(
    name="kgw",
    help="One webhook for all Komodo stacks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(hook.app)

spool = typer.Typer(help="What the ingress keeps while the broker is away.", no_args_is_help=True)
app.add_typer(spool, name="spool")


class Exit(IntEnum):
    """How the command ends."""

    DONE = 0
    FAILED = 1
    NOTHING_MATCHED = 3
    TIMED_OUT = 4
    UNAUTHORISED = 5
    UNREACHABLE = 69
    INTERRUPTED = 130


def main() -> None:
    """Run the command; every error of ours is one line."""
    try:
        app()
    except KgwError as error:
        typer.echo(f"kgw: {error.reason}", err=True)
        sys.exit(_exit_code(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


def _exit_code(error: KgwError) -> int:
    from kgw.remote import Unauthorised
    from shared.process import exit_code

    return Exit.UNAUTHORISED if isinstance(error, Unauthorised) else exit_code(error)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(version("komodo-global-webhook"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The TOML file with settings, instead of KGW_CONFIG.")
    ] = None,
) -> None:
    """What stands before the verb."""
    if config is not None:
        os.environ["KGW_CONFIG"] = str(config)


@app.command()
def ingress() -> None:
    """Receive webhooks and publish them as events."""
    from ingress.app import main as run

    run()


@app.command()
def worker() -> None:
    """Plan events and run their actions on Komodo; start as many as you like."""
    from worker.app import main as run

    run()


@app.command()
def console() -> None:
    """Serve the status API."""
    from console.app import main as run

    run()


@app.command(name="all")
def everything() -> None:
    """Ingress, worker and console in one process, on a migrated store: enough for a home server."""
    from console.app import run as run_console
    from ingress.app import run as run_ingress
    from shared import process
    from shared.settings import ConsoleSettings, IngressSettings, WorkerSettings, load
    from shared.store.migrate import migrate as run_migrations
    from worker.app import run as run_worker

    starts = partial(run_ingress, load(IngressSettings)), partial(run_console, load(ConsoleSettings))

    async def together(settings: WorkerSettings, stop: asyncio.Event) -> None:
        await run_migrations(settings.database_url.get_secret_value())
        async with asyncio.TaskGroup() as group:
            for start in (*starts, partial(run_worker, settings)):
                group.create_task(start(stop))

    process.main(WorkerSettings, together)


@app.command()
def migrate() -> None:
    """Bring the store to the newest schema; safe to repeat."""
    from shared.settings import StoreSettings, load
    from shared.store.migrate import migrate as run_migrations

    asyncio.run(run_migrations(load(StoreSettings).database_url.get_secret_value()))
    typer.echo("the store has the newest schema", err=True)


@app.command()
def send(
    payload: Annotated[Path, typer.Argument(help="The provider's JSON body.", exists=True, dir_okay=False)],
    provider: Annotated[str, typer.Option(help="github, gitlab, gitea, forgejo or gogs.")] = "github",
    event: Annotated[str, typer.Option(help="The provider's word for the event.")] = "push",
    delivery: Annotated[
        str | None, typer.Option(help="The provider's delivery id; the same again is a redelivery.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="The listener's URL; by default the global one.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Then follow what becomes of it.")] = False,
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
) -> None:
    """Send a payload to the listener, signed with KOMODO_WEBHOOK_SECRET."""
    import orjson

    from kgw import sending
    from shared.settings import CliSettings, load, require

    settings = load(CliSettings)
    require(settings, "webhook_secret")
    body = payload.read_bytes()
    secret = settings.webhook_secret.get_secret_value()
    headers = sending.headers_for(provider, event, body, secret, delivery)
    target = url or sending.url_for(provider, settings.ingress_url, secret)
    status, answer = asyncio.run(sending.send(target, body, headers))
    typer.echo(orjson.dumps(answer).decode(), err=follow)
    if status >= 300:
        raise typer.Exit(Exit.UNAUTHORISED if status == 401 else Exit.UNREACHABLE if status == 503 else Exit.FAILED)
    if follow and answer.get("status") == "queued":
        raise typer.Exit(_tail(str(answer["delivery"]), output, timeout=None, fail_empty=False))


@app.command()
def tail(
    subject: Annotated[str, typer.Argument(help="A run's or a delivery's id.", metavar="ID")],
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
    timeout: Annotated[float | None, typer.Option(help="Give up after so many seconds.")] = None,
    fail_empty: Annotated[bool, typer.Option("--fail-empty", help="Exit with 3 when nothing matched.")] = False,
) -> None:
    """Follow a run or a delivery until it has ended; the exit code says how. What was refused has no id to follow."""
    raise typer.Exit(_tail(subject, output, timeout=timeout, fail_empty=fail_empty))


def _tail(subject: str, output: Format, *, timeout: float | None, fail_empty: bool) -> Exit:
    from kgw import tailing
    from shared.settings import CliSettings, load

    shown: tailing.Show = tailing.show_json if output is Format.JSON else tailing.show_line
    watching: Coroutine[Any, Any, tailing.Ending] = tailing.watch(load(CliSettings), subject, shown, timeout=timeout)
    match asyncio.run(watching):
        case tailing.Ending.TIMED_OUT:
            return Exit.TIMED_OUT
        case tailing.Ending.FAILED:
            return Exit.FAILED
        case tailing.Ending.NOTHING_MATCHED if fail_empty:
            return Exit.NOTHING_MATCHED
        case _:
            return Exit.DONE


@app.command()
def explain(
    delivery: Annotated[str, typer.Argument(help="A delivery's id.")],
    stack: Annotated[str | None, typer.Argument(help="Only this stack, by its name.")] = None,
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
) -> None:
    """Say why procedures and stacks were or were not picked."""
    from kgw import explaining
    from shared.settings import CliSettings, load

    told = asyncio.run(explaining.explanation(load(CliSettings), delivery, stack))
    (explaining.show_json if output is Format.JSON else explaining.show_table)(told)


@app.command(name="catch-up")
def catch_up(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the providers, and only print what would be done.")
    ] = False,
    deploy_new: Annotated[
        bool, typer.Option("--deploy-new", help="Also deploy branches of which no push is known yet.")
    ] = False,
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
) -> None:
    """Ask the providers for pushes that were missed while nobody listened, and publish them."""
    import orjson

    from kgw.catching import as_document, as_lines, catch_up_once
    from shared import logs
    from shared.settings import WorkerSettings, load

    logs.configure("error", "standard")
    report = asyncio.run(catch_up_once(load(WorkerSettings), is_dry=dry_run, deploys_new=deploy_new))
    lines = [orjson.dumps(as_document(report)).decode()] if output is Format.JSON else as_lines(report, is_dry=dry_run)
    for line in lines:
        typer.echo(line)
    for problem in report.problems:
        typer.echo(f"kgw: {problem.where}: {problem.reason}", err=True)
    if report.problems:
        raise typer.Exit(Exit.FAILED)


@app.command()
def doctor() -> None:
    """Check every setting against the live thing and say what to do."""
    from kgw.doctor import examine
    from shared import logs

    logs.configure("error", "standard")

    async def all_well() -> bool:
        well = True
        async for finding in examine():
            typer.echo(f"{'ok  ' if finding.is_well else 'FAIL'} {finding.name:<15} {finding.text}")
            well = well and finding.is_well
        return well

    if not asyncio.run(all_well()):
        raise typer.Exit(Exit.FAILED)


@app.command()
def config(output: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE) -> None:
    """Print the effective settings of each process, without secrets, and where each value comes from."""
    from dataclasses import asdict

    import orjson

    from kgw.configuration import effective

    settings = effective()
    if output is Format.JSON:
        typer.echo(orjson.dumps([asdict(setting) for setting in settings]).decode())
        return
    for setting in settings:
        typer.echo(f"{setting.process:<8} {setting.key:<26} {setting.value:<40} {setting.origin}")


@spool.command(name="show")
def show_spool(output: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE) -> None:
    """Print how much waits there, since when, and why it was not published; works while the ingress runs."""
    import orjson

    from kgw.spool import as_document, as_lines, summary_of
    from shared.settings import IngressSettings, load

    summary = summary_of(load(IngressSettings))
    lines = [orjson.dumps(as_document(summary)).decode()] if output is Format.JSON else as_lines(summary)
    for line in lines:
        typer.echo(line)


@spool.command(name="drain")
def drain_spool() -> None:
    """Publish all that waits there, without the ingress; one that runs does it by itself."""
    from kgw.spool import drain
    from shared import logs
    from shared.settings import IngressSettings, load

    logs.configure("error", "standard")
    typer.echo(f"published {asyncio.run(drain(load(IngressSettings)))} events", err=True)
