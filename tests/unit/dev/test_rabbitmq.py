import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aio_pika
import pytest

from dev import environment, private, processes, rabbitmq
from dev.host import Failed, Unavailable
from dev.private import Folder, Given
from dev.rabbitmq import Container, Node
from tests.unit.dev.hosts import Machine

NOBODY = "nobody"

AS_ORDINARY_USER = """
import os
from pathlib import Path
from dev.rabbitmq import Node
assert os.geteuid() != 0
with Node(Path(".dev")) as node:
    assert node.pid is not None
    started = node.processes()
assert len(started) > 1 and node.processes() == [] and not node.folder.exists()
print("started and stopped")
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    state = tmp_path_factory.mktemp("state")
    both = [Node(state), Node(state)]
    with ThreadPoolExecutor() as pool:
        try:
            list(pool.map(Node.start, both))
            yield both
        finally:
            list(pool.map(Node.close, both))


async def test_two_nodes_run_side_by_side_and_share_nothing(nodes: list[Node]) -> None:
    first, second = nodes
    async with await aio_pika.connect(first.url) as connection, await aio_pika.connect(second.url) as other:
        channel = await connection.channel()
        await channel.declare_queue("mine", durable=True)
        other_channel = await other.channel()

        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await other_channel.declare_queue("mine", passive=True)

    assert set(first.processes()).isdisjoint(second.processes())


def test_everything_listens_on_the_loopback_address_alone(nodes: list[Node]) -> None:
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    ports = {port for node in nodes for port in node.ports}
    listening = [line.split()[1] for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    addresses = {address for address, _, port in (each.rpartition(":") for each in listening) if int(port, 16) in ports}

    if tables[0].exists():
        assert "0100007F" in addresses
    assert addresses <= {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


async def test_a_killed_node_starts_again_at_the_same_url_with_its_data(nodes: list[Node]) -> None:
    node = nodes[0]
    url, pid = node.url, node.pid
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"still here", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
        assert await asyncio.to_thread(processes.wait_until, lambda: node.remembers("kept"), 10)

        node.kill()
        assert node.pid is None
        assert pid is not None
        assert processes.command_line(pid) == ""

    node.start()
    async with await aio_pika.connect(node.url) as connection:
        queue = await (await connection.channel()).declare_queue("kept", passive=True)
        received = await queue.get(timeout=20)
        assert received is not None
        await received.ack()

    assert (node.url, received.body) == (url, b"still here")


def test_stop_leaves_no_process_and_keeps_the_data(nodes: list[Node]) -> None:
    node = nodes[1]
    started = node.processes()
    node.stop()

    assert len(started) > 1
    assert [pid for pid in started if processes.command_line(pid)] == []
    assert node.processes() == []
    assert (node.folder / "mnesia").is_dir()


def test_an_ordinary_user_can_start_and_stop_a_node() -> None:
    """As root, a process without root's rights does it; otherwise we are such a user ourselves."""
    user = NOBODY if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="kgw-user-"))
    try:
        shutil.copytree(Path(environment.__file__).parent, folder / "dev", ignore=shutil.ignore_patterns("__pycache__"))
        if user:
            shutil.chown(folder, user)
        done = subprocess.run(
            [_python_for(user), "-c", AS_ORDINARY_USER],
            cwd=folder,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            user=user,
            group=_group_of(user),
            extra_groups=[] if user else None,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(folder)

    assert (done.stdout, done.stderr) == ("started and stopped\n", "")


def test_a_server_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    server = _script(tmp_path / "rabbitmq-server", "echo no cookie; exit 1")
    node = Node(tmp_path / "state", server)

    with pytest.raises(Failed, match="no cookie"), node:
        pytest.fail("it must not be entered")

    assert list((tmp_path / "state").iterdir()) == []


def test_a_port_without_a_broker_does_not_answer() -> None:
    (port,) = private.free_ports(1)

    assert not rabbitmq.answers_amqp(port)


class TestFind:
    def test_a_given_url_is_used_before_anything_else(self, tmp_path: Path) -> None:
        machine = Machine(tmp_path, programs=["docker"], docker_runs=True)
        found = rabbitmq.find(tmp_path, given="amqp://elsewhere/", host=machine.host())

        assert isinstance(found, Given)
        assert found.url == "amqp://elsewhere/"

    def test_an_installed_server_comes_before_docker(self, tmp_path: Path) -> None:
        server = _script(tmp_path / "rabbitmq-server", "exit 0")
        machine = Machine(tmp_path, programs=["docker"], docker_runs=True)
        found = rabbitmq.find(tmp_path / "state", given=None, host=machine.host(), servers=[server])

        assert isinstance(found, Node)
        found.close()

    def test_debians_wrapper_is_not_a_server(self, tmp_path: Path) -> None:
        wrapper = _script(tmp_path / "rabbitmq-script-wrapper", "exit 0")
        link = tmp_path / "rabbitmq-server"
        link.symlink_to(wrapper)

        assert rabbitmq.installed(Machine(tmp_path).host(), [link]) is None

    def test_docker_comes_before_apt(self, tmp_path: Path) -> None:
        machine = Machine(tmp_path, programs=["docker", "apt-get"], docker_runs=True, root=True, debian=True)
        found = rabbitmq.find(tmp_path / "state", given=None, host=machine.host(), servers=[])

        assert isinstance(found, Container)
        assert machine.executed == []

    def test_root_on_debian_installs_the_server(self, tmp_path: Path) -> None:
        server = tmp_path / "rabbitmq-server"

        def on_install(package: str) -> int:
            _script(server, "exit 0")
            return 0

        machine = Machine(tmp_path, programs=["docker", "apt-get"], root=True, debian=True, on_install=on_install)
        found = rabbitmq.find(tmp_path / "state", given=None, host=machine.host(), servers=[server])

        assert isinstance(found, Node)
        assert machine.executed[-1][-1] == "rabbitmq-server"
        found.close()

    def test_without_any_of_them_one_line_says_what_to_install(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match=r"^RabbitMQ is missing: [^\n]+$") as refused:
            rabbitmq.find(tmp_path, given=None, host=Machine(tmp_path).host(), servers=[])

        assert refused.value.exit_code == 69


def test_a_container_has_the_life_of_a_node(tmp_path: Path) -> None:
    """Docker's command line is written down by a script in its place; the engine itself is not needed."""
    calls = tmp_path / "calls"
    docker = _script(tmp_path / "docker", f'echo "$@" >> {calls}')
    container = Container(tmp_path / "state", str(docker))
    container.kill()
    container.stop()
    container.close()

    (name,) = {line.split()[-1] for line in calls.read_text().splitlines()}
    assert name.startswith("kgw-container-")
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["kill", "stop", "rm"]
    assert list((tmp_path / "state").iterdir()) == []


def test_a_folder_of_a_killed_command_is_removed_without_a_server(tmp_path: Path) -> None:
    folder = Folder.create(tmp_path, "rabbitmq")
    rabbitmq.end_node(folder)

    assert list(tmp_path.iterdir()) == []


def _script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def _group_of(user: str | None) -> int | None:
    return pwd.getpwnam(user).pw_gid if user else None


def _python_for(user: str | None) -> str:
    """Ours may lie in a home folder that the user cannot enter."""
    for python in (sys.executable, environment.base_python(), "/usr/bin/python3", "/usr/bin/python3.11"):
        check = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(check, cwd="/", user=user, capture_output=True, check=False).returncode == 0:
                return python
        except OSError:
            continue
    pytest.skip(f"no Python 3.11 that the user {user} may run")
