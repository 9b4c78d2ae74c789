"""Machines to search for servers on, which write down what they were asked to do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.host import Host


@dataclass
class Machine:
    """A machine with these programs on its PATH; `on_install` happens when apt is asked for a package."""

    folder: Path
    programs: Sequence[str] = ()
    root: bool = False
    debian: bool = False
    docker_runs: bool = False
    on_install: Callable[[str], int] = lambda package: 0
    executed: list[list[str]] = field(default_factory=list)

    def host(self) -> Host:
        return Host(
            execute=self._execute,
            answers=lambda command: "docker" in command[0] and self.docker_runs,
            which=lambda name: f"/bin/{name}" if name in self.programs else None,
            is_root=self.root,
            is_debian=self.debian,
            policy=self.policy,
        )

    @property
    def policy(self) -> Path:
        return self.folder / "policy-rc.d"

    def _execute(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        self.executed.append(list(command))
        return self.on_install(command[-1]) if "install" in command else 0
