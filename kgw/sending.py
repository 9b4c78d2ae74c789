"""Send a payload to the listener as a provider would: for trying things out, and for scripts."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
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
}
_GITLAB_EVENTS = {"push": "Push Hook", "tag_push": "Tag Push Hook"}
PROVIDERS = (*_HEADERS, "gitlab")


def headers_for(provider: str, event: str, body: bytes, secret: str, delivery: str | None) -> dict[str, str]:
    """What the provider would send with the body; raises `Misconfigured` for a provider that it does not know."""
    delivery = delivery or str(uuid4())
    if provider == "gitlab":
        return {
            "Content-Type": "application/json",
            "X-Gitlab-Event": _GITLAB_EVENTS.get(event, event),
            "Idempotency-Key": delivery,
            "X-Gitlab-Token": secret,
        }
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
