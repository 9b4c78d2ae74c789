import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dev import postgres, private, processes, verbs
from dev.environment import Checkout
from dev.host import Unavailable
from dev.private import Folder
from dev.verbs import VERBS, Part, Session
from tests.unit.dev.hosts import Machine

ROOT = Path(verbs.__file__).resolve().parent.parent

# Calls Session.run in a checkout of its own, as a verb does.
COMMAND = """
import sys
from pathlib import Path
from dev import processes
from dev.verbs import Checkout, Host, Interrupted, Session, end_stale
checkout = Checkout(Path(sys.argv[1]))
end_stale(checkout)
try:
    with processes.interruptible():
        sys.exit(Session(checkout, Host.here(), {}).run(["python", "-c", sys.argv[2]]))
except Interrupted as interrupted:
    sys.exit(interrupted.exit_code)
"""

# Counts its signals, and has a child of its own session that it forgets.
CHILD = """
import signal, subprocess
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append("INT"))
signal.signal(signal.SIGTERM, lambda *_: caught.append("TERM"))
forgotten = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
print(forgotten.pid, flush=True)
while not caught:
    signal.pause()
signal.sigtimedwait([], 0.3)
print(*caught, flush=True)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    checkout = Checkout(tmp_path)
    checkout.python.parent.mkdir(parents=True)
    checkout.python.symlink_to(sys.executable)
    return checkout


def start(checkout: Checkout, child: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, str(checkout.root), child]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def first_pid(command: subprocess.Popen[str]) -> int:
    assert command.stdout is not None
    return int(command.stdout.readline())


@pytest.mark.parametrize(("signum", "name"), [(signal.SIGINT, "INT"), (signal.SIGTERM, "TERM")])
def test_a_stop_signal_reaches_the_child_once_and_nothing_stays(
    checkout: Checkout, signum: signal.Signals, name: str
) -> None:
    with start(checkout, CHILD) as command:
        forgotten = first_pid(command)
        command.send_signal(signum)
        command.send_signal(signum)
        output, _ = command.communicate(timeout=30)

    assert output.split() == [name]
    assert command.returncode == 128 + signum
    assert processes.command_line(forgotten) == ""
    assert list(checkout.state.iterdir()) == []


def test_what_a_killed_command_left_is_ended_by_the_next(checkout: Checkout) -> None:
    with start(checkout, CHILD) as command:
        forgotten = first_pid(command)
        command.kill()
    assert processes.command_line(forgotten) != ""

    with start(checkout, "print(0)") as following:
        following.communicate(timeout=30)

    assert following.returncode == 0
    assert processes.command_line(forgotten) == ""
    assert list(checkout.state.iterdir()) == []


@pytest.mark.parametrize(("child", "code"), [("raise SystemExit(5)", 5), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_is_the_childs(checkout: Checkout, child: str, code: int) -> None:
    session = Session(checkout, Machine(checkout.root).host(), {})

    assert session.run(["python", "-c", child]) == code


def test_all_parts_run_and_the_first_failure_gives_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [Part("lint", lambda: 0), Part("types", lambda: 2), Part("tests", lambda: 1)]

    assert verbs.run_parts(parts, ["PostgreSQL"]) == 2
    report = capsys.readouterr().err.splitlines()[-4:]
    assert [line.split()[:2] for line in report[:3]] == [["lint", "ok"], ["types", "failed"], ["tests", "failed"]]
    assert report[3] == "Left out: PostgreSQL"


@pytest.mark.parametrize("asked", ["help", "-h", "--help"])
def test_help_lists_every_verb_with_one_line(asked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.main([asked], tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()[2:]

    assert [line.split()[0] for line in lines] == list(VERBS)
    assert all(len(line.split()) > 1 for line in lines)


@pytest.mark.parametrize("arguments", [[], ["deploy"]])
def test_an_unknown_verb_is_a_usage_error(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verbs.main(arguments, tmp_path) == verbs.USAGE
    assert "./run VERB" in capsys.readouterr().err


def test_clean_is_refused_while_another_command_uses_a_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder.create(tmp_path / ".dev", "rabbitmq")

    assert verbs.main(["clean"], tmp_path) == 1
    assert folder.name in capsys.readouterr().err
    assert private.in_use(tmp_path / ".dev") == [folder.name]
    folder.remove()


class TestWithoutPostgres:
    """The broker is given, so that only the database is looked for, on a machine that has none."""

    @pytest.fixture(autouse=True)
    def nothing_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "installed", lambda host, layouts: None)

    def session(self, root: Path, **environ: str) -> Session:
        return Session(Checkout(root), Machine(root).host(), {"KGW_AMQP_URL": "amqp://given/", **environ})

    def test_the_tests_say_what_they_leave_out(self, tmp_path: Path) -> None:
        session = self.session(tmp_path)
        with verbs.servers(session, durable=False) as urls:
            assert urls == {"KGW_TEST_AMQP_URL": "amqp://given/"}

        assert len(session.left_out) == 1
        assert "PostgreSQL" in session.left_out[0]

    def test_ci_fails(self, tmp_path: Path) -> None:
        with (
            pytest.raises(Unavailable, match="PostgreSQL"),
            verbs.servers(self.session(tmp_path, CI="true"), durable=False),
        ):
            pytest.fail("it must not be entered")


def test_the_script_runs_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run([ROOT / "run", "help"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, verbs.table() + "\n")
