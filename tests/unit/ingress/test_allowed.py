"""What a hook may speak for: every name that an event gives must be on its list."""

from __future__ import annotations

import pytest

from ingress.allowed import NAMES_NOTHING, Allowed
from ingress.providers.provider import Facts
from shared.event import Image, Kind, Repository
from shared.matching.patterns import PatternError

WEB = Repository(
    key="github.com/acme/web",
    full_name="Acme/Web",
    urls=("https://github.com/Acme/Web.git", "git@github.com:Acme/Web.git"),
)
TWO_HOSTS = Repository(
    key="git.example.com/acme/web",
    full_name="acme/web",
    urls=("https://git.example.com/acme/web.git", "ssh://git@ssh.example.com/acme/web.git"),
)
# One who has the secret for acme/web writes the body as he likes.
FORGED_URL = Repository(key="github.com/acme/web", full_name="acme/web", urls=("https://github.com/victim/infra.git",))
FORGED_NAME = Repository(key="github.com/acme/web", full_name="victim/infra", urls=())
NESTED = Repository(key="gitlab.com/victim/acme/web", full_name="acme/web", urls=())
APP = Image(registry="ghcr.io", name="acme/app", tag="1")


def push(repository: Repository | None = None, image: Image | None = None) -> Facts:
    return {"kind": Kind.PUSH, "repository": repository, "image": image}


def objection(facts: Facts, repositories: str = "", images: str = "") -> str | None:
    allowed = Allowed.parse(repositories, images)
    assert allowed is not None
    return allowed.objection(facts)


MAY = {
    "owner/name": ("acme/web", WEB),
    "host/owner/name": ("github.com/acme/web", WEB),
    "in any case": ("ACME/wEb", WEB),
    "a wildcard": ("acme/*", WEB),
    "a regular expression": ("\\^github\\.com/acme/\\", WEB),
    "one of several": ("acme/api\nacme/web", WEB),
    "all but others": ("!acme/secret", WEB),
    "both hosts": ("git.example.com/acme/web\nssh.example.com/acme/web", TWO_HOSTS),
    "any host": ("acme/web", TWO_HOSTS),
    "a group below a group": ("gitlab.com/victim/*", NESTED),
}
MAY_NOT = {
    "another name": ("acme/api", WEB, "github.com/acme/web"),
    "another host": ("gitlab.com/acme/web", WEB, "github.com/acme/web"),
    "an excluded one": ("acme/*, !acme/web", WEB, "github.com/acme/web"),
    "one of two hosts": ("git.example.com/acme/web", TWO_HOSTS, "ssh.example.com/acme/web"),
    "a forged url": ("acme/web", FORGED_URL, "github.com/victim/infra"),
    "a forged name": ("acme/web", FORGED_NAME, "victim/infra"),
    "a name below somebody's group": ("acme/web", NESTED, "gitlab.com/victim/acme/web"),
}


@pytest.mark.parametrize(("listed", "repository"), MAY.values(), ids=MAY)
def test_a_hook_may_speak_for_what_is_on_its_list(listed: str, repository: Repository) -> None:
    assert objection(push(repository), listed) is None


@pytest.mark.parametrize(("listed", "repository", "named"), MAY_NOT.values(), ids=MAY_NOT)
def test_a_hook_may_not_speak_for_anything_else(listed: str, repository: Repository, named: str) -> None:
    assert objection(push(repository), listed) == f"this hook may not speak for the repository {named}"


@pytest.mark.parametrize("listed", ["acme/app", "ghcr.io/acme/app", "ghcr.io/*", "acme/*"])
def test_an_image_is_listed_with_or_without_its_registry(listed: str) -> None:
    assert objection(push(image=APP), images=listed) is None


@pytest.mark.parametrize(
    ("repositories", "images"), [("", "acme/other"), ("", "docker.io/acme/app"), ("acme/app", ""), ("*", "")]
)
def test_an_image_that_is_not_on_the_list_of_images_is_none_of_the_hooks(repositories: str, images: str) -> None:
    assert objection(push(image=APP), repositories, images) == "this hook may not speak for the image ghcr.io/acme/app"


def test_an_event_with_both_needs_both() -> None:
    both = push(WEB, APP)

    assert objection(both, "acme/web", "acme/app") is None
    assert objection(both, "", "acme/app") == "this hook may not speak for the repository github.com/acme/web"
    assert objection(both, "acme/web", "") == "this hook may not speak for the image ghcr.io/acme/app"


def test_an_event_that_names_nothing_is_none_of_a_limited_hook() -> None:
    assert objection({"kind": Kind.CUSTOM}, "*", "*") == NAMES_NOTHING


@pytest.mark.parametrize("empty", ["", "  \n", "# acme/*", ","])
def test_without_lists_a_hook_may_speak_for_everything(empty: str) -> None:
    assert Allowed.parse(empty, "") is None


def test_a_list_that_is_none_is_refused() -> None:
    with pytest.raises(PatternError):
        Allowed.parse("\\(\\", "")


def test_a_long_name_is_cut_in_the_reason() -> None:
    long = Repository(full_name="x" * 900)

    assert len(objection(push(long), "acme/web") or "") < 200
