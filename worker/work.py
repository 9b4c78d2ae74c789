"""What a message on the `actions` queue asks for: to run an action's attempt, or to move a run on."""

from __future__ import annotations

from pydantic import ValidationError

from shared.broker.framing import Outgoing
from shared.errors import Poison
from shared.event import Frozen
from shared.store.actions import Due


class Work(Frozen):
    """
    One small message. With `action_id` it runs that attempt; without, it moves the run to its next stage.

    It carries ids alone: what it may do is decided by the store, so a second copy does nothing.
    """

    run_id: str
    action_id: str | None = None
    attempt: int = 0

    @classmethod
    def from_body(cls, body: bytes) -> Work:
        """Parse a message's body; raises `Poison`."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"]) or "body"
            raise Poison(f"not a message for a worker: {where}: {problem['msg']}") from error

    @classmethod
    def for_action(cls, due: Due) -> Work:
        """The message that runs a queued action."""
        return cls(run_id=due.run_id, action_id=due.action_id, attempt=due.attempt)

    def to_message(self) -> Outgoing:
        """As it is published."""
        return Outgoing(self.model_dump_json(exclude_none=True).encode(), message_id=self.action_id or self.run_id)
