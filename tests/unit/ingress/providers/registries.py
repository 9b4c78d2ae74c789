"""What the tests of the registries share: reading a body as the listener does, once its sender is known."""

from typing import Any

from ingress.providers import PROVIDERS
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity

DIGEST = "sha256:" + "4f" * 32
OTHER = "sha256:" + "9c" * 32
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def identify(auth: str, body: dict[str, Any], **headers: str) -> Identity:
    pairs = ((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return PROVIDERS[auth].identify(Headers(pairs), body)


def read(auth: str, body: dict[str, Any], **headers: str) -> tuple[Facts, ...]:
    return PROVIDERS[auth].normalize(identify(auth, body, **headers), body)


def names(facts: tuple[Facts, ...]) -> list[str]:
    """The images of the events that count."""
    found = [fact.get("image") for fact in facts if fact.get("ignored") is None]
    return [f"{image.registry}/{image.name}:{image.tag}" for image in found if image is not None]


def reasons(facts: tuple[Facts, ...]) -> list[str]:
    """Why the others do not."""
    return [reason for fact in facts if (reason := fact.get("ignored"))]


def notification(**changes: Any) -> dict[str, Any]:
    """What "distribution" tells of a pushed tag; Azure sends it bare."""
    target = {"mediaType": MANIFEST, "digest": DIGEST, "repository": "acme/shop", "tag": "1"}
    target |= changes.pop("target", {})
    return {
        "id": "6df24a34",
        "action": "push",
        "target": {key: value for key, value in target.items() if value is not None},
        "request": {"host": "registry.acme.example:5000"},
        "actor": {"name": "nora"},
    } | changes
