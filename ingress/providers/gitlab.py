"""
GitLab with a secret token: https://docs.gitlab.com/user/project/integrations/webhook_events/.

The token proves the sender and nothing signs the body, so only HTTPS keeps it whole. What happened stands in the body, not in a header: a
System Hook carries pushes too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingress.providers import fields
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import push
from ingress.providers.signing import Verdict, check_token
from shared.event import Kind, Repository

UNKNOWN_SHAPE = "the body has not GitLab's shape; a custom template does that"


class GitLab(Provider):
    """Sends to `/listener/gitlab`."""

    def identify(self, headers: Headers, document: Json) -> Identity:
        # X-Gitlab-Event-UUID is shared by hooks that trigger each other and is no delivery id.
        return Identity("gitlab", headers.text(b"x-gitlab-event"), headers.text(b"idempotency-key"))

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_token(request.headers.only(b"x-gitlab-token"), secrets)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        happened = fields.text(document.get("object_kind")) or fields.text(document.get("event_name"))
        if happened is None:
            return ({"kind": Kind.CUSTOM, "ignored": UNKNOWN_SHAPE},)
        return (_READERS.get(happened, _custom)(document),)


def _push(body: Json) -> Facts:
    return push(
        body,
        repository=_repository(body),
        sender=_sender(body),
        listed_all=_listed_all(body),
        commit=fields.sha(body.get("checkout_sha")),
    )


def _listed_all(body: Json) -> bool:
    total = fields.number(body.get("total_commits_count"))
    return total is not None and total <= len(fields.items(body.get("commits")) or ())


def _merge_request(body: Json) -> Facts:
    facts = _custom(body)
    found = fields.mapping(body.get("object_attributes"))
    branch = fields.branch(found.get("target_branch"))
    if found.get("action") != "merge" or found.get("state") != "merged" or branch is None:
        return facts
    facts |= {
        "kind": Kind.MERGE,
        "branch": branch,
        "commit": fields.sha(found.get("merge_commit_sha")) or fields.sha(found.get("squash_commit_sha")),
        "message": fields.first_line(found.get("title")),
    }
    return facts


def _release(body: Json) -> Facts:
    facts = _custom(body)
    tag = fields.tag(body.get("tag"))
    if body.get("action") != "create" or tag is None:
        return facts
    facts |= {
        "kind": Kind.RELEASE,
        "tag": tag,
        "commit": fields.sha(fields.mapping(body.get("commit")).get("id")),
        "message": fields.first_line(body.get("name")),
    }
    return facts


def _custom(body: Json) -> Facts:
    return {"kind": Kind.CUSTOM, "repository": _repository(body), "sender": _sender(body)}


def _repository(body: Json) -> Repository | None:
    found = fields.mapping(body.get("project"))
    return fields.repository(
        found.get("path_with_namespace"),
        (found.get("git_http_url"), found.get("git_ssh_url"), found.get("web_url")),
        provider_id=found.get("id") if found.get("id") is not None else body.get("project_id"),
        default_branch=found.get("default_branch"),
    )


def _sender(body: Json) -> str | None:
    user = fields.mapping(body.get("user"))
    return fields.name(body.get("user_username"), user.get("username"), body.get("user_name"), user.get("name"))


_READERS: Mapping[str, Callable[[Json], Facts]] = {
    "push": _push,
    "tag_push": _push,
    "merge_request": _merge_request,
    "release": _release,
}
