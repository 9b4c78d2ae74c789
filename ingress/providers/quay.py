"""
Quay and quay.io, the notification "Push to Repository": https://docs.quay.io/guides/notifications.html.

It signs nothing, names no delivery and sends no digest: the secret is part of the URL. One push may move several tags. Other notifications, and
bodies by a template of the user's own, have other shapes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingress.providers import fields, images
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.signing import Verdict, check_token

NO_TAGS = "the body lists no updated tags: another notification, or a template of one's own"


class Quay(Provider):
    """Sends to `/listener/quay/global/{hook}/{token}`."""

    has_url_token = True

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_token(request.token, secrets)

    def identify(self, headers: Headers, document: Json) -> Identity:
        return Identity("quay", "repo_push" if "updated_tags" in document else None, None)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        tags = fields.items(document.get("updated_tags"))
        if tags is None:
            return (images.not_pushed(NO_TAGS),)
        named = images.from_text(document.get("docker_url"), has_host=True)
        if named is None:
            return (images.not_pushed(images.NO_IMAGE),)
        distinct = dict.fromkeys(tag for tag in tags if isinstance(tag, str))
        return images.counting(images.pushed(images.image(named.registry, named.name, tag)) for tag in distinct)
