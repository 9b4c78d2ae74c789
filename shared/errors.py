"""
Every error that crosses a module's border, cut by what its receiver does about it.

    KgwError
    ├── Transient          try again: in process for seconds, then through a delay queue
    │   ├── RateLimited    the other side said when
    │   └── Unknown        nobody knows whether the other side has begun: look before trying again
    ├── Busy               come back later; no attempt is used up
    ├── Permanent          end with a reason, trying again would change nothing
    ├── Poison             dead-letter the message, keep it for a person
    ├── Unavailable        nothing durable can be reached; the sender is asked to come back
    └── Misconfigured      refuse to start; the message names the key

A failure that is a normal outcome (bad signature, no match, unchanged) is a returned value, not an error.
"""


class KgwError(Exception):
    """Something in Komodo Global Webhook went wrong."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or (self.__doc__ or "").strip())

    @property
    def reason(self) -> str:
        """One sentence for a person, free of secrets (I9)."""
        return str(self.args[0])


class Transient(KgwError):
    """The other side did not answer as it should; it may the next time."""


class RateLimited(Transient):
    """The other side asks to come back later."""

    def __init__(self, reason: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Unknown(Transient):
    """Nobody knows whether the other side has begun."""


class Busy(KgwError):
    """The resource is busy with somebody else's work."""


class Permanent(KgwError):
    """Trying again would change nothing."""


class Poison(KgwError):
    """The message can not be handled by any worker."""


class Unavailable(KgwError):
    """Nothing durable could be reached."""


class Misconfigured(KgwError):
    """A setting is missing or wrong."""
