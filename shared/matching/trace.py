"""The explanation that is stored with every event: which predicate decided, with what it wanted and what it found (I7)."""

from __future__ import annotations

from typing import Any

from shared.event import Frozen


class Decision(Frozen):
    """Why something did not match: the predicate, the value that it asks for, the value that was there."""

    predicate: str
    reason: str
    wanted: str | None = None
    found: str | None = None

    def sentence(self) -> str:
        """For a person who asks why nothing happened."""
        if self.wanted is None:
            return self.reason
        return f"{self.reason}: {self.predicate} is {self.found or 'not known'}, wanted {self.wanted}"


class TriggerMatch(Frozen):
    """What a procedure's trigger said; `decision` is None when it matched."""

    procedure: str
    matched: bool
    decision: Decision | None = None

    def to_trace(self) -> dict[str, Any]:
        """As it is stored."""
        return self.model_dump(exclude_none=True)


class Verdict(Frozen):
    """What a target said about one stack. `because` is what made it match where that is worth saying, such as the changed path."""

    stack: str
    picked: bool
    decision: Decision | None = None
    because: str | None = None

    def to_trace(self) -> dict[str, Any]:
        """As it is stored; written out, because there is one for each stack of each stage."""
        told: dict[str, Any] = {"stack": self.stack, "picked": self.picked}
        if self.because is not None:
            told["because"] = self.because
        if (no := self.decision) is not None:
            fields = {"predicate": no.predicate, "reason": no.reason, "wanted": no.wanted, "found": no.found}
            told["decision"] = {name: value for name, value in fields.items() if value is not None}
        return told
