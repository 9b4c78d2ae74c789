"""
Gitea, Forgejo and Gogs: one family, whose members also send the headers of those they descend from.

They sign the JSON, also where it travels as a form (Gitea's `services/webhook/deliver.go`, Gogs's `internal/database/webhook.go`). A test delivery is
a push; there is no ping. Deleting a branch sends `delete` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingress.providers import fields, hub, packages
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import push
from ingress.providers.signing import Verdict, check_hmac_sha256

# The most commits that versions list which do not say how many there are (FEED_MAX_COMMIT_NUM).
FEED_LIMIT = 5

# Youngest first: Forgejo sends Gitea's headers, and both send those of Gogs.
_FAMILY = ("forgejo", "gitea", "gogs")
_MARKS = {family: f"x-{family}-event".encode() for family in _FAMILY}
_KINDS = {family: f"x-{family}-event-type".encode() for family in _FAMILY}
_IDS = {family: f"x-{family}-delivery".encode() for family in _FAMILY}
_SIGNATURES = {family: f"x-{family}-signature".encode() for family in _FAMILY}


class GiteaFamily(Provider):
    """Send to `/listener/gitea`, `/listener/forgejo`, `/listener/gogs`; `home` is who is meant when no header says it."""

    takes_forms = True

    def __init__(self, home: str) -> None:
        self._home = home

    def identify(self, headers: Headers, document: Json) -> Identity:
        return identify(sender(headers) or self._home, headers)

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return verify(sender(request.headers) or self._home, request, secrets)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        return normalize(identity, document)


def sender(headers: Headers) -> str | None:
    """Which member of the family sends; None when it is someone else. A header counts even if it is empty, as some are."""
    return next((family for family in _FAMILY if _MARKS[family] in headers), None)


def identify(family: str, headers: Headers) -> Identity:
    """The precise event type first: the plain one is empty for some events."""
    event = headers.text(_KINDS[family]) or headers.text(_MARKS[family])
    return Identity(family, event, headers.text(_IDS[family]))


def verify(family: str, request: Request, secrets: Sequence[bytes]) -> Verdict:
    """Check the sender's own header over the JSON text."""
    return check_hmac_sha256(request.body.json_text(), request.headers.only(_SIGNATURES[family]), secrets)


def normalize(identity: Identity, document: Json) -> tuple[Facts, ...]:
    """Read one delivery of any member."""
    return (_READERS.get(identity.source_event, hub.custom)(document),)


def _push(body: Json) -> Facts:
    return push(
        body,
        repository=hub.repository(body),
        sender=hub.sender(body),
        listed_all=_listed_all(body),
        commit=fields.sha(fields.mapping(body.get("head_commit")).get("id")),
    )


def _listed_all(body: Json) -> bool:
    listed = len(fields.items(body.get("commits")) or ())
    total = fields.number(body.get("total_commits"))
    return listed < FEED_LIMIT if total is None else total <= listed


_READERS: Mapping[str | None, Callable[[Json], Facts]] = {
    None: hub.unnamed,
    "push": _push,
    "delete": hub.delete,
    "release": hub.release,
    "pull_request": hub.pull_request,
    "package": packages.gitea,
}
