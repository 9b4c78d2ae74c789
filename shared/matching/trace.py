"""The explanation that is stored with every event: which predicate decided, with what it wanted and what it found (I7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Decision:
    """Why something did not match: the predicate, the value that it asks for, the value that was there."""

    predicate: str
    reason: str
    wanted: str | None = None
    found: str | None = None

    def to_trace(self) -> dict[str, str]:
        """As it is stored."""
        fields = {"predicate": self.predicate, "reason": self.reason, "wanted": self.wanted, "found": self.found}
        return {name: value for name, value in fields.items() if value is not None}

    def sentence(self) -> str:
        """For a person who asks why nothing happened."""
        if self.wanted is None:
            return self.reason
        if self.predicate == "condition":
            return f"{self.reason}: {self.found or self.wanted}"
        return f"{self.reason}: {self.predicate} is {self.found or 'not known'}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class TriggerMatch:
    """What a procedure's trigger said; `decision` is None when it matched."""

    procedure: str
    matched: bool
    decision: Decision | None = None

    def to_trace(self) -> dict[str, Any]:
        """As it is stored."""
        told: dict[str, Any] = {"procedure": self.procedure, "matched": self.matched}
        return told if self.decision is None else told | {"decision": self.decision.to_trace()}


@dataclass(frozen=True, slots=True)
class Others:
    """What is said once for many stacks, which nobody looked at one by one."""

    count: int
    decision: Decision

    def to_trace(self) -> dict[str, Any]:
        """As it is stored."""
        return {"count": self.count, "decision": self.decision.to_trace()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a target said about one stack. `because` is what made it match where that is worth saying, such as the changed path."""

    stack: str
    picked: bool
    decision: Decision | None = None
    because: str | None = None

    def to_trace(self) -> dict[str, Any]:
        """As it is stored."""
        told: dict[str, Any] = {"stack": self.stack, "picked": self.picked}
        if self.because is not None:
            told["because"] = self.because
        if self.decision is not None:
            told["decision"] = self.decision.to_trace()
        return told
