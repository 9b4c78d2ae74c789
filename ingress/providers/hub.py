"""
The events that GitHub and Gitea's family write alike.

Sources: https://docs.github.com/webhooks/webhook-events-and-payloads and Gitea's `modules/structs/hook.go`.
"""

from __future__ import annotations

from ingress.providers import fields
from ingress.providers.provider import Facts, Json
from ingress.providers.push import of_deletion
from shared.event import Kind, Repository

NO_EVENT = "no header names the event"


def repository(body: Json) -> Repository | None:
    """The repository under `repository`."""
    found = fields.mapping(body.get("repository"))
    return fields.repository(
        found.get("full_name"),
        (found.get("clone_url"), found.get("ssh_url"), found.get("html_url")),
        provider_id=found.get("id"),
        default_branch=found.get("default_branch"),
    )


def sender(body: Json) -> str | None:
    """Who caused the event, else who pushed."""
    causer, pusher = fields.mapping(body.get("sender")), fields.mapping(body.get("pusher"))
    return fields.name(
        causer.get("login"), causer.get("username"), pusher.get("login"), pusher.get("username"), pusher.get("name")
    )


def custom(body: Json) -> Facts:
    """An event without a normal form; its name is the event's `source_event`."""
    return {"kind": Kind.CUSTOM, "repository": repository(body), "sender": sender(body)}


def unnamed(body: Json) -> Facts:
    """A request whose event no header names, or two headers do."""
    facts = custom(body)
    facts["ignored"] = NO_EVENT
    return facts


def delete(body: Json) -> Facts:
    """A branch or tag was deleted."""
    return of_deletion(body, repository=repository(body), sender=sender(body))


def release(body: Json) -> Facts:
    """
    A release was published.

    Its other actions (GitHub sends up to three for one release) have no normal form, so that a release starts things once.
    """
    found = fields.mapping(body.get("release"))
    tag = fields.tag(found.get("tag_name"))
    if body.get("action") != "published" or tag is None:
        return custom(body)
    facts = custom(body)
    facts |= {"kind": Kind.RELEASE, "tag": tag, "message": fields.first_line(found.get("name"))}
    return facts


def pull_request(body: Json) -> Facts:
    """A pull request was merged; `branch` is what it was merged into. All other news of pull requests has no normal form."""
    found = fields.mapping(body.get("pull_request"))
    branch = fields.branch(fields.mapping(found.get("base")).get("ref"))
    if body.get("action") != "closed" or found.get("merged") is not True or branch is None:
        return custom(body)
    facts = custom(body)
    facts |= {
        "kind": Kind.MERGE,
        "branch": branch,
        "commit": fields.sha(found.get("merge_commit_sha")),
        "message": fields.first_line(found.get("title")),
    }
    return facts
