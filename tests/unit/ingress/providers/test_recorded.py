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
from ingress.providers.provider import Facts, Request
from ingress.providers.signing import Refused, Verified
from shared.event import Kind

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

    (facts,) = provider.normalize(provider.identify(Headers([(f"x-{auth}-event".encode(), event.encode())]), {}), body)

    assert {key: facts.get(key) for key in expected} == expected
    if name != "ping":
        assert facts["repository"] is not None
        assert facts["repository"].key is not None
