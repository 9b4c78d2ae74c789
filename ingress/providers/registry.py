"""
Notifications of the registry "distribution": https://distribution.github.io/distribution/about/notifications/.

That is registry:2 and 3, and what is built on it, such as GitLab's. It sends a header from its configuration along and signs nothing. It tells of
each layer, each pull and each manifest; what counts is a manifest with a tag. Until it is answered 2xx it sends the same again, for ever, and nothing
else: so whatever is authentic is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from ingress.providers import fields, images
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.signing import Verdict, check_authorization
from shared.event import Image

NOT_AN_IMAGE = "only a manifest is an image: layers come with it"

_MANIFESTS = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    }
)


class Registry(Provider):
    """Sends to `/listener/registry`."""

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_authorization(request.headers.only(b"authorization"), secrets)

    def parse(self, request: Request) -> object:
        """What is no JSON is nothing: to refuse it would be to get it for ever."""
        try:
            return super().parse(request)
        except ValueError:
            return None

    def identify(self, headers: Headers, document: Json) -> Identity:
        events = _events(document)
        actions = [action for event in events if (action := fields.text(event.get("action")))]
        happened = "push" if "push" in actions else next(iter(actions), None)
        if happened is None and "events" in document:
            happened = "events"
        return Identity("registry", happened, _delivery_id(events))

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        return images.counting(map(read, _events(document)))


def read(event: Json) -> Facts:
    """The facts of one notification."""
    return _READERS.get(fields.text(event.get("action")) or "", _other)(event)


def _events(document: Json) -> list[Json]:
    return [fields.mapping(event) for event in fields.items(document.get("events")) or ()]


def _delivery_id(events: list[Json]) -> str | None:
    """The id of the one event; of several, what their ids come to, so that a batch that has grown is another one."""
    ids = [found for event in events if (found := fields.text(event.get("id")))]
    if not ids or len(ids) < len(events):
        return None
    return ids[0] if len(ids) == 1 else hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _push(event: Json) -> Facts:
    media = fields.mapping(event.get("target")).get("mediaType")
    if not isinstance(media, str) or media not in _MANIFESTS:
        return images.not_pushed(NOT_AN_IMAGE, sender=_sender(event))
    return images.pushed(_image(event), sender=_sender(event))


def _delete(event: Json) -> Facts:
    return images.deleted(_image(event), sender=_sender(event))


def _other(event: Json) -> Facts:
    return images.not_pushed(sender=_sender(event))


def _image(event: Json) -> Image | None:
    target, request = fields.mapping(event.get("target")), fields.mapping(event.get("request"))
    # An empty host is none here, not Docker Hub.
    return images.image(request.get("host") or None, target.get("repository"), target.get("tag"), target.get("digest"))


def _sender(event: Json) -> str | None:
    return fields.name(fields.mapping(event.get("actor")).get("name"))


_READERS: Mapping[str, Callable[[Json], Facts]] = {"push": _push, "delete": _delete}
