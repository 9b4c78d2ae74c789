"""
What was missed, and the event that makes up for it: decisions alone.

An event's ids are derived from repository, branch and commit, so that whoever finds the same twice publishes the same twice, which is a duplicate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from shared.event import (
    GlobalListener,
    Kind,
    Repository,
    WebhookEvent,
    delivery_id_for,
    event_id_for,
)
from shared.matching.repository import keys_of
from shared.provider_api.github import Attempt
from shared.store.heads import Branch, Seen

SOURCE = "catch-up"
FIRST_SIGHT = "the branch was seen for the first time by catching up, which is no miss"

# GitHub redelivers what is three days old at most: https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
REDELIVERABLE = timedelta(days=3)
# One that is younger may be on its way, or was asked for a moment ago.
SETTLED = timedelta(minutes=1)
MAX_ATTEMPTS = 5


class Finding(StrEnum):
    """What a look at one branch has found."""

    CURRENT = "current"
    MISSED = "missed"
    FIRST_SEEN = "first seen"
    GONE = "gone"


def judge(head: str | None, seen: Seen) -> Finding:
    """A head that some push has brought is not missed, and a branch of which no push is known is only noted."""
    if head is None:
        return Finding.GONE
    if seen.has_brought:
        return Finding.CURRENT
    return Finding.FIRST_SEEN if seen.last is None else Finding.MISSED


def event_for(
    branch: Branch, commit: str, *, provider: str, full_name: str, before: str | None, deploys: bool, now: datetime
) -> WebhookEvent:
    """The push that was missed; one that does not deploy is only recorded, under ids of its own."""
    delivery_id = delivery_id_of(branch, commit, deploys=deploys)
    return WebhookEvent(
        id=event_id_for(delivery_id, 0),
        delivery_id=delivery_id,
        receipt_id=delivery_id,
        provider=provider,
        kind=Kind.PUSH,
        source=SOURCE,
        source_event=SOURCE,
        repository=Repository(key=branch.repository, full_name=full_name),
        ref=f"refs/heads/{branch.name}",
        branch=branch.name,
        before=before,
        after=commit,
        commit=commit,
        ignored=None if deploys else FIRST_SIGHT,
        received_at=now,
    )


def delivery_id_of(branch: Branch, commit: str, *, deploys: bool = True) -> str:
    """The id under which the commit is caught up, or only noted."""
    what = f"{branch.name}\n{commit}"
    return delivery_id_for(SOURCE, branch.repository, what if deploys else f"{what}\nnoted")


def ids_of_its_catch_up(event: WebhookEvent) -> list[str]:
    """The ids that the event of a catch-up has that has brought the same commit to the same branch; none for what is no push to all procedures."""
    if event.kind is not Kind.PUSH or event.branch is None or event.after is None:
        return []
    if not isinstance(event.listener, GlobalListener):
        return []
    return [
        event_id_for(delivery_id_of(Branch(key, event.branch), event.after), 0)
        for key in sorted(keys_of(event.repository))
    ]


def to_redeliver(attempts: Iterable[Attempt], *, now: datetime) -> list[Attempt]:
    """The last try of each delivery that never arrived, oldest first; none that was tried too often or a moment ago."""
    tries: dict[str, list[Attempt]] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.delivered_at):
        tries.setdefault(attempt.guid, []).append(attempt)
    return [of_one[-1] for of_one in tries.values() if _may_arrive(of_one, now)]


def _may_arrive(of_one: Sequence[Attempt], now: datetime) -> bool:
    last = of_one[-1]
    return (
        not any(200 <= attempt.status_code < 300 for attempt in of_one)
        and _was_away(last.status_code)
        and len(of_one) < MAX_ATTEMPTS
        and now - REDELIVERABLE < last.delivered_at <= now - SETTLED
    )


def _was_away(status_code: int) -> bool:
    """
    Whether nobody, or only a proxy, has answered. We say 404 to nobody who calls a listener, but a proxy does that has no service behind it; every
    other 4xx is a no of ours, and would be one again.
    """
    return status_code in (0, 404, 408, 429) or status_code >= 500
