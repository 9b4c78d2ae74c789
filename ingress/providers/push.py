"""
A push as all providers of the first families write it: `ref`, `before`, `after`, `commits` with file lists.

What differs between them is handed in. A list of changed files is only called complete when nothing speaks against it: what is wrongly
complete leaves a stack undeployed, what is wrongly incomplete deploys one too many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from ingress.providers import fields
from ingress.providers.provider import Facts, Json
from shared.event import MAX_PATHS, Commit, Kind, Repository

MAX_COMMITS = 100
MAX_PATH = 4_096
MAX_COMMIT_MESSAGE = 200
MAX_CHANGES = 1_000

DELETION = "a deletion never deploys"
MERGE_QUEUE = "a merge queue's branch is temporary"
NO_REF = "the push names no valid ref"
NOT_A_BRANCH = "the ref is neither a branch nor a tag"

_LISTS = ("added", "modified", "removed")
_MERGE_QUEUE_PREFIX = "gh-readonly-queue/"


def push(
    body: Json,
    *,
    repository: Repository | None,
    sender: str | None,
    listed_all: bool,
    commit: str | None = None,
    forced: bool | None = None,
    created: bool | None = None,
    deleted: bool | None = None,
) -> Facts:
    """
    The facts of a push.

    `listed_all` says whether the provider's own count allows the list of commits to be whole, `commit` is what an annotated tag points to;
    `created` and `deleted` are read from the ids where the provider does not say.
    """
    ref = fields.ref(body.get("ref"))
    if ref is None:
        return {"kind": Kind.CUSTOM, "repository": repository, "sender": sender, "ignored": NO_REF}
    facts = of_ref(ref, deleted=bool(deleted) or fields.is_zero_sha(body.get("after")))
    facts |= {"repository": repository, "sender": sender, "forced": forced}
    facts |= {"before": fields.sha(body.get("before")), "after": fields.sha(body.get("after"))}
    facts["created"] = _is_new(body) if created is None else created
    if facts["deleted"]:
        return facts
    listed = fields.items(body.get("commits"))
    facts["commit"] = commit or (facts["after"] if facts["kind"] is Kind.PUSH else None)
    facts["commits"] = tuple(_commits(listed or ()))
    facts["message"] = _head_message(body, facts)
    paths, whole = changed_paths(listed)
    is_whole = listed_all and not forced and not facts["created"]
    facts |= {"changed_paths": paths, "changed_paths_complete": None if whole is None else whole and is_whole}
    return facts


def of_ref(ref: str, *, deleted: bool) -> Facts:
    """Kind and name by the ref's prefix, taken off exactly once: `refs/tags/main` is not the branch `main`."""
    reason = DELETION if deleted else None
    if ref.startswith(fields.BRANCH_PREFIX):
        branch = ref.removeprefix(fields.BRANCH_PREFIX)
        if branch.startswith(_MERGE_QUEUE_PREFIX):
            reason = reason or MERGE_QUEUE
        return {"kind": Kind.PUSH, "ref": ref, "branch": branch, "deleted": deleted, "ignored": reason}
    if ref.startswith(fields.TAG_PREFIX):
        tag = ref.removeprefix(fields.TAG_PREFIX)
        return {"kind": Kind.TAG, "ref": ref, "tag": tag, "deleted": deleted, "ignored": reason}
    return {"kind": Kind.CUSTOM, "ref": ref, "deleted": deleted, "ignored": reason or NOT_A_BRANCH}


def of_changes(changes: object, read: Callable[[Json], Facts], *, repository: Repository | None) -> tuple[Facts, ...]:
    """
    The facts of a push that lists its refs: one event for each change, in order, and an ignored one when there is none.

    Changes beyond the cap have no events of their own; one more, ignored, says how many they are.
    """
    listed = fields.items(changes) or []
    left_out = len(listed) - MAX_CHANGES
    facts = [read(fields.mapping(change)) for change in listed[:MAX_CHANGES]]
    if not facts:
        facts.append({"kind": Kind.CUSTOM, "repository": repository, "ignored": NO_REF})
    if left_out > 0:
        reason = f"the push changes {left_out} refs more than {MAX_CHANGES}"
        facts.append({"kind": Kind.CUSTOM, "repository": repository, "ignored": reason})
    return tuple(facts)


def of_deletion(body: Json, *, repository: Repository | None, sender: str | None) -> Facts:
    """The facts of a `delete` event, whose `ref` is short or full and whose `ref_type` says what it was."""
    prefix = {"branch": fields.BRANCH_PREFIX, "tag": fields.TAG_PREFIX}.get(fields.text(body.get("ref_type")) or "")
    name = body.get("ref")
    ref = fields.ref(prefix + name.removeprefix(prefix)) if prefix and isinstance(name, str) else None
    facts: Facts = {"kind": Kind.CUSTOM, "deleted": True, "ignored": DELETION}
    if ref is not None:
        facts = of_ref(ref, deleted=True)
    facts |= {"repository": repository, "sender": sender}
    return facts


def by_hand(body: Json) -> Facts:
    """A request of no provider, as people send it to Komodo's own URLs: `{"ref": "refs/heads/main"}` is enough."""
    if "ref" not in body:
        return {"kind": Kind.CUSTOM}
    return push(body, repository=None, sender=None, listed_all=False)


def changed_paths(commits: list[object] | None) -> tuple[tuple[str, ...] | None, bool | None]:
    """
    The union of the commits' file lists in order of appearance, and whether nothing in it is missing.

    None and None when there are no lists at all. A file that was added and removed again counts as changed. No commits at all is not "no
    changes": a branch that was set back has none.
    """
    if commits is None:
        return None, None
    paths: dict[str, None] = {}
    listing, whole = False, bool(commits)
    for commit in commits:
        found, is_listed = fields.mapping(commit), False
        for key in _LISTS:
            if (listed := found.get(key)) is not None:
                is_listed = True
                whole = _take(listed, paths) and whole
        listing = listing or is_listed
        whole = whole and is_listed
    if commits and not listing:
        return None, None
    return tuple(paths), whole


def _take(listed: object, paths: dict[str, None]) -> bool:
    """Add what is listed; False when something could not be added as it was."""
    if not isinstance(listed, list):
        return False
    whole = True
    for path in listed:
        if not isinstance(path, str) or not path or len(path) > MAX_PATH:
            whole = False
            continue
        kept = fields.cleaned(path)
        if kept in paths:
            continue
        if not kept or len(paths) >= MAX_PATHS:
            return False
        whole = whole and kept == path
        paths[kept] = None
    return whole


def _is_new(body: Json) -> bool | None:
    return fields.is_zero_sha(body.get("before")) if isinstance(body.get("before"), str) else None


def _commits(listed: Iterable[object]) -> Iterable[Commit]:
    for commit in islice(listed, MAX_COMMITS):
        found = fields.mapping(commit)
        identifier = fields.sha(found.get("id"))
        if identifier is None:
            continue
        author = fields.mapping(found.get("author"))
        yield Commit(
            id=identifier,
            message=fields.first_line(found.get("message"), at_most=MAX_COMMIT_MESSAGE) or "",
            author=fields.name(author.get("username"), author.get("name")),
        )


def _head_message(body: Json, facts: Facts) -> str | None:
    """The head is found by its id: some providers list the newest commit first, others last."""
    head = fields.mapping(body.get("head_commit"))
    if head:
        return fields.first_line(head.get("message"))
    wanted = facts.get("commit") or facts.get("after")
    for commit in fields.items(body.get("commits")) or ():
        found = fields.mapping(commit)
        if wanted is not None and found.get("id") == wanted:
            return fields.first_line(found.get("message"))
    return None
