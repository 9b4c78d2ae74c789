"""
Bitbucket Data Center: https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html.

It signs as Bitbucket Cloud does, or sends a user name and password, or both. Its "Test connection" signs nothing. One delivery holds every ref of
a push and never lists files; commits, links and the like depend on the version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson

from ingress.providers import fields
from ingress.providers.bitbucket import EVENT, SIGNATURE, UNKNOWN_SHAPE, check_signature
from ingress.providers.headers import Headers
from ingress.providers.hub import NO_EVENT
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import of_changes, push
from ingress.providers.signing import Tried, Verdict, check_basic
from shared.event import Kind, Repository

AUTHORIZATION = b"authorization"
PING = "diagnostics:ping"
MAX_PING_BYTES = 1024
OF_CLOUD = "this is an event of Bitbucket Cloud: let it send to /listener/bitbucket instead"

_UNMERGED = ("OPEN", "DECLINED")


class BitbucketDataCenter(Provider):
    """Sends to `/listener/bitbucket-dc`."""

    def identify(self, headers: Headers, document: Json) -> Identity:
        return Identity("bitbucket-dc", headers.text(EVENT), headers.text(b"x-request-id"))

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        # A signature that does not fit is final: a password beside it says nothing about the body.
        if SIGNATURE in request.headers:
            return check_signature(request, secrets)
        if _is_unsigned_ping(request):
            return Tried()
        return check_basic(request.headers.only(AUTHORIZATION), secrets)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        return _READERS.get(identity.source_event, _custom)(document)


def _is_unsigned_ping(request: Request) -> bool:
    headers, raw = request.headers, request.body.raw
    if AUTHORIZATION in headers or headers.text(EVENT) != PING or len(raw) > MAX_PING_BYTES:
        return False
    try:
        document = orjson.loads(raw)
    except ValueError:
        return False
    # 1 is equal to True, and JSON's 1 is not what is sent.
    return isinstance(document, dict) and document == {"test": True} and document["test"] is True


def _push(body: Json) -> tuple[Facts, ...]:
    repository, sender = _repository(body.get("repository")), _sender(body)
    changes = body.get("changes")
    is_alone = len(fields.items(changes) or ()) == 1
    head = fields.mapping(body.get("toCommit"))
    listed = [_plain(found) for found in (head, *map(fields.mapping, fields.items(body.get("commits")) or ())) if found]

    def read(change: Json) -> Facts:
        after = change.get("toHash")
        ref = fields.mapping(change.get("ref")).get("id") or change.get("refId")
        # The commits are those of the whole push: with several refs only a head can be told, by its id.
        own = listed if is_alone else [commit for commit in listed if commit["id"] == after]
        return push(
            {"ref": ref, "before": change.get("fromHash"), "after": after, "commits": _once(own) or None},
            repository=repository,
            sender=sender,
            listed_all=False,
            commit=fields.sha(head.get("id")) if is_alone else None,
            created=True if change.get("type") == "ADD" else None,
            deleted=change.get("type") == "DELETE",
        )

    return of_changes(changes, read, repository=repository)


def _once(commits: list[Json]) -> list[Json]:
    """The head stands in the list of commits as well."""
    return [commit for position, commit in enumerate(commits) if position == 0 or commit["id"] != commits[0]["id"]]


def _plain(commit: Json) -> Json:
    """A commit in the words of the other providers."""
    author = fields.mapping(commit.get("author"))
    names = {"username": author.get("name"), "name": author.get("displayName")}
    return {"id": commit.get("id"), "message": commit.get("message"), "author": names}


def _pull_request(body: Json) -> tuple[Facts, ...]:
    found = fields.mapping(body.get("pullRequest"))
    target = fields.mapping(found.get("toRef"))
    branch = fields.branch_of(target.get("id"))
    facts: Facts = {
        "kind": Kind.CUSTOM,
        "repository": _repository(target.get("repository")),
        "sender": _sender(body),
    }
    if branch is None:
        facts["ignored"] = UNKNOWN_SHAPE
    if branch is None or found.get("state") in _UNMERGED:
        return (facts,)
    merge = fields.mapping(fields.mapping(found.get("properties")).get("mergeCommit"))
    facts |= {
        "kind": Kind.MERGE,
        "branch": branch,
        "commit": fields.sha(merge.get("id")),
        "message": fields.first_line(found.get("title")),
    }
    return (facts,)


def _ping(body: Json) -> tuple[Facts, ...]:
    return ({"kind": Kind.PING, "sender": _sender(body)},)


def _custom(body: Json) -> tuple[Facts, ...]:
    pull_request = fields.mapping(body.get("pullRequest"))
    named = body.get("repository") or fields.mapping(pull_request.get("toRef")).get("repository")
    return ({"kind": Kind.CUSTOM, "repository": _repository(named), "sender": _sender(body)},)


def _ignored(reason: str) -> Callable[[Json], tuple[Facts, ...]]:
    def read(body: Json) -> tuple[Facts, ...]:
        (facts,) = _custom(body)
        facts["ignored"] = reason
        return (facts,)

    return read


def _repository(value: object) -> Repository | None:
    """Versions before links say which repository it is, but not on which host: it has a name and no key."""
    found = fields.mapping(value)
    project, slug = fields.text(fields.mapping(found.get("project")).get("key")), fields.text(found.get("slug"))
    links = fields.mapping(found.get("links"))
    return fields.repository(
        f"{project}/{slug}" if project and slug else None,
        (*_clone_urls(links), *_hrefs(links.get("self"))[:1]),
        provider_id=found.get("id"),
        default_branch=None,
    )


def _clone_urls(links: Json) -> tuple[object, ...]:
    """HTTP before SSH, whose host may be another; neither order is promised."""
    clone = [fields.mapping(link) for link in fields.items(links.get("clone")) or ()]
    return tuple(link.get("href") for name in ("http", "ssh") for link in clone if link.get("name") == name)[:2]


def _hrefs(links: object) -> list[object]:
    return [fields.mapping(link).get("href") for link in fields.items(links) or ()]


def _sender(body: Json) -> str | None:
    actor = fields.mapping(body.get("actor"))
    return fields.name(actor.get("name"), actor.get("slug"), actor.get("displayName"))


_of_cloud = _ignored(OF_CLOUD)
_READERS: Mapping[str | None, Callable[[Json], tuple[Facts, ...]]] = {
    None: _ignored(NO_EVENT),
    "repo:refs_changed": _push,
    "pr:merged": _pull_request,
    PING: _ping,
    "repo:push": _of_cloud,
    "pullrequest:fulfilled": _of_cloud,
}
