"""
How often a client or a hook may fail to prove who it is, before it is told so and asked to come later.

Only failures are counted, and what is over its limit is read and verified all the same: whoever knows the secret is never refused (I8). So a
limit saves no work. It tells a sender with a wrong secret to slow down, and tells the operator who guesses.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_SECONDS = 60.0
MOST_OF_CLIENT = 20
MOST_OF_HOOK = 300
KEYS = 4096


@dataclass(slots=True)
class _Window:
    end: float
    counted: int = 0


class Limit:
    """
    At most `most` of one key in `seconds`, from the first one on.

    Instants are seconds of a clock that never goes back. Of more than `keys` keys, those whose windows began first are forgotten.
    """

    def __init__(self, most: int, seconds: float = WINDOW_SECONDS, keys: int = KEYS) -> None:
        self._most = most
        self._seconds = seconds
        self._keys = keys
        self._windows: dict[str, _Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def count(self, key: str, now: float) -> float | None:
        """Count one; None when it is within the limit, else the seconds until the window ends."""
        window = self._windows.get(key)
        if window is None or now >= window.end:
            window = self._begin(key, now)
        window.counted += 1
        return window.end - now if window.counted > self._most else None

    def _begin(self, key: str, now: float) -> _Window:
        # A dict keeps the order of insertion, so that the first key is the one whose window is the oldest.
        self._windows.pop(key, None)
        if len(self._windows) >= self._keys:
            del self._windows[next(iter(self._windows))]
        window = self._windows[key] = _Window(now + self._seconds)
        return window


class Failures:
    """Failed authentications, by client and by hook. Hooks that do not exist are counted like any other: the answer must not tell which do."""

    def __init__(
        self, of_client: int = MOST_OF_CLIENT, of_hook: int = MOST_OF_HOOK, seconds: float = WINDOW_SECONDS
    ) -> None:
        self._clients = Limit(of_client, seconds)
        self._hooks = Limit(of_hook, seconds)

    def count(self, client: str, hook: str, now: float) -> float | None:
        """Count one; None while both are within their limits, else the seconds until both are again."""
        waits = (self._clients.count(client, now), self._hooks.count(hook, now))
        return max((wait for wait in waits if wait is not None), default=None)
