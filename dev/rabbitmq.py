"""
RabbitMQ for the demo, the tests and the benchmarks: one that is given, or a private one that is found and started.

A private server listens on 127.0.0.1 alone, keeps everything in a folder of its own, and several run side by side.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from dev import private, processes
from dev.host import Failed, Host, Unavailable, apt_install
from dev.private import Folder, Given

INSTALL_HINT = "RabbitMQ is missing: install rabbitmq-server or docker, or set KGW_AMQP_URL to a broker."
SERVERS = (
    Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),
    Path("/opt/rabbitmq/sbin/rabbitmq-server"),
    Path("/opt/homebrew/sbin/rabbitmq-server"),
    Path("/usr/local/sbin/rabbitmq-server"),
)
IMAGE = "rabbitmq:4"
START_TIMEOUT = 90.0
STOP_TIMEOUT = 30.0

_CONFIG = """\
# A small disk must not block the publishers of a broker that holds little.
disk_free_limit.absolute = 50MB
"""


class Node:
    """
    A private RabbitMQ node from an installed server, for root and for ordinary users.

    As a context manager it starts, and in the end stops and deletes its folder. In between `kill` and `stop` keep
    the data and the URL, and `start` goes on from there. All three block until it is done.
    """

    def __init__(self, state: Path, server: Path | None = None) -> None:
        """`state` is the folder that holds the node's own. Raises Unavailable when no server is installed."""
        self._server = server or _installed_or_refuse()
        self._folder = Folder.create(state, "rabbitmq")
        self._amqp, self._dist, self._epmd = private.free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None
        self._write_configuration()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._amqp}/"

    @property
    def ports(self) -> tuple[int, int, int]:
        """AMQP, Erlang distribution, epmd."""
        return self._amqp, self._dist, self._epmd

    @property
    def folder(self) -> Path:
        return self._folder.path

    @property
    def pid(self) -> int | None:
        """The Erlang process while it runs. It is not the process that was started: a shell waits in between."""
        file = self.folder / "pid"
        if self._process is None or self._process.poll() is not None or not file.exists():
            return None
        return int(file.read_text().strip() or 0) or None

    def processes(self) -> list[int]:
        """Everything that runs for this node, its epmd included."""
        return self._folder.processes()

    def start(self) -> None:
        """Start, and return when it speaks AMQP. Raises Failed with the end of its log when it does not."""
        if self._process is not None and self._process.poll() is None:
            return
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [self._server],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self._process
        processes.wait_until(lambda: process.poll() is not None or answers_amqp(self._amqp), START_TIMEOUT)
        if process.poll() is not None or not answers_amqp(self._amqp):
            raise Failed(f"RabbitMQ did not start:\n{private.tail(self.folder / 'output.log')}")

    def remembers(self, queue: str) -> bool:
        """
        Whether a quorum queue of the default virtual host would survive `kill`.

        RabbitMQ writes the directory of its quorum queues about a second after it confirmed the declaration. Killed
        before, the queue comes back without a leader and stays so: every operation on it times out.
        """
        name = f"%2F_{queue}".encode()
        return any(name in directory.read_bytes() for directory in self.folder.glob("mnesia/*/quorum/*/names.dets"))

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, no good-bye to clients, no flush. See `remembers` for young queues."""
        if pid := self.pid:
            processes.send(pid, signal.SIGKILL)
        self._reap(STOP_TIMEOUT)

    def stop(self) -> None:
        """End it in good order, and the epmd that it started."""
        if pid := self.pid:
            processes.send(pid, signal.SIGTERM)
            self._reap(STOP_TIMEOUT)
        if not self._folder.end(signal.SIGTERM, 5.0):
            self._folder.end(signal.SIGKILL, 5.0)
        self._reap(STOP_TIMEOUT)

    def close(self) -> None:
        """Stop, and delete its folder."""
        self.stop()
        self._folder.remove()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reap(self, timeout: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._folder.end(signal.SIGKILL, timeout)
            self._process.wait(timeout)
        self._process = None

    def _write_configuration(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(_CONFIG)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "conf.d").mkdir()
        (self.folder / "advanced.config").write_text("[].\n")

    def _environment(self) -> dict[str, str]:
        # Built anew, so that no RABBITMQ_* or ERL_* of the person who calls reaches the node.
        folder = str(self.folder)
        return self._folder.mark | {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": folder,
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"kgw-{self._folder.token}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._amqp),
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
            "RABBITMQ_CONFIG_FILES": f"{folder}/conf.d",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }


class Container:
    """A private RabbitMQ in a container, with the same life as a `Node`."""

    def __init__(self, state: Path, docker: str) -> None:
        self._docker = docker
        self._folder = Folder.create(state, "container")
        (self._amqp,) = private.free_ports(1)
        self._exists = False

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._amqp}/"

    def start(self) -> None:
        name = container_name(self._folder)
        publish = f"127.0.0.1:{self._amqp}:5672"
        create = ["run", "--detach", "--name", name, "--hostname", "kgw", "--publish", publish, IMAGE]
        self._call(["start", name] if self._exists else create)
        self._exists = True
        if not processes.wait_until(lambda: answers_amqp(self._amqp), START_TIMEOUT):
            raise Failed(f"RabbitMQ did not start: see {self._docker} logs {name}")

    def kill(self) -> None:
        self._call(["kill", "--signal", "KILL", container_name(self._folder)])

    def stop(self) -> None:
        self._call(["stop", container_name(self._folder)])

    def close(self) -> None:
        remove_container(self._folder, self._docker)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, arguments: Sequence[str]) -> None:
        done = subprocess.run([self._docker, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"docker {arguments[0]}: {done.stderr.strip()}")


def find(state: Path, *, given: str | None, host: Host, servers: Sequence[Path] = SERVERS) -> Node | Container | Given:
    """
    The broker to use, not started yet: the given URL, an installed server, a container, or apt and then the server.

    Pass `given=None` for a broker of one's own, which can be killed. Raises Unavailable with the line that says what
    to install.
    """
    if given:
        return Given(given)
    if server := installed(host, servers):
        return Node(state, server)
    if docker := running_docker(host):
        return Container(state, docker)
    if apt_install("rabbitmq-server", host) and (server := installed(host, servers)):
        return Node(state, server)
    raise Unavailable(INSTALL_HINT)


def provide(*, given: str | None, host: Host, servers: Sequence[Path] = SERVERS) -> None:
    """Fetch what `find` would have to fetch, so that later commands need no network. Raises Unavailable."""
    if given or installed(host, servers):
        return
    if docker := running_docker(host):
        if host.execute([docker, "pull", "--quiet", IMAGE], {}) == 0:
            return
        raise Unavailable(f"The image {IMAGE} could not be pulled.")
    if not (apt_install("rabbitmq-server", host) and installed(host, servers)):
        raise Unavailable(INSTALL_HINT)


def installed(host: Host, servers: Sequence[Path] = SERVERS) -> Path | None:
    """
    The start script of an installed server that any user may run.

    Debian's /usr/sbin/rabbitmq-server is none: it is a wrapper that turns away everyone but root and rabbitmq.
    """
    on_path = host.which("rabbitmq-server")
    candidates = [*servers, *([Path(on_path)] if on_path else [])]
    return next((each for each in candidates if each.exists() and "wrapper" not in each.resolve().name), None)


def running_docker(host: Host) -> str | None:
    """The docker command, if its engine answers."""
    docker = host.which("docker")
    return docker if docker and host.answers([docker, "info"]) else None


def answers_amqp(port: int) -> bool:
    """
    Whether a broker that is ready listens at 127.0.0.1.

    It answers the protocol header with connection.start, a method frame (type 1, class 10, method 10) on channel 0:
    https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, section 2.2.4.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            start = connection.recv(11, socket.MSG_WAITALL)
    except OSError:
        return False
    return start[:3] == b"\x01\x00\x00" and start[7:11] == b"\x00\x0a\x00\x0a"


def end_node(folder: Folder) -> None:
    """End the node that a killed command left, and delete its folder."""
    folder.end(signal.SIGKILL, 10.0)
    folder.remove()


def end_container(folder: Folder) -> None:
    """Remove the container that a killed command left, and delete its folder."""
    remove_container(folder, Host.here().which("docker"))


def container_name(folder: Folder) -> str:
    return f"kgw-{folder.name}"


def remove_container(folder: Folder, docker: str | None) -> None:
    if docker:
        subprocess.run([docker, "rm", "--force", "--volumes", container_name(folder)], capture_output=True, check=False)
    folder.remove()


def _installed_or_refuse() -> Path:
    if server := installed(Host.here()):
        return server
    raise Unavailable(INSTALL_HINT)
