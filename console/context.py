"""What the console's routes are handed, built once in `console.app`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from console.follow import Following
from shared.store.engine import Store


@dataclass(frozen=True)
class Context:
    """The store to read, the results to follow, and the event that ends open streams."""

    store: Store
    following: Following
    stop: asyncio.Event
