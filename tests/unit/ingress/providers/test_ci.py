"""CI is done: only a success of the project's own branch counts."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ingress.providers import PROVIDERS
from ingress.providers.headers import Headers
from shared.event import Kind
from tests.unit.ingress.providers.test_payloads import PAYLOADS

RUN = orjson.loads((PAYLOADS / "github" / "workflow_run.json").read_bytes())
PIPELINE = orjson.loads((PAYLOADS / "gitlab" / "pipeline.json").read_bytes())


def kind_of(auth: str, event: str, document: dict[str, Any]) -> Kind:
    provider = PROVIDERS[auth]
    identity = provider.identify(Headers([(f"x-{auth}-event".encode(), event.encode())]), document)
    (facts,) = provider.normalize(identity, document)
    return facts["kind"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, Kind.CI),
        ({"conclusion": "failure"}, Kind.CUSTOM),
        ({"conclusion": None}, Kind.CUSTOM),
        ({"head_branch": None}, Kind.CUSTOM),
        ({"event": "pull_request"}, Kind.CUSTOM),
        ({"event": "pull_request_target"}, Kind.CUSTOM),
        ({"head_repository": {"id": 1, "full_name": "eve/homelab"}}, Kind.CUSTOM),
        ({"head_repository": None}, Kind.CUSTOM),
    ],
)
def test_a_workflow_run_counts_when_it_is_green_and_ours(change: dict[str, Any], kind: Kind) -> None:
    document = RUN | {"workflow_run": RUN["workflow_run"] | change}

    assert kind_of("github", "workflow_run", document) is kind


def test_a_workflow_run_that_only_began_does_not_count() -> None:
    assert kind_of("github", "workflow_run", RUN | {"action": "requested"}) is Kind.CUSTOM


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, Kind.CI),
        ({"status": "failed"}, Kind.CUSTOM),
        ({"source": "merge_request_event"}, Kind.CUSTOM),
        ({"ref": "a..b"}, Kind.CUSTOM),
        ({"tag": True, "ref": "v1"}, Kind.CI),
    ],
)
def test_a_pipeline_counts_when_it_is_green_and_of_a_branch_or_tag(change: dict[str, Any], kind: Kind) -> None:
    document = PIPELINE | {"object_attributes": PIPELINE["object_attributes"] | change}

    assert kind_of("gitlab", "Pipeline Hook", document) is kind
