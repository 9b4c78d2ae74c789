"""
The verbs of `./run`: one table, one short function each.

Every verb stops what it started, also when it is interrupted, and ends what an earlier, killed command left.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dev import environment, postgres, private, processes, rabbitmq
from dev.environment import Checkout, child_environment
from dev.host import Failed, Host, Unavailable
from dev.private import Folder
from dev.processes import Interrupted, say

USAGE = 2
SUITES = ("tests/unit", "tests/integration", "tests/e2e", "tests/drills")

_STALE_ENDS: dict[str, Callable[[Folder], None]] = {
    "command": Folder.end_and_remove,
    "rabbitmq": rabbitmq.end_node,
    "container": rabbitmq.end_container,
    "postgres": postgres.end_cluster,
}

Function = Callable[["Session", list[str]], int]


@dataclass
class Session:
    """One call of `./run`: where, on which machine, with which environment."""

    checkout: Checkout
    host: Host
    environ: Mapping[str, str]
    left_out: list[str] = field(default_factory=list)

    @property
    def is_ci(self) -> bool:
        return self.environ.get("CI", "").lower() in ("true", "1")

    def run(self, command: Sequence[str], **settings: str) -> int:
        """
        Run a program of .venv in the checkout, with additions to the environment, and end what it left running.

        What is left is known by its mark, so processes that took a session of their own are found too.
        """
        folder = Folder.create(self.checkout.state, "command")
        env = child_environment(self.checkout, self.environ) | settings | folder.mark
        try:
            return processes.run([self.checkout.tool(command[0]), *command[1:]], env=env, cwd=self.checkout.root)
        finally:
            folder.end_and_remove()


@dataclass(frozen=True)
class Verb:
    run: Function
    help: str
    needs_venv: bool = True


@dataclass(frozen=True)
class Part:
    """A part of the test command, timed and reported by name."""

    name: str
    run: Callable[[], int]


def main(arguments: Sequence[str], root: Path | None = None) -> int:
    """Run one verb and return its exit code; messages go to standard error."""
    name, *rest = arguments or [""]
    verb = VERBS.get({"-h": "help", "--help": "help"}.get(name, name))
    if verb is None:
        say(f"{f'No such verb: {name}' if name else 'Which verb?'}\n\n{table()}")
        return USAGE
    checkout = Checkout(root or Path(__file__).resolve().parent.parent)
    session = Session(checkout, Host.here(), os.environ)
    try:
        with processes.interruptible():
            return _run(verb, session, rest)
    except Interrupted as interrupted:
        return interrupted.exit_code
    except Failed as failed:
        say(str(failed))
        return failed.exit_code


def _run(verb: Verb, session: Session, arguments: list[str]) -> int:
    end_stale(session.checkout)
    if verb.needs_venv:
        environment.prepare(session.checkout, host=session.host, execute=environment.run_quietly)
    return verb.run(session, arguments)


def end_stale(checkout: Checkout) -> None:
    """End the servers and children of commands that were killed before they could do it themselves."""
    for folder in private.stale(checkout.state):
        if end := _STALE_ENDS.get(folder.kind):
            say(f"Ending {folder.name}, which a killed command left.")
            end(folder)


# Verbs


def setup(session: Session, arguments: list[str]) -> int:
    """The environment is prepared by then; fetch the servers too, so that later verbs need no network."""
    for provide, setting in ((rabbitmq.provide, "KGW_AMQP_URL"), (postgres.provide, "KGW_TEST_DATABASE_URL")):
        try:
            provide(given=session.environ.get(setting), host=session.host)
        except Unavailable as missing:
            say(str(missing))
    return 0


def test(session: Session, arguments: list[str]) -> int:
    return run_parts(
        [
            Part("lint", lambda: check_lint(session)),
            Part("types", lambda: session.run(["mypy"])),
            Part("tests", lambda: run_suites(session, SUITES, arguments)),
        ],
        session.left_out,
    )


def unit(session: Session, arguments: list[str]) -> int:
    return run_pytest(session, ["tests/unit"], arguments)


def integration(session: Session, arguments: list[str]) -> int:
    return run_suites(session, ["tests/integration"], arguments)


def e2e(session: Session, arguments: list[str]) -> int:
    return run_suites(session, ["tests/e2e"], arguments)


def drill(session: Session, arguments: list[str]) -> int:
    return run_suites(session, ["tests/drills"], arguments)


def lint(session: Session, arguments: list[str]) -> int:
    return check_lint(session) or session.run(["mypy"])


def format_code(session: Session, arguments: list[str]) -> int:
    return session.run(["ruff", "check", "--fix", ".", "run"]) or session.run(["ruff", "format", ".", "run"])


def bench(session: Session, arguments: list[str]) -> int:
    with servers(session, durable=True) as urls:
        return session.run(["python", "-m", "bench", *arguments], KGW_AMQP_URL=urls["KGW_TEST_AMQP_URL"], **urls)


def demo(session: Session, arguments: list[str]) -> int:
    with rabbitmq_server(session) as broker:
        return session.run(["python", "-m", "demo.tour", *arguments], KGW_AMQP_URL=broker.url)


def clean(session: Session, arguments: list[str]) -> int:
    if owned := private.in_use(session.checkout.state):
        raise Failed(f"Another command still uses {', '.join(owned)}.")
    environment.clean(session.checkout)
    return 0


def show_help(session: Session, arguments: list[str]) -> int:
    print(table())
    return 0


# What the verbs are made of


def check_lint(session: Session) -> int:
    """Every linter speaks, so that one call shows all there is to mend; the first failure decides."""
    codes = [
        session.run(["ruff", "check", ".", "run"]),
        session.run(["ruff", "format", "--check", ".", "run"]),
        session.run(["lint-imports"]),
    ]
    return next(filter(None, codes), 0)


def run_suites(session: Session, suites: Sequence[str], arguments: list[str]) -> int:
    with servers(session, durable=False) as urls:
        return run_pytest(session, suites, arguments, **urls)


def run_pytest(session: Session, suites: Sequence[str], arguments: list[str], **urls: str) -> int:
    return session.run(["python", "-m", "pytest", *suites, *arguments], **urls)


def run_parts(parts: Sequence[Part], left_out: Sequence[str]) -> int:
    """Run every part, show how long each took, and return the exit code of the first that failed."""
    ended: list[tuple[str, int, float]] = []
    try:
        for part in parts:
            say(f"── {part.name}")
            began = time.monotonic()
            ended.append((part.name, part.run(), time.monotonic() - began))
    finally:
        for name, code, seconds in ended:
            say(f"{name:8} {'ok' if code == 0 else f'failed ({code})':12} {seconds:7.1f} s")
        for line in left_out:
            say(f"Left out: {line}")
    return next((code for _, code, _ in ended if code), 0)


def rabbitmq_server(session: Session) -> private.Server:
    return rabbitmq.find(session.checkout.state, given=session.environ.get("KGW_AMQP_URL"), host=session.host)


@contextmanager
def servers(session: Session, *, durable: bool) -> Iterator[dict[str, str]]:
    """
    One broker and one database server, as settings for a child.

    Without PostgreSQL its share is left out and said so; in CI that is a failure.
    """
    with ExitStack() as stack:
        broker = stack.enter_context(rabbitmq_server(session))
        urls = {"KGW_TEST_AMQP_URL": broker.url}
        if database := _database(session, durable=durable):
            urls["KGW_TEST_DATABASE_URL"] = stack.enter_context(database).url
        yield urls


def _database(session: Session, *, durable: bool) -> private.Server | None:
    given = session.environ.get("KGW_TEST_DATABASE_URL")
    try:
        return postgres.find(session.checkout.state, given=given, host=session.host, durable=durable)
    except Unavailable as missing:
        if session.is_ci:
            raise
        session.left_out.append(f"everything on PostgreSQL. {missing}")
        say(session.left_out[-1])
        return None


VERBS: dict[str, Verb] = {
    "demo": Verb(
        demo, "one signed push through everything, live, against a simulated Komodo (--check: assert and exit)"
    ),
    "test": Verb(test, "lint, types and every test, on real servers; what CI runs (arguments go to pytest)"),
    "setup": Verb(setup, "make .venv from the locks and fetch the servers; the other verbs do the first themselves"),
    "unit": Verb(unit, "the tests of the parts"),
    "integration": Verb(integration, "the tests on a real RabbitMQ, SQLite and PostgreSQL"),
    "e2e": Verb(e2e, "the tests that drive the processes"),
    "drill": Verb(drill, "the tests that kill the processes"),
    "lint": Verb(lint, "ruff, the import contracts and mypy"),
    "format": Verb(format_code, "let ruff mend and format the code"),
    "bench": Verb(bench, "measure (arguments go to the benchmark)"),
    "clean": Verb(clean, "delete .venv, .dev and every cache", needs_venv=False),
    "help": Verb(show_help, "this list", needs_venv=False),
}


def table() -> str:
    width = max(map(len, VERBS))
    return "\n".join(
        ["./run VERB [ARGUMENTS]", "", *(f"  {name:{width}}  {verb.help}" for name, verb in VERBS.items())]
    )
