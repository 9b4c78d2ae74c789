"""
What the simulated Core answers when it refuses, in Komodo's words and with Komodo's status codes.

    CoreError           an answer with a status, or a "Task Error" when it happens inside an execution
    ├── BadParams       a body that does not fit; 422 or 500 by the form of the request
    ├── GitFailed       a fetch or checkout that failed, with the stage it failed at
    └── HandlerPanic    Core's handler dies and the connection drops
"""

from __future__ import annotations

from demo.core.history import Outcome


class CoreError(Exception):
    """
    A refusal. Most of Komodo's are HTTP 500, also "not found" and "forbidden".
    """

    def __init__(
        self, message: str, *, status: int = 500, trace: tuple[str, ...] = (), outcome: Outcome = "refused"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.trace = trace
        self.outcome: Outcome = outcome


class BadParams(CoreError):
    """
    The parameters do not have the fields or types of the variant.
    """


class GitFailed(CoreError):
    """
    Git refused: the remote is unreachable or has no such branch or commit.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class HandlerPanic(CoreError):
    """
    The handler panicked: the client sees its connection drop.
    """


def not_found(kind: str, reference: str) -> CoreError:
    if not reference:
        return CoreError(f"Cannot find {kind} with empty name / id")
    return CoreError(f"Did not find any {kind} matching {reference}")


def forbidden(kind: str, level: str) -> CoreError:
    return CoreError(
        f"User does not have required permissions on this {kind}. Must have at least {level} permissions",
        outcome="forbidden",
    )


def busy() -> CoreError:
    return CoreError("Resource is busy", outcome="busy")


def unreachable() -> CoreError:
    return CoreError("cannot send action when server is unreachable or disabled", outcome="unreachable")
