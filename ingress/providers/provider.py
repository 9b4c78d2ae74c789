"""What a provider's module has to offer, and the words it answers in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Required, TypedDict

import orjson

from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.signing import Verdict
from shared import clock
from shared.event import Commit, Image, Kind, Repository

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request as its provider sees it, come in at `at`.

    `token` is what its URL carries behind the hook's name, for senders that can neither sign nor send a header of their own.
    """

    headers: Headers
    body: Body
    token: bytes | None = None
    at: datetime = field(default_factory=clock.now)


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Who says to have sent the request, which event, and under which delivery id, the same when it sends it again.

    What comes from a header is not signed: it chooses how the body is read, never whether it is believed.
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
    image: Image | None
    sender: str | None
    message: str | None


class Provider(ABC):
    """
    One sender, pure: headers and bytes in, values out; nothing here raises, whatever was sent, but for `parse`.

    `takes_forms` when the JSON may come as the field `payload` of a form, `has_url_token` when the hook's secret is part of its URL,
    `prepares` when `verify` needs something that has to be fetched first.
    """

    takes_forms: ClassVar[bool] = False
    has_url_token: ClassVar[bool] = False
    prepares: ClassVar[bool] = False

    async def prepare(self, request: Request) -> None:  # noqa: B027 - most have nothing to fetch
        """Fetch what `verify` will need, in bounded time; never raises. Only asked of one that `prepares`."""

    @abstractmethod
    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        """Check that the sender knows one of the secrets; the first step, over bytes that nobody has looked at."""

    def parse(self, request: Request) -> object:
        """The JSON of an authentic request; raises ValueError when there is none. Only an object has events."""
        text = request.body.json_text()
        if text is None:
            raise ValueError("the form has not exactly one payload")
        return orjson.loads(text)

    @abstractmethod
    def identify(self, headers: Headers, document: Json) -> Identity:
        """Read who says to have sent it; `document` is empty while nothing is verified."""

    @abstractmethod
    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        """Read the events of one delivery, at least one."""
