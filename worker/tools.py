"""What the worker's functions are handed: built once in `worker.app`, never looked up."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.broker.publisher import Publisher
from shared.komodo.client import KomodoClient
from shared.komodo.stacks import StackCache
from shared.komodo.updates import UpdateWatcher
from shared.settings import WorkerSettings
from shared.store.engine import Store
from worker.events import Events
from worker.holding import Holding
from worker.telling import Telling


@dataclass(frozen=True)
class Tools:
    """One worker's connections. `id` is new for each start of the process and is the holder's name in leases."""

    id: str
    settings: WorkerSettings
    store: Store
    publisher: Publisher
    komodo: KomodoClient
    stacks: StackCache
    updates: UpdateWatcher
    telling: Telling
    holding: Holding = field(default_factory=Holding)
    events: Events = field(default_factory=Events)
