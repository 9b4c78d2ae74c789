"""
Harbor: https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/.

It has a format of its own and CloudEvents. It signs nothing and sends the header `Authorization` as it was typed in. The registry's host stands in
`resource_url` alone. Only the first tag of an artifact is told of, and nothing at all when an artifact gets another tag later.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingress.providers import fields, images
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.signing import Verdict, check_authorization
from shared.event import Image

# By the default format, by CloudEvents, and by Harbor 1.
_PUSHES = frozenset({"PUSH_ARTIFACT", "harbor.artifact.pushed", "pushImage"})
_DELETIONS = frozenset({"DELETE_ARTIFACT", "harbor.artifact.deleted", "deleteImage"})


class Harbor(Provider):
    """Sends to `/listener/harbor`."""

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_authorization(request.headers.only(b"authorization"), secrets)

    def identify(self, headers: Headers, document: Json) -> Identity:
        delivery = fields.text(document.get("id")) if "specversion" in document else None
        return Identity("harbor", fields.text(document.get("type")), delivery)

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        sender, happened = fields.name(document.get("operator")), identity.source_event
        if happened not in _PUSHES | _DELETIONS:
            return (images.not_pushed(sender=sender),)
        told = images.pushed if happened in _PUSHES else images.deleted
        data = fields.mapping(document.get("data" if "specversion" in document else "event_data"))
        listed = fields.items(data.get("resources")) or ()
        return images.counting(told(_image(fields.mapping(resource)), sender=sender) for resource in listed)


def _image(resource: Json) -> Image | None:
    """What is untagged, such as the parts of a multi-platform image, has its digest for a tag, which is no valid one."""
    named = images.from_text(resource.get("resource_url"), has_host=True)
    if named is None:
        return None
    return images.image(named.registry, named.name, resource.get("tag"), resource.get("digest"))
