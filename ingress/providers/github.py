"""
GitHub, and whoever speaks like it: https://docs.github.com/webhooks/webhook-events-and-payloads.

Gitea, Forgejo and Gogs send GitHub's headers beside their own, and Komodo's users point them at the `github` URL. Such a request is
verified and read by its sender's own rules; the secret and the algorithm are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingress.providers import fields, gitea, hub
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import push
from ingress.providers.signing import Verdict, check_hmac_sha256
from shared.event import Kind

MAX_LISTED_COMMITS = 2048


class GitHub(Provider):
    """Sends to `/listener/github`."""

    takes_forms = True

    def identify(self, headers: Headers, document: Json) -> Identity:
        if family := gitea.sender(headers):
            return gitea.identify(family, headers)
        return Identity("github", headers.text(b"x-github-event"), headers.text(b"x-github-delivery"))

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        if family := gitea.sender(request.headers):
            return gitea.verify(family, request, secrets)
        signature = request.headers.only(b"x-hub-signature-256")
        # Komodo takes the digest without its prefix as well, and people sign by hand.
        return check_hmac_sha256(request.body.raw, signature and signature.removeprefix(b"sha256="), secrets)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        if identity.provider != "github":
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


_READERS: Mapping[str | None, Callable[[Json], Facts]] = {
    None: hub.unnamed,
    "push": _push,
    "ping": _ping,
    "delete": hub.delete,
    "release": hub.release,
    "pull_request": hub.pull_request,
}
