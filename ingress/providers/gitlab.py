"""
GitLab: https://docs.gitlab.com/user/project/integrations/webhook_events/.

A secret token proves the sender and nothing signs the body, so only HTTPS keeps it whole. A signing token (GitLab 19 and later, `whsec_…`) signs as
Standard Webhooks does; a hook that has one may have a secret token as well, and GitLab then sends both. What happened stands in the body, not in a
header: a System Hook carries pushes too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingress.providers import fields
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import push
from ingress.providers.signing import Verdict, Verified, check_standard, check_token, is_signing_secret
from ingress.providers.standard import stamped
from shared.event import Kind, Repository

UNKNOWN_SHAPE = "the body has not GitLab's shape; a custom template does that"


class GitLab(Provider):
    """Sends to `/listener/gitlab`."""

    def identify(self, headers: Headers, document: Json) -> Identity:
        # X-Gitlab-Event-UUID is shared by hooks that trigger each other and is no delivery id.
        # Both ids are the same, but only webhook-id is signed.
        delivery = headers.text(b"webhook-id") or headers.text(b"idempotency-key")
        return Identity("gitlab", headers.text(b"x-gitlab-event"), delivery)

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        tokens = [b"" if is_signing_secret(secret) else secret for secret in secrets]
        by_token = check_token(request.headers.only(b"x-gitlab-token"), tokens)
        # Whether there is a signature is asked of the request alone: the time must not tell which kinds of secret the hook has.
        if b"webhook-signature" not in request.headers:
            return by_token
        keys = [secret if is_signing_secret(secret) else b"" for secret in secrets]
        by_signature = check_standard(stamped(request, b"webhook"), keys, request.at)
        return by_token if isinstance(by_token, Verified) or not any(keys) else by_signature

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


def _pipeline(body: Json) -> Facts:
    """CI is green, of a branch or a tag of this project; a merge request's pipeline is another matter."""
    facts = _custom(body)
    found = fields.mapping(body.get("object_attributes"))
    if found.get("status") != "success" or found.get("source") == "merge_request_event":
        return facts
    is_tag = found.get("tag") is True
    name = fields.tag(found.get("ref")) if is_tag else fields.branch(found.get("ref"))
    if name is None:
        return facts
    facts |= {"kind": Kind.CI, "commit": fields.sha(found.get("sha"))}
    facts |= {"tag": name} if is_tag else {"branch": name}
    return facts


_READERS: Mapping[str, Callable[[Json], Facts]] = {
    "push": _push,
    "tag_push": _push,
    "merge_request": _merge_request,
    "release": _release,
    "pipeline": _pipeline,
}
