"""
Bodies that providers really sent, where the folder with them is present; `KGW_FIXTURES` names it.

Gitea's and Gogs's come with the signature that the sender made over these very bytes.
"""

import os
from pathlib import Path

import orjson
import pytest

from ingress.providers import PROVIDERS
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.images import UNTAGGED
from ingress.providers.provider import Facts, Request
from ingress.providers.push import DELETION
from ingress.providers.signing import Refused, Verified
from shared.event import Image, Kind

_ROOT = Path(__file__).parents[4]
RECORDED = Path(os.environ.get("KGW_FIXTURES", _ROOT.parent / "shared" / "fixtures" / "providers"))

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the folder with recorded bodies is not here")

GITEA_SECRET = b"IsWishesWereHorsesWedAllBeEatingSteak!"
GOGS_SECRET = b"sampleToken!"
SIGNED = [
    ("gitea", "push", GITEA_SECRET, "60fe446c74fa0cb9474f98cc557db79e10c7aaf22cf324ad65239600b9e4d915"),
    ("gitea", "create", GITEA_SECRET, "6f250ac7a090096574758e31bd31770eab63dfd0459404f0c18431f1c6b9024a"),
    ("gitea", "delete", GITEA_SECRET, "84307b509e663cd897bc719b2a564e64fa4af8716fda389488f18369139e0fdd"),
    ("gitea", "release", GITEA_SECRET, "847fcef001c2e59dadac3fa5fa01ca26c9985a5faa10e48a9868a8ad98e9dd18"),
    ("gitea", "pull_request", GITEA_SECRET, "65c18a212efc7bde0f336acaec87f596fe20e80b2a0e7e51a790dd38393ff771"),
    ("gogs", "push", GOGS_SECRET, "83d4163fb936904aeb9ffd6ce22cf86e4b36273b2e1c63a57f5a6ddc371ce3ba"),
    ("gogs", "create", GOGS_SECRET, "d3c99a5711de365c4ff897be0692d9016de2cee6e3e1d6b3fb49154f9efb354d"),
    ("gogs", "delete", GOGS_SECRET, "6208970efc3c5283df65f726d69ae8331491d7857f812dfaeaedf11a68d8da79"),
]

MAIN = "refs/heads/master"
EVENT_HEADERS = {"bitbucket": "x-event-key", "bitbucket-dc": "x-event-key"}
CASES: list[tuple[str, str, str, Facts]] = [
    ("github", "push", "push", {"kind": Kind.PUSH, "ref": MAIN, "branch": "master", "changed_paths_complete": True}),
    (
        "github",
        "push_new_branch",
        "push",
        {"kind": Kind.PUSH, "created": True, "before": None, "changed_paths_complete": False},
    ),
    ("github", "push_tag_delete", "push", {"kind": Kind.TAG, "tag": "simple-tag", "deleted": True, "after": None}),
    ("github", "ping", "ping", {"kind": Kind.PING, "repository": None}),
    ("github", "create", "create", {"kind": Kind.CUSTOM}),
    ("github", "delete", "delete", {"kind": Kind.TAG, "tag": "simple-tag", "deleted": True}),
    ("github", "release", "release", {"kind": Kind.RELEASE, "tag": "0.0.1"}),
    ("github", "pull_request_closed", "pull_request", {"kind": Kind.CUSTOM}),
    ("github", "workflow_run", "workflow_run", {"kind": Kind.CUSTOM}),
    ("gitlab", "push", "Push Hook", {"kind": Kind.PUSH, "branch": "master", "changed_paths_complete": False}),
    ("gitlab", "tag_push", "Tag Push Hook", {"kind": Kind.TAG, "tag": "v1.0.0", "created": True}),
    (
        "gitlab",
        "system_push",
        "System Hook",
        {"kind": Kind.PUSH, "changed_paths": None, "changed_paths_complete": None},
    ),
    ("gitlab", "merge_request", "Merge Request Hook", {"kind": Kind.CUSTOM}),
    ("gitlab", "release", "Release Hook", {"kind": Kind.RELEASE, "tag": "v1.1"}),
    ("gitlab", "pipeline", "Pipeline Hook", {"kind": Kind.CUSTOM}),
    (
        "gitea",
        "push",
        "push",
        {"kind": Kind.PUSH, "created": True, "changed_paths": ("example",), "changed_paths_complete": False},
    ),
    ("gitea", "delete", "delete", {"kind": Kind.PUSH, "branch": "example3", "deleted": True}),
    ("gitea", "release", "release", {"kind": Kind.RELEASE, "tag": "example"}),
    ("gogs", "push", "push", {"kind": Kind.PUSH, "branch": "develop", "changed_paths": None}),
    ("gogs", "delete", "delete", {"kind": Kind.PUSH, "branch": "obsolete-branch", "deleted": True}),
    (
        "bitbucket",
        "repo_push",
        "repo:push",
        {
            "kind": Kind.PUSH,
            "branch": "name-of-branch",
            "before": "1e65c05c1d5171631d92438a13901ca7dae9618c",
            "after": "709d658dc5b6d6afcd46049c2f332ee3f515a67d",
            "changed_paths": None,
            "changed_paths_complete": None,
            "forced": False,
            "sender": "emmap1",
            "message": "new commit message",
        },
    ),
    (
        "bitbucket",
        "pullrequest_fulfilled",
        "pullrequest:fulfilled",
        {"kind": Kind.MERGE, "branch": "master", "commit": None},
    ),
    (
        "bitbucket-dc",
        "repo_refs_changed",
        "repo:refs_changed",
        {"kind": Kind.PUSH, "branch": "feature/wip", "deleted": True, "ignored": DELETION, "sender": "gopher"},
    ),
    (
        "bitbucket-dc",
        "pr_merged",
        "pr:merged",
        {"kind": Kind.MERGE, "branch": "master", "commit": "cbf26be7bfc8394906abbd571498fb8d28888b58"},
    ),
    (
        "azure",
        "git_push",
        "",
        {"kind": Kind.PUSH, "branch": "main", "changed_paths": None, "sender": "Jamal Hartnett"},
    ),
    (
        "azure",
        "git_pullrequest_merged",
        "",
        {"kind": Kind.MERGE, "branch": "master", "commit": "eef717f69257a6333f221566c1c987dc94cc0d72"},
    ),
]


@pytest.mark.parametrize(("auth", "name", "secret", "signature"), SIGNED)
@pytest.mark.parametrize("through", ["own", "github"])
def test_a_signature_that_the_sender_made_is_accepted(
    auth: str, name: str, secret: bytes, signature: str, through: str
) -> None:
    body = (RECORDED / auth / f"{name}.json").read_bytes()
    headers = Headers(
        [(f"x-{auth}-event".encode(), name.encode()), (f"x-{auth}-signature".encode(), signature.encode())]
    )
    provider = PROVIDERS[auth if through == "own" else "github"]

    assert provider.verify(Request(headers, Body(body)), [b"another", secret]) == Verified(1)
    assert isinstance(provider.verify(Request(headers, Body(body + b" ")), [secret]), Refused)


@pytest.mark.parametrize(
    ("auth", "name", "event", "expected"), CASES, ids=[f"{auth}/{name}" for auth, name, _, _ in CASES]
)
def test_a_recorded_body_is_read(auth: str, name: str, event: str, expected: Facts) -> None:
    body = orjson.loads((RECORDED / auth / f"{name}.json").read_bytes())
    provider = PROVIDERS[auth]

    headers = Headers([(EVENT_HEADERS.get(auth, f"x-{auth}-event").encode(), event.encode())])
    (facts,) = provider.normalize(provider.identify(headers, body), body)

    assert {key: facts.get(key) for key in expected} == expected
    if name != "ping":
        assert facts["repository"] is not None
        assert facts["repository"].key is not None


def test_a_recorded_push_to_docker_hub_is_read() -> None:
    body = orjson.loads((RECORDED / "dockerhub" / "push.json").read_bytes())
    provider = PROVIDERS["dockerhub"]
    identity = provider.identify(Headers([]), body)

    (facts,) = provider.normalize(identity, body)

    assert facts["image"] == Image(registry="docker.io", name="svendowideit/testhook", tag="latest")
    assert (facts["kind"], facts["sender"], facts["repository"]) == (Kind.IMAGE, "trustedbuilder", None)
    assert identity.delivery_id == "svendowideit/testhook:latest@1417566161"


def test_a_recorded_package_without_a_tag_starts_nothing() -> None:
    body = orjson.loads((RECORDED / "ghcr" / "package_published.json").read_bytes())
    provider = PROVIDERS["github"]
    identity = provider.identify(Headers([(b"x-github-event", b"package")]), body)

    (facts,) = provider.normalize(identity, body)

    digest = "sha256:3da1996a8115d7616457760d9920b815241d0a03b34cf5f04e9a0e9d8de37498"
    assert identity.provider == "ghcr"
    assert facts["image"] == Image(registry="ghcr.io", name="codertocat/hello-world", digest=digest)
    assert facts["ignored"] == UNTAGGED
    assert facts["repository"] is not None
    assert facts["repository"].key == "github.com/codertocat/hello-world-npm"
