"""
What the simulated Core was asked and what it really did, for assertions: no client sees this over Komodo's API.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Outcome = Literal[
    "accepted",  # answered, not begun
    "ran",  # the work began: containers may have been touched
    "unchanged",  # an "if changed" that found nothing to do
    "busy",
    "forbidden",
    "unreachable",  # the server is not Ok or disabled
    "lost",  # the Update never completes
    "refused",  # any other error before the work began
]

REMEMBERED = 100_000


@dataclass(slots=True)
class ExecutionRecord:
    """
    One accepted execution; the items of a batch and the children of a procedure have a record each.

    `success` is None until the execution has ended. `update_id` is None where Komodo stores no Update at the start.
    """

    variant: str
    params: dict[str, Any]
    user: str
    resource: str
    update_id: str | None
    at_ms: int
    outcome: Outcome = "accepted"
    success: bool | None = None


@dataclass(frozen=True, slots=True)
class DeployRecord:
    """
    One time that containers of a stack were really brought up, and from which commit.
    """

    stack: str
    services: tuple[str, ...]
    sha: str | None
    update_id: str | None
    at_ms: int


class RequestRecord(NamedTuple):
    """
    One request. `resource` is the stack that its params name, by id or name as the client wrote it; `at_ms` is when it
    arrived.
    """

    area: str
    variant: str
    status: int
    resource: str = ""
    at_ms: int = 0


@dataclass
class History:
    executions: deque[ExecutionRecord] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    deploys: deque[DeployRecord] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    requests: deque[RequestRecord] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def ran(self, resource: str, variant: str | None = None) -> int:
        """
        Count the executions that really did work on the resource, successful or not.
        """
        return sum(
            1
            for record in self.executions
            if record.resource == resource and record.outcome == "ran" and variant in (None, record.variant)
        )

    def outcomes(self, resource: str) -> list[Outcome]:
        return [record.outcome for record in self.executions if record.resource == resource]

    def deployed(self, stack: str) -> list[DeployRecord]:
        return [deploy for deploy in self.deploys if deploy.stack == stack]

    def asked(self, area: str, variant: str) -> int:
        """
        Count the requests of one variant, whatever they were answered.
        """
        return sum(1 for request in self.requests if request.area == area and request.variant == variant)

    def clear(self) -> None:
        self.executions.clear()
        self.deploys.clear()
        self.requests.clear()

    def as_json(self) -> dict[str, Any]:
        return {
            "executions": [asdict(record) for record in self.executions],
            "deploys": [asdict(record) for record in self.deploys],
            "requests": [record._asdict() for record in self.requests],
        }
