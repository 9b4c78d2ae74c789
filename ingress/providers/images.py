"""
Names of container images, and the facts of one that was pushed.

Each name has one form here: host and repository in lower case, Docker Hub is `docker.io` and its official images are under `library/`, a port stays,
since it is part of the name. What a registry would not accept is refused, not mended: mending could make another image's name of it
(https://pkg.go.dev/github.com/distribution/reference has the grammar).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ingress.providers.provider import Facts
from ingress.providers.push import DELETION
from shared.event import Image, Kind, Repository

DOCKER_HUB = "docker.io"
# Far more than any sender tells of at once: registries send one event at a time, Quay the tags of one push.
MAX_IMAGES = 1_000

NO_IMAGE = "the event names no image"
UNTAGGED = "the image has no tag: the parts of a multi-platform image come like that"
NO_PUSH = "only a push of an image counts"
TOO_MANY = f"of one delivery only the first {MAX_IMAGES} images count"

_HUB_HOSTS = frozenset({"", DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_MAX_NAME = 255
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def image(host: object, name: object, tag: object = None, digest: object = None) -> Image | None:
    """The image of these parts; None without a valid host and name. A tag or digest that is not valid counts as not sent."""
    if not isinstance(host, str) or not isinstance(name, str) or len(host) > _MAX_NAME or len(name) > _MAX_NAME:
        return None
    registry, repository = host.lower(), name.lower()
    if registry in _HUB_HOSTS:
        registry = DOCKER_HUB
        repository = repository if "/" in repository else f"library/{repository}"
    if not _HOST.fullmatch(registry) or not _NAME.fullmatch(repository):
        return None
    return Image(registry=registry, name=repository, tag=_valid(_TAG, tag), digest=_valid(_DIGEST, digest))


def from_text(text: object, *, has_host: bool = False) -> Image | None:
    """
    Read `host/name:tag@digest`, of which only the name has to be there.

    `has_host` when the sender always begins with a host, so that `registry` is one too. Else the first part is a host if Docker would take it for
    one: it has a dot, a port or a capital letter, or is `localhost`.
    """
    if not isinstance(text, str):
        return None
    rest, _, digest = text.partition("@")
    named, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        named, tag = rest, ""
    host, slash, name = named.partition("/")
    if not has_host and not (slash and _is_host(host)):
        return image(DOCKER_HUB, named, tag, digest)
    return image(host or None, name, tag, digest)


def first_digest(*values: object) -> str | None:
    """The first of the values that is a digest."""
    return next((value for value in values if isinstance(value, str) and _DIGEST.fullmatch(value)), None)


def pushed(found: Image | None, *, sender: str | None = None, repository: Repository | None = None) -> Facts:
    """An image was pushed; without a tag it starts nothing."""
    facts: Facts = {"kind": Kind.CUSTOM if found is None else Kind.IMAGE, "image": found}
    facts |= {"sender": sender, "repository": repository, "ignored": None}
    if found is None:
        facts["ignored"] = NO_IMAGE
    elif found.tag is None:
        facts["ignored"] = UNTAGGED
    return facts


def deleted(found: Image | None, *, sender: str | None = None, repository: Repository | None = None) -> Facts:
    """An image or one of its tags was deleted."""
    facts = pushed(found, sender=sender, repository=repository)
    facts |= {"deleted": True, "ignored": DELETION}
    return facts


def not_pushed(reason: str = NO_PUSH, *, sender: str | None = None) -> Facts:
    """Something else happened at the registry."""
    return {"kind": Kind.CUSTOM, "sender": sender, "ignored": reason}


def counting(told: Iterable[Facts]) -> tuple[Facts, ...]:
    """What of a delivery counts, one event for each image and tag. Where nothing does, one event says why."""
    facts = tuple(told)
    counted = tuple(fact for fact in facts if fact.get("ignored") is None)
    if len(counted) > MAX_IMAGES:
        return (*counted[:MAX_IMAGES], not_pushed(TOO_MANY))
    return counted or facts[:1] or (not_pushed(NO_IMAGE),)


def _is_host(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost" or part != part.lower()


def _valid(form: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and form.fullmatch(value) else None
