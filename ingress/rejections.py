"""
Telling of refused requests: the result `delivery.rejected`, for whoever asks why a webhook does nothing.

What is told comes from fixed tables, the hooks there are, and the client's address, nothing else: a request that nobody vouches for may hold a
secret anywhere, also in its path (I9). Telling goes on in the background, at a bounded rate and from a bounded queue, and gives up what the broker
does not take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, Protocol

import orjson
from uuid_utils import uuid7

from ingress.answer import ANSWERS, Outcome, Receipt
from ingress.client import site_of
from ingress.hooks import Hooks
from ingress.limits import Limit
from shared import clock, logs, metrics
from shared.broker.framing import Outgoing
from shared.errors import Unavailable
from shared.results import CONTENT_TYPE, Result, ResultType

log = logs.get_logger()

MOST_A_MINUTE = 60
MOST_A_MINUTE_OF_CLIENT = 10
QUEUED = 100
GRACE_SECONDS = 2.0

# Why a hook's sender is refused, for a person. What is not here is not told: it concerns no hook, or is no fault of the sender.
REASONS: Mapping[Outcome, str] = {
    Outcome.UNAUTHORIZED: "it was not made with this hook's secret",
    Outcome.RATE_LIMITED: "it was not made with this hook's secret",
    Outcome.UNKNOWN_PARAMETER: "the URL has a query parameter that nothing acts on",
    Outcome.BAD_FRAMING: "the body is not as long as the headers say, or they do not say it clearly",
    Outcome.HEADERS_TOO_LARGE: "the headers are too large",
    Outcome.TOO_LARGE: "the body is too large",
    Outcome.UNSUPPORTED_MEDIA: "the content type is not one that this URL takes",
    Outcome.UNSUPPORTED_ENCODING: "the body is compressed",
    Outcome.TIMED_OUT: "the body did not come in time",
    Outcome.INVALID_BODY: "the body is authentic, but it is not JSON",
}
NO_SUCH_HOOK = "there is no hook of this name for this provider, or it is disabled"

# Their reason is one of the fixed ones of `ingress.providers.signing`.
_UNPROVEN = frozenset({Outcome.UNAUTHORIZED, Outcome.RATE_LIMITED})
# No hook has it, so what is found for it is what is found for all that are not there.


class Publisher(Protocol):
    """What takes results to the broker."""

    async def publish_result(self, key: str, message: Outgoing) -> None:
        """Return once it is confirmed, or raise `Unavailable`; either in bounded time."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One refused request. `provider` is the `{auth}` of its URL; `hook` is None when there is none of that name."""

    at: datetime
    provider: str
    hook: str | None
    outcome: Outcome
    reason: str
    address: str | None

    @classmethod
    def from_receipt(cls, receipt: Receipt, client: str | None, hooks: Hooks, *, at: datetime) -> Rejection:
        """What may be told of it. The receipt's provider is the `{auth}` of the URL."""
        if receipt.provider is None or receipt.hook is None:
            raise TypeError("a refusal that concerns no hook is not told")
        provider, hook, reason = receipt.provider, receipt.hook, REASONS[receipt.outcome]
        if receipt.outcome in _UNPROVEN and receipt.reason:
            reason = receipt.reason
        if not hooks.knows(provider, hook):
            return cls(at, provider, None, receipt.outcome, NO_SUCH_HOOK, client)
        return cls(at, provider, hook, receipt.outcome, reason, client)

    def to_result(self, left_out: int) -> Result:
        """With how many were left out before it."""
        own_id = str(uuid7())
        data: dict[str, Any] = {
            "provider": self.provider,
            "hook": self.hook,
            "code": ANSWERS[self.outcome].status,
            "status": self.outcome.value,
            "reason": self.reason,
            "address": self.address,
            "left_out": left_out,
        }
        return Result(
            id=own_id,
            type=ResultType.DELIVERY_REJECTED,
            stream=own_id,
            sequence=1,
            time=self.at,
            delivery_id=own_id,
            data=data,
        )


class Rejections:
    """What is still to be told."""

    def __init__(
        self, hooks: Hooks, *, most: int = MOST_A_MINUTE, most_of_client: int = MOST_A_MINUTE_OF_CLIENT
    ) -> None:
        self._hooks = hooks
        self._all = Limit(most)
        self._clients = Limit(most_of_client)
        self._waiting: deque[Rejection] = deque()
        self._publisher: Publisher | None = None
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._left_out = 0

    def open(self, publisher: Publisher) -> None:
        """From here on they get through."""
        self._publisher = publisher
        self._news.set()

    def offer(self, receipt: Receipt, client: str | None) -> None:
        """Have it told, if it is a refusal that concerns a hook and not one too many."""
        if receipt.outcome not in REASONS:
            return
        now, site = monotonic(), site_of(client)
        # In this order, so that one client can not use up what all of them share.
        if self._clients.count(site, now) is not None or self._all.count("", now) is not None:
            self._leave_out("rate")
        elif len(self._waiting) >= QUEUED:
            self._leave_out("queue")
        else:
            self._waiting.append(Rejection.from_receipt(receipt, client, self._hooks, at=clock.now()))
            self._news.set()

    async def run(self, served: asyncio.Event) -> None:
        """Tell until `served` is set, and what is left then, unless the broker does not take it."""
        ending = asyncio.create_task(served.wait(), name="rejections-served")
        ending.add_done_callback(lambda _: self._news.set())
        try:
            while not served.is_set():
                await self._news.wait()
                self._news.clear()
                await self._tell_all(served)
            await self._tell_all(served)
            self._give_up()
        finally:
            ending.cancel()
            self._over.set()

    async def over(self) -> None:
        """Wait until nothing more is told, for at most `GRACE_SECONDS`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), GRACE_SECONDS)

    async def _tell_all(self, served: asyncio.Event) -> None:
        while self._waiting and self._publisher is not None:
            left_out, self._left_out = self._left_out, 0
            result = self._waiting.popleft().to_result(left_out)
            try:
                await self._publisher.publish_result(
                    result.type, Outgoing(orjson.dumps(result.to_cloudevent()), result.id, CONTENT_TYPE)
                )
            except Unavailable as error:
                log.warning("rejection_not_told", reason=error.reason)
                self._left_out += left_out
                self._leave_out("broker")
                if served.is_set():
                    self._give_up()

    def _give_up(self) -> None:
        while self._waiting:
            self._waiting.popleft()
            self._leave_out("broker")

    def _leave_out(self, cause: str) -> None:
        self._left_out += 1
        metrics.REJECTIONS_LEFT_OUT.labels(cause=cause).inc()
