"""Send a payload to the listener as a provider would: for trying things out, and for scripts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx

from shared.errors import Misconfigured, Unavailable

SECONDS = 30.0
# Which headers say what, by provider: event, delivery id, signature (and what stands before its hex digits).
_HEADERS = {
    "github": ("X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256", "sha256="),
    "gitea": ("X-Gitea-Event", "X-Gitea-Delivery", "X-Gitea-Signature", ""),
    "forgejo": ("X-Forgejo-Event", "X-Forgejo-Delivery", "X-Forgejo-Signature", ""),
    "gogs": ("X-Gogs-Event", "X-Gogs-Delivery", "X-Gogs-Signature", ""),
    "bitbucket": ("X-Event-Key", "X-Request-UUID", "X-Hub-Signature", "sha256="),
    "bitbucket-dc": ("X-Event-Key", "X-Request-Id", "X-Hub-Signature", "sha256="),
    "generic": ("X-Event", "X-Delivery-Id", "X-Signature-256", "sha256="),
}
# What some providers call the events that the others agree on.
_EVENTS = {
    "gitlab": {"push": "Push Hook", "tag_push": "Tag Push Hook"},
    "bitbucket": {"push": "repo:push"},
    "bitbucket-dc": {"push": "repo:refs_changed"},
}
# Their event and delivery id stand in the body alone.
IN_THE_BODY = ("azure", "dockerhub", "harbor", "quay", "registry", "acr")
_BEARERS = frozenset({"harbor", "registry", "acr"})
_URL_TOKENS = frozenset({"dockerhub", "quay"})
_SIGNING_PREFIX = "whsec_"
_SOURCE = "/kgw/send"
PROVIDERS = (*_HEADERS, "gitlab", "standard", "cloudevents", *IN_THE_BODY)


def url_for(provider: str, ingress_url: str, secret: str) -> str:
    """The provider's global URL; the secret is part of it where the provider can send none otherwise."""
    url = f"{ingress_url.rstrip('/')}/listener/{provider}/global"
    return f"{url}/global/{quote(secret, safe='')}" if provider in _URL_TOKENS else url


def headers_for(provider: str, event: str, body: bytes, secret: str, delivery: str | None) -> dict[str, str]:
    """
    What the provider would send with the body.

    Raises `Misconfigured` for a provider that it does not know, and for a secret that this one can not sign with. Who signs by Standard Webhooks
    names the event in the body alone.
    """
    delivery = delivery or str(uuid4())
    event = _EVENTS.get(provider, {}).get(event, event)
    if provider == "azure":
        credentials = base64.b64encode(f"kgw:{secret}".encode()).decode()
        return {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
    if provider in _BEARERS:
        return {"Content-Type": "application/json", "Authorization": f"Bearer {secret}"}
    if provider in _URL_TOKENS:
        return {"Content-Type": "application/json"}
    if provider == "gitlab":
        known = {"Content-Type": "application/json", "X-Gitlab-Event": event, "Idempotency-Key": delivery}
        is_token = not secret.startswith(_SIGNING_PREFIX)
        return known | ({"X-Gitlab-Token": secret} if is_token else _standard(body, secret, delivery))
    if provider == "standard":
        return {"Content-Type": "application/json", **_standard(body, secret, delivery)}
    if provider == "cloudevents":
        attributes = {"specversion": "1.0", "type": event, "source": _SOURCE, "id": delivery}
        encoded = {f"ce-{name}": quote(value, safe="/:.+") for name, value in attributes.items()}
        return {"Content-Type": "application/json", "Authorization": f"Bearer {secret}", **encoded}
    if provider not in _HEADERS:
        raise Misconfigured(f"--provider: {provider} is none of {', '.join(PROVIDERS)}")
    event_header, delivery_header, signature_header, prefix = _HEADERS[provider]
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        event_header: event,
        delivery_header: delivery,
        signature_header: prefix + digest,
    }


def _standard(body: bytes, secret: str, delivery: str) -> dict[str, str]:
    try:
        key = base64.b64decode(secret.removeprefix(_SIGNING_PREFIX), validate=True)
    except ValueError:
        raise Misconfigured("the secret is no signing secret: whsec_ and 24 to 64 bytes in base64") from None
    timestamp = str(int(time.time()))
    digest = hmac.new(key, f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": delivery,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


async def send(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """
    Deliver it once; the status and the answer.

    Raises `Misconfigured` when the URL is none, `Unavailable` when what is there does not answer as the ingress does.
    """
    try:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            answer = await client.post(url, content=body, headers=headers)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise Misconfigured("the listener's URL is not an http(s) URL") from None
    except httpx.HTTPError as error:
        raise Unavailable(f"the ingress does not answer: {type(error).__name__}") from error
    try:
        told = answer.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Unavailable(f"what answered {answer.status_code} is not the ingress: is the URL right?")
    return answer.status_code, told
