"""
Bitbucket Cloud: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/.

One delivery holds every ref of a push. It never lists files, and of a tag it names the commit, never the tag object. Bitbucket Data Center shares the
way to sign and nothing else: `bitbucket_dc.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingress.providers import fields
from ingress.providers.headers import Headers
from ingress.providers.hub import NO_EVENT
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import of_changes, push
from ingress.providers.signing import Verdict, check_hmac_sha256
from shared.event import Kind, Repository

SIGNATURE = b"x-hub-signature"
EVENT = b"x-event-key"
UNKNOWN_SHAPE = "the body has not the shape that Bitbucket gives to this event"
OF_DATA_CENTER = "this is an event of Bitbucket Data Center: let it send to /listener/bitbucket-dc instead"

_SIGNATURE_PREFIX = b"sha256="
# Mercurial's named_branch and bookmark are gone from Bitbucket, and git has no such refs.
_PREFIXES = {"branch": fields.BRANCH_PREFIX, "tag": fields.TAG_PREFIX, "annotated_tag": fields.TAG_PREFIX}
_UNMERGED = ("OPEN", "DRAFT", "QUEUED", "DECLINED", "SUPERSEDED")


class Bitbucket(Provider):
    """Sends to `/listener/bitbucket`."""

    def identify(self, headers: Headers, document: Json) -> Identity:
        return Identity("bitbucket", headers.text(EVENT), headers.text(b"x-request-uuid"))

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_signature(request, secrets)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        return _READERS.get(identity.source_event, _custom)(document)


def check_signature(request: Request, secrets: Sequence[bytes]) -> Verdict:
    """Check the HMAC-SHA256 over the body, in the header in which GitHub sends a SHA-1."""
    header = request.headers.only(SIGNATURE) or b""
    digest = header.removeprefix(_SIGNATURE_PREFIX) if header.startswith(_SIGNATURE_PREFIX) else None
    return check_hmac_sha256(request.body.raw, digest, secrets)


def _push(body: Json) -> tuple[Facts, ...]:
    repository, sender = _repository(body), _sender(body)

    def read(change: Json) -> Facts:
        new, old = fields.mapping(change.get("new")), fields.mapping(change.get("old"))
        target = fields.mapping(new.get("target"))
        commits = [_plain(fields.mapping(commit)) for commit in fields.items(change.get("commits")) or ()]
        return push(
            {
                "ref": _ref(new or old),
                "before": _pointed_to(old),
                "after": _pointed_to(new),
                "commits": commits or None,
                "head_commit": {"message": target["message"]} if "message" in target else None,
            },
            repository=repository,
            sender=sender,
            listed_all=False,
            commit=fields.sha(target.get("hash")),
            forced=fields.flag(change.get("forced")),
            created=change.get("created") is True or not old,
            deleted=change.get("closed") is True or not new,
        )

    return of_changes(fields.mapping(body.get("push")).get("changes"), read, repository=repository)


def _ref(side: Json) -> str | None:
    prefix, name = _PREFIXES.get(fields.text(side.get("type")) or ""), side.get("name")
    return prefix + name if prefix and isinstance(name, str) else None


def _pointed_to(side: Json) -> object:
    """The object that the ref points to. For an annotated tag that is the tag itself, whose id is not sent."""
    return None if side.get("type") == "annotated_tag" else fields.mapping(side.get("target")).get("hash")


def _plain(commit: Json) -> Json:
    """A commit in the words of the other providers."""
    author = fields.mapping(commit.get("author"))
    user = fields.mapping(author.get("user")) or author
    raw = fields.text(author.get("raw")) or ""
    names = {"username": user.get("nickname"), "name": user.get("display_name") or raw.partition("<")[0].strip()}
    return {"id": commit.get("hash"), "message": commit.get("message"), "author": names}


def _pull_request(body: Json) -> tuple[Facts, ...]:
    found = fields.mapping(body.get("pullrequest"))
    destination = fields.mapping(found.get("destination"))
    branch = fields.branch(fields.mapping(destination.get("branch")).get("name"))
    if branch is None:
        return _unreadable(body)
    (facts,) = _custom(body)
    if found.get("state") in _UNMERGED:
        return (facts,)
    facts |= {
        "kind": Kind.MERGE,
        "branch": branch,
        # Bitbucket may send 12 characters of the id alone, which are no commit id.
        "commit": fields.sha(fields.mapping(found.get("merge_commit")).get("hash")),
        "message": fields.first_line(found.get("title")),
    }
    return (facts,)


def _commit_status(body: Json) -> tuple[Facts, ...]:
    """A build has ended well. `branch` is what the builder says; one that names no ref leaves it open."""
    found = fields.mapping(body.get("commit_status"))
    if fields.text(found.get("state")) is None:
        return _unreadable(body)
    (facts,) = _custom(body)
    if found.get("state") != "SUCCESSFUL":
        return (facts,)
    name = found.get("refname")
    is_tag = isinstance(name, str) and name.startswith(fields.TAG_PREFIX)
    facts |= {
        "kind": Kind.CI,
        "branch": None if is_tag else fields.branch_of(name) or fields.branch(name),
        "tag": fields.tag(name.removeprefix(fields.TAG_PREFIX)) if isinstance(name, str) and is_tag else None,
        "commit": _built_commit(found),
        "message": fields.first_line(found.get("name")),
    }
    return (facts,)


def _built_commit(status: Json) -> str | None:
    """Older bodies have the commit's id only at the end of its link."""
    link = fields.text(fields.mapping(fields.mapping(status.get("links")).get("commit")).get("href")) or ""
    return fields.sha(fields.mapping(status.get("commit")).get("hash")) or fields.sha(link.rpartition("/")[2])


def _custom(body: Json) -> tuple[Facts, ...]:
    return ({"kind": Kind.CUSTOM, "repository": _repository(body), "sender": _sender(body)},)


def _ignored(reason: str) -> Callable[[Json], tuple[Facts, ...]]:
    def read(body: Json) -> tuple[Facts, ...]:
        (facts,) = _custom(body)
        facts["ignored"] = reason
        return (facts,)

    return read


def _repository(body: Json) -> Repository | None:
    """There is no clone URL; both forms of it follow from the name."""
    found = fields.mapping(body.get("repository"))
    name = fields.text(found.get("full_name"))
    return fields.repository(
        name,
        (f"https://bitbucket.org/{name}.git", f"git@bitbucket.org:{name}.git"),
        provider_id=found.get("uuid"),
        default_branch=fields.mapping(found.get("mainbranch")).get("name"),
    )


def _sender(body: Json) -> str | None:
    actor = fields.mapping(body.get("actor"))
    return fields.name(actor.get("nickname"), actor.get("username"), actor.get("display_name"))


_unreadable = _ignored(UNKNOWN_SHAPE)
_of_data_center = _ignored(OF_DATA_CENTER)
_READERS: Mapping[str | None, Callable[[Json], tuple[Facts, ...]]] = {
    None: _ignored(NO_EVENT),
    "repo:push": _push,
    "pullrequest:fulfilled": _pull_request,
    "repo:commit_status_created": _commit_status,
    "repo:commit_status_updated": _commit_status,
    "repo:refs_changed": _of_data_center,
    "pr:merged": _of_data_center,
}
