"""
Docker Hub: https://docs.docker.com/docker-hub/repos/manage/webhooks/.

It signs nothing, names no event and no delivery, and sends no digest: the secret is part of the URL, and what the body says is a hint. Its
`callback_url` is never called and not kept: to call what a payload names would let its sender choose whom this service talks to.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingress.providers import fields, images
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.signing import Verdict, check_token
from shared.event import Image

# Seconds since 1970 that are a time: some three thousand years.
_MAX_SECONDS = 1e11


class DockerHub(Provider):
    """Sends to `/listener/dockerhub/global/{hook}/{token}`, for each tag that is pushed."""

    has_url_token = True

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_token(request.token, secrets)

    def identify(self, headers: Headers, document: Json) -> Identity:
        return Identity("dockerhub", "push" if "push_data" in document else None, _delivery_id(document))

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        push = fields.mapping(document.get("push_data"))
        return (images.pushed(_image(document), sender=fields.name(push.get("pusher"))),)


def _image(document: Json) -> Image | None:
    named = fields.mapping(document.get("repository")).get("repo_name")
    return images.image(images.DOCKER_HUB, named, fields.mapping(document.get("push_data")).get("tag"))


def _delivery_id(document: Json) -> str | None:
    """What stays the same when it is sent again; there is no id."""
    found = _image(document)
    at = fields.mapping(document.get("push_data")).get("pushed_at")
    # It is written as 1417566161 and as 1.417566161e+09.
    if found is None or isinstance(at, bool) or not isinstance(at, int | float) or not 0 < at < _MAX_SECONDS:
        return None
    return f"{found.name}:{found.tag or ''}@{float(at)!r}".removesuffix(".0")
