"""
Catching up: asking providers what was pushed while nobody listened, and publishing that as events.

What is published is planned like any delivery. Nothing here is remembered but by the events themselves, so it may be broken off anywhere and done
again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from shared import clock, logs
from shared.errors import KgwError, Misconfigured, Permanent, RateLimited, Transient
from shared.event import WebhookEvent
from shared.komodo.types import Stack
from shared.provider_api.access import ProviderAccess
from shared.provider_api.api import ProviderApi
from shared.provider_api.client import Refused
from shared.provider_api.github import GitHub
from shared.provider_api.opening import opened
from shared.store import heads
from shared.store.engine import Store
from shared.store.heads import Branch
from worker.catchup import missed
from worker.catchup.missed import Finding
from worker.catchup.watched import Watched, watching

log = logs.get_logger()

OFF = "KGW_PROVIDER_API is not set: without a provider's API nothing can be caught up"

Publish = Callable[[WebhookEvent], Awaitable[None]]


@dataclass(frozen=True)
class Looked:
    """One branch: what was found, its head, and the commit of the last push that is known."""

    repository: str
    branch: str
    finding: Finding
    head: str | None = None
    last: str | None = None
    deploys: bool = False


@dataclass(frozen=True)
class Redelivery:
    """One delivery that GitHub was asked to send again, or would be."""

    repository: str
    guid: str
    event: str


@dataclass(frozen=True)
class Problem:
    """What could not be asked, and why."""

    where: str
    reason: str


@dataclass
class Report:
    """All that one catch-up has found. `unreachable` are repositories that no `[[provider_api]]` is for."""

    looked: list[Looked] = field(default_factory=list)
    redeliveries: list[Redelivery] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)

    def count(self, finding: Finding) -> int:
        """How many branches that was found of."""
        return sum(looked.finding is finding for looked in self.looked)


@dataclass(frozen=True)
class Plan:
    """
    How to catch up. Without `publish` nothing is published and nothing redelivered; `deploys_new` also deploys branches that are seen for the first
    time. `known` are heads that some push has brought, so that the store is asked only about what has moved; it is added to.
    """

    accesses: Sequence[ProviderAccess]
    publish: Publish | None = None
    deploys_new: bool = False
    known: MutableMapping[Branch, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Head:
    access: ProviderAccess
    watched: Watched
    branch: Branch
    commit: str | None


async def catch_up(store: Store, stacks: Iterable[Stack], plan: Plan) -> Report:
    """
    Look once at everything that is watched. What one provider does not answer is a problem in the report and stops nobody else.

    Raises `Misconfigured` without a provider's API, `Unavailable` when the broker does not take an event, `StoreUnreachable`.
    """
    if not plan.accesses:
        raise Misconfigured(OFF)
    report, found = Report(), list[_Head]()
    targets = watching(stacks, plan.accesses)
    report.unreachable += targets.unreachable
    for access, repositories in targets.by_access:
        if repositories:
            async with opened(access) as api:
                found += await _ask(api, access, repositories, plan, report)
    await _settle(store, found, plan, report)
    return report


async def _ask(
    api: ProviderApi, access: ProviderAccess, repositories: Sequence[Watched], plan: Plan, report: Report
) -> list[_Head]:
    found: list[_Head] = []
    for watched in repositories:
        try:
            if await _redeliver(api, access, watched, plan, report):
                continue
            commits = await api.heads(watched.path, watched.branches)
        except (Refused, RateLimited) as error:
            # The next one would hear the same.
            report.problems.append(Problem(access.repository_host, error.reason))
            break
        except (Permanent, Transient) as error:
            report.problems.append(Problem(watched.key, error.reason))
            continue
        found += [
            _Head(access, watched, Branch(watched.key, name), commits.get(name)) for name in sorted(watched.branches)
        ]
    return found


async def _redeliver(api: ProviderApi, access: ProviderAccess, watched: Watched, plan: Plan, report: Report) -> bool:
    """
    Have GitHub send again what has failed; True when a push is among it. It comes as a delivery, with its list of files, so the heads of its
    repository are looked at the next time.
    """
    if not access.hook_url or not isinstance(api, GitHub):
        return False
    try:
        return await _redeliver_all(api, access.hook_url, watched, plan, report)
    except (Refused, RateLimited):
        raise
    except KgwError as error:
        report.problems.append(Problem(f"{watched.key}, deliveries", error.reason))
        return False


async def _redeliver_all(api: GitHub, hook_url: str, watched: Watched, plan: Plan, report: Report) -> bool:
    now = clock.now()
    has_push = False
    for hook in await api.hooks(watched.path):
        if not hook.url.startswith(hook_url):
            continue
        attempts = await api.attempts(watched.path, hook, since=now - missed.REDELIVERABLE)
        for attempt in missed.to_redeliver(attempts, now=now):
            if plan.publish is not None:
                await api.redeliver(watched.path, hook, attempt)
            report.redeliveries.append(Redelivery(watched.key, attempt.guid, attempt.event))
            has_push = has_push or attempt.event == "push"
    return has_push


async def _settle(store: Store, found: Sequence[_Head], plan: Plan, report: Report) -> None:
    seen = await heads.look(store, _moved(found, plan.known))
    for head in found:
        if head.commit is not None and plan.known.get(head.branch) == head.commit:
            report.looked.append(_looked(head, Finding.CURRENT, head.commit))
            continue
        known = seen.get(head.branch, heads.Seen())
        finding = missed.judge(head.commit, known)
        deploys = finding is Finding.MISSED or (finding is Finding.FIRST_SEEN and plan.deploys_new)
        report.looked.append(_looked(head, finding, known.last, deploys=deploys))
        if finding is Finding.CURRENT and head.commit is not None:
            plan.known[head.branch] = head.commit
        if finding in (Finding.MISSED, Finding.FIRST_SEEN) and head.commit is not None and plan.publish is not None:
            await plan.publish(
                missed.event_for(
                    head.branch,
                    head.commit,
                    provider=head.access.kind,
                    full_name=head.watched.path,
                    before=known.last,
                    deploys=deploys,
                    now=clock.now(),
                )
            )


def _moved(found: Iterable[_Head], known: Mapping[Branch, str]) -> dict[Branch, str]:
    return {
        head.branch: head.commit for head in found if head.commit is not None and known.get(head.branch) != head.commit
    }


def _looked(head: _Head, finding: Finding, last: str | None, *, deploys: bool = False) -> Looked:
    return Looked(head.branch.repository, head.branch.name, finding, head.commit, last, deploys)
