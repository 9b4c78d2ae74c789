"""
The `/write` variants that are simulated. They are synchronous: the answer comes when the work is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from demo.core import params as read
from demo.core import stacks
from demo.core.accounts import Account
from demo.core.resources import Json
from demo.core.state import State


def _refresh_stack_cache(state: State, account: Account, params: Json) -> Json:
    """
    Refresh; a failed fetch is a success that stores `remote_errors`.
    """
    stack = state.shelves.stacks.find(read.text(params, "stack", "id", "name"))
    state.require(account, stack, "Execute")
    stacks.refresh(state, stack)
    return {}


WRITES: dict[str, Callable[[State, Account, Json], Any]] = {"RefreshStackCache": _refresh_stack_cache}
