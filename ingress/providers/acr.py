"""
Azure Container Registry: https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference.

It sends what the registry "distribution" sends, without the list around it, and with the headers that were typed in; nothing is signed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingress.providers import fields, registry
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.signing import Verdict, check_authorization
from shared.event import Kind


class AzureContainerRegistry(Provider):
    """Sends to `/listener/acr`."""

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_authorization(request.headers.only(b"authorization"), secrets)

    def identify(self, headers: Headers, document: Json) -> Identity:
        return Identity("acr", fields.text(document.get("action")), fields.text(document.get("id")))

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        if document.get("action") == "ping":
            return ({"kind": Kind.PING},)
        return (registry.read(document),)
