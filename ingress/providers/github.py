"""
GitHub, and whoever speaks like it: https://docs.github.com/webhooks/webhook-events-and-payloads.

Gitea, Forgejo and Gogs send GitHub's headers beside their own, and Komodo's users point them at the `github` URL. Such a request is
verified and read by its sender's own rules; the secret and the algorithm are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingress.providers import fields, gitea, hub, packages
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import push
from ingress.providers.signing import Verdict, check_hmac_sha256
from shared.event import Kind

MAX_LISTED_COMMITS = 2048

_OWN = frozenset({"github", packages.GHCR})


class GitHub(Provider):
    """Sends to `/listener/github`."""

    takes_forms = True

    def identify(self, headers: Headers, document: Json) -> Identity:
        if family := gitea.sender(headers):
            return gitea.identify(family, headers)
        event = headers.text(b"x-github-event")
        is_image = event in packages.EVENTS and packages.is_image(document)
        return Identity(packages.GHCR if is_image else "github", event, headers.text(b"x-github-delivery"))

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        if family := gitea.sender(request.headers):
            return gitea.verify(family, request, secrets)
        signature = request.headers.only(b"x-hub-signature-256")
        # Komodo takes the digest without its prefix as well, and people sign by hand.
        return check_hmac_sha256(request.body.raw, signature and signature.removeprefix(b"sha256="), secrets)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        if identity.provider not in _OWN:
            return gitea.normalize(identity, document)
        return (_READERS.get(identity.source_event, hub.custom)(document),)


def _push(body: Json) -> Facts:
    head = fields.mapping(body.get("head_commit"))
    return push(
        body,
        repository=hub.repository(body),
        sender=hub.sender(body),
        listed_all=len(fields.items(body.get("commits")) or ()) < MAX_LISTED_COMMITS,
        commit=fields.sha(head.get("id")),
        forced=fields.flag(body.get("forced")),
        created=fields.flag(body.get("created")),
        deleted=fields.flag(body.get("deleted")),
    )


def _ping(body: Json) -> Facts:
    return {"kind": Kind.PING, "repository": hub.repository(body), "sender": hub.sender(body)}


def _workflow_run(body: Json) -> Facts:
    """
    CI is green. A run for a fork's pull request has the fork's branch name and says nothing of ours.
    """
    facts = hub.custom(body)
    found = fields.mapping(body.get("workflow_run"))
    branch, home = fields.branch(found.get("head_branch")), fields.mapping(found.get("head_repository"))
    ours = fields.mapping(body.get("repository"))
    if body.get("action") != "completed" or found.get("conclusion") != "success" or branch is None:
        return facts
    if found.get("event") in _FROM_FORKS or home.get("id") != ours.get("id"):
        return facts
    facts |= {
        "kind": Kind.CI,
        "branch": branch,
        "commit": fields.sha(found.get("head_sha")),
        "message": fields.first_line(found.get("display_title")),
    }
    return facts


_FROM_FORKS = frozenset({"pull_request", "pull_request_target"})
_READERS: Mapping[str | None, Callable[[Json], Facts]] = {
    None: hub.unnamed,
    "push": _push,
    "ping": _ping,
    "delete": hub.delete,
    "release": hub.release,
    "pull_request": hub.pull_request,
    "workflow_run": _workflow_run,
    "package": packages.github,
    "registry_package": packages.github,
}
