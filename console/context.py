"""What the console's routes are handed, built once in `console.app`."""

from __future__ import annotations

from dataclasses import dataclass

from console.follow import Following
from shared.store.engine import Store


@dataclass(frozen=True)
class Context:
    """The store to read, and the results to follow."""

    store: Store
    following: Following
