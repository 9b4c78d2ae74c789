"""
Azure DevOps, Services and Server: https://learn.microsoft.com/azure/devops/service-hooks/events.

Nothing is signed: a user name and password prove the sender, so only HTTPS keeps the body whole. No header says anything; event and ids stand in
the body. One delivery holds every ref of a push and never lists files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ingress.providers import fields
from ingress.providers.headers import MAX_HEADER_TEXT, Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import of_changes, of_ref, push
from ingress.providers.signing import Verdict, check_basic
from shared.event import Kind, Repository

NO_EVENT = "the body does not say which event it is"
NO_DETAILS = "the body has no resource: let the subscription send all resource details"
UNKNOWN_SHAPE = "the body has not the shape that Azure DevOps gives to this event"

_EVENT = re.compile(rf"[\w.-]{{1,{MAX_HEADER_TEXT}}}", re.ASCII)
_NO_ID = "00000000-0000-0000-0000-000000000000"


class AzureDevOps(Provider):
    """Sends to `/listener/azure`."""

    def identify(self, headers: Headers, document: Json) -> Identity:
        event = document.get("eventType")
        is_named = isinstance(event, str) and _EVENT.fullmatch(event) is not None
        return Identity("azure", event if is_named else None, _delivery_id(document))

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_basic(request.headers.only(b"authorization"), secrets)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        if identity.source_event is None:
            return _ignored(document, NO_EVENT)
        if not isinstance(document.get("resource"), dict):
            return _ignored(document, NO_DETAILS if document.get("resource") is None else UNKNOWN_SHAPE)
        return _READERS.get(identity.source_event, _custom)(document)


def _delivery_id(document: Json) -> str | None:
    """
    The notification's number in its subscription, else the event's id.

    A retry is the same notification and has both. The event's id alone may stand for too much: every press of "Test" sends the id of the one sample,
    and two subscriptions tell of one event, with a body each.
    """
    subscription, number = _uuid(document.get("subscriptionId")), fields.number(document.get("notificationId"))
    if subscription is not None and number is not None:
        return f"{subscription}:{number}"
    return _uuid(document.get("id"))


def _uuid(value: object) -> str | None:
    found = fields.identifier(value) if isinstance(value, str) else None
    return None if found == _NO_ID else found


def _push(body: Json) -> tuple[Facts, ...]:
    resource = fields.mapping(body.get("resource"))
    repository, sender = _repository(resource), _sender(resource)
    updates = resource.get("refUpdates")
    is_alone = len(fields.items(updates) or ()) == 1
    listed = [_plain(fields.mapping(commit)) for commit in fields.items(resource.get("commits")) or ()]

    def read(update: Json) -> Facts:
        after = update.get("newObjectId")
        # The commits are those of the whole push: with several refs only a head can be told, by its id.
        own = listed if is_alone else [commit for commit in listed if commit["id"] == after]
        return push(
            {"ref": update.get("name"), "before": update.get("oldObjectId"), "after": after, "commits": own or None},
            repository=repository,
            sender=sender,
            listed_all=False,
        )

    return of_changes(updates, read, repository=repository)


def _plain(commit: Json) -> Json:
    """A commit in the words of the other providers."""
    author = fields.mapping(commit.get("author"))
    return {"id": commit.get("commitId"), "message": commit.get("comment"), "author": {"name": author.get("name")}}


def _pull_request(body: Json) -> tuple[Facts, ...]:
    """
    A pull request was completed.

    `git.pullrequest.merged` is sent whenever a merge was tried, also while the pull request is open, and `git.pullrequest.updated` for every change.
    """
    found = fields.mapping(body.get("resource"))
    branch = fields.branch_of(found.get("targetRefName"))
    if branch is None or fields.text(found.get("status")) is None:
        return _ignored(body, UNKNOWN_SHAPE)
    (facts,) = _custom(body)
    if found.get("status") != "completed" or found.get("mergeStatus") not in (None, "succeeded"):
        return (facts,)
    facts |= {
        "kind": Kind.MERGE,
        "branch": branch,
        "commit": fields.sha(fields.mapping(found.get("lastMergeCommit")).get("commitId")),
        "message": fields.first_line(found.get("title")),
    }
    return (facts,)


def _build(body: Json) -> tuple[Facts, ...]:
    """A build has ended well. One of a pull request builds a ref that is no branch, and is ignored: anyone may have written what it built."""
    found = fields.mapping(body.get("resource"))
    ref = fields.ref(found.get("sourceBranch"))
    if fields.text(found.get("status")) is None or fields.text(found.get("result")) is None or ref is None:
        return _ignored(body, UNKNOWN_SHAPE)
    (facts,) = _custom(body)
    if found.get("status") != "completed" or found.get("result") != "succeeded":
        return (facts,)
    facts |= of_ref(ref, deleted=False)
    if facts["kind"] is not Kind.CUSTOM:
        facts["kind"] = Kind.CI
    definition = fields.mapping(found.get("definition"))
    facts |= {
        "commit": fields.sha(found.get("sourceVersion")),
        "message": fields.first_line(definition.get("name")),
    }
    return (facts,)


def _custom(body: Json) -> tuple[Facts, ...]:
    resource = fields.mapping(body.get("resource"))
    return ({"kind": Kind.CUSTOM, "repository": _repository(resource), "sender": _sender(resource)},)


def _ignored(body: Json, reason: str) -> tuple[Facts, ...]:
    (facts,) = _custom(body)
    facts["ignored"] = reason
    return (facts,)


def _repository(resource: Json) -> Repository | None:
    """A build names its project beside the repository, and may have built a repository of another provider, whose name is whole."""
    found = fields.mapping(resource.get("repository"))
    project = fields.mapping(found.get("project")) or fields.mapping(resource.get("project"))
    owner, name = fields.text(project.get("name")), fields.text(found.get("name"))
    is_elsewhere = found.get("type", "TfsGit") != "TfsGit"
    default = found.get("defaultBranch")
    return fields.repository(
        name if is_elsewhere else f"{owner}/{name}" if owner and name else None,
        (found.get("remoteUrl"), found.get("sshUrl"), found.get("webUrl"), _clone_url_of_build(found)),
        provider_id=found.get("id"),
        default_branch=fields.branch_of(default),
    )


def _clone_url_of_build(repository: Json) -> object:
    """A build has the clone URL under `url`; everywhere else that is the address of the API, which looks like a repository's."""
    return repository.get("url") if "type" in repository else None


def _sender(resource: Json) -> str | None:
    """Who pushed, closed the pull request or asked for the build. `uniqueName` is an e-mail address at Services and no name then."""
    people = [fields.mapping(resource.get(key)) for key in ("pushedBy", "closedBy", "requestedFor", "createdBy")]
    return fields.name(*(person.get(key) for person in people for key in ("uniqueName", "displayName")))


_READERS: Mapping[str, Callable[[Json], tuple[Facts, ...]]] = {
    "git.push": _push,
    "git.pullrequest.merged": _pull_request,
    "git.pullrequest.updated": _pull_request,
    "build.complete": _build,
}
