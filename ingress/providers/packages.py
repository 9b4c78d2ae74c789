"""
Images among the packages of a Git host: GitHub Packages (ghcr.io) and the package registry of Gitea and Forgejo.

Sources: https://docs.github.com/webhooks/webhook-events-and-payloads#package and Gitea's `modules/structs/hook.go`. Packages of other types, and
other news of a package, have no normal form.
"""

from __future__ import annotations

import re

from ingress.providers import fields, hub, images
from ingress.providers.provider import Facts, Json
from shared.event import Image

# The event's provider, and what GitHub calls the event: by the kind of the webhook, with the same body.
GHCR = "ghcr"
EVENTS = ("package", "registry_package")

_GHCR_HOST = "ghcr.io"
_TYPES = frozenset({"container", "docker"})
_ACTIONS = frozenset({"published", "updated"})
_ORIGIN = re.compile(r"(https?)://(?:[^/?#@\s]*@)?([^/?#@\s]+)")
_USUAL_PORTS = {"http": ":80", "https": ":443"}


def is_image(body: Json) -> bool:
    """Whether GitHub tells of a container image. What it calls the type has changed, in words and in case."""
    package = _package(body)
    kinds = (fields.text(package.get("package_type")), fields.text(package.get("ecosystem")))
    return any(kind is not None and kind.lower() in _TYPES for kind in kinds)


def github(body: Json) -> Facts:
    """
    A package at GitHub, where there is one event for each platform of an image too, without a tag.

    Of a push with several tags it names only one.
    """
    if not is_image(body) or body.get("action") not in _ACTIONS:
        return hub.custom(body)
    return images.pushed(_github_image(_package(body)), sender=hub.sender(body), repository=hub.repository(body))


def gitea(body: Json) -> Facts:
    """A package at Gitea or Forgejo. Its version is the image's tag; of what is untagged it is the digest."""
    package, action = fields.mapping(body.get("package")), body.get("action")
    if package.get("type") != "container" or action not in ("created", "deleted"):
        return hub.custom(body)
    told = images.pushed if action == "created" else images.deleted
    repository = hub.repository(body) or hub.repository(package)
    return told(_gitea_image(package, body), sender=hub.sender(body), repository=repository)


def _package(body: Json) -> Json:
    return next((found for event in EVENTS if (found := fields.mapping(body.get(event)))), {})


def _github_image(package: Json) -> Image | None:
    version = fields.mapping(package.get("package_version"))
    container = fields.mapping(version.get("container_metadata"))
    tag, manifest = fields.mapping(container.get("tag")), fields.mapping(container.get("manifest"))
    named = images.from_text(version.get("package_url"), has_host=True) or _by_name(package)
    if named is None:
        return None
    pinned = images.first_digest(tag.get("digest"), version.get("version"), version.get("name"), manifest.get("digest"))
    return images.image(named.registry, named.name, tag.get("name") or named.tag, pinned)


def _by_name(package: Json) -> Image | None:
    owner = package.get("namespace") or fields.mapping(package.get("owner")).get("login")
    return images.image(_GHCR_HOST, _below(owner, package.get("name")))


def _gitea_image(package: Json, body: Json) -> Image | None:
    owner = fields.mapping(package.get("owner"))
    named = _below(owner.get("login") or owner.get("username"), package.get("name"))
    version = package.get("version")
    return images.image(_instance(package, fields.mapping(body.get("repository"))), named, version, version)


def _below(owner: object, name: object) -> str | None:
    return f"{owner}/{name}" if isinstance(owner, str) and isinstance(name, str) else None


def _instance(*pages: Json) -> str | None:
    """The host of the first page that has an address: the instance is its own registry."""
    for page in pages:
        if found := _ORIGIN.match(fields.text(page.get("html_url")) or ""):
            return found[2].removesuffix(_USUAL_PORTS[found[1]])
    return None
