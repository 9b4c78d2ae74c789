"""What a provider's module has to offer, and the words it answers in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Required, TypedDict

from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.signing import Verdict
from shared.event import Commit, Kind, Repository

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Who says to have sent the request, which event, and under which delivery id.

    None of it is signed: it chooses how the body is read, never whether it is believed.
    """

    provider: str
    source_event: str | None
    delivery_id: str | None


class Facts(TypedDict, total=False):
    """What one event says, in the fields of `WebhookEvent`; what is left out, the provider does not say."""

    kind: Required[Kind]
    repository: Repository | None
    ref: str | None
    branch: str | None
    tag: str | None
    before: str | None
    after: str | None
    commit: str | None
    commits: tuple[Commit, ...]
    changed_paths: tuple[str, ...] | None
    changed_paths_complete: bool | None
    forced: bool | None
    created: bool | None
    deleted: bool
    ignored: str | None
    sender: str | None
    message: str | None


class Provider(Protocol):
    """One sender, pure: headers and bytes in, values out; nothing here raises, whatever was sent."""

    takes_forms: bool

    def identify(self, headers: Headers) -> Identity:
        """Read who says to have sent it."""

    def verify(self, headers: Headers, body: Body, secrets: Sequence[bytes]) -> Verdict:
        """Check that the sender knows one of the secrets."""

    def normalize(self, identity: Identity, body: Json) -> tuple[Facts, ...]:
        """Read the events of one delivery, at least one."""
