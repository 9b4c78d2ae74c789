"""
The one form in which every provider's delivery travels: what happened, to which repository, and nothing that was guessed.

What a provider does not say is `None`. No e-mail address and no signature is ever part of it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from uuid_utils import UUID, uuid5

_NAMESPACE = UUID("7f0c61f4-3a7e-5d0c-9d4c-6b6f6d6f646f")

MAX_PATHS = 10_000
MAX_TEXT = 1_000


class Frozen(BaseModel):
    """A value that is parsed once and never changes; keys it does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Kind(StrEnum):
    """What happened at the provider."""

    PUSH = "push"
    TAG = "tag"
    RELEASE = "release"
    MERGE = "merge"
    IMAGE = "image"
    CI = "ci"
    PING = "ping"
    MANUAL = "manual"
    CUSTOM = "custom"


class Repository(Frozen):
    """
    The repository that an event is about.

    `key` is `host/owner/name` in lower case, for matching only; `urls` are as the provider wrote them, without credentials.
    """

    key: str | None = None
    full_name: str
    urls: tuple[str, ...] = ()
    provider_id: str | None = None
    default_branch: str | None = None


class Image(Frozen):
    """A container image that was pushed."""

    registry: str
    name: str
    tag: str | None = None
    digest: str | None = None


class Commit(Frozen):
    """One commit of a push; `message` is its first line."""

    id: str
    message: str = ""
    author: str | None = None


class GlobalListener(Frozen):
    """
    `/listener/{auth}/global`: every procedure that listens.

    `filters` are those of the URL, as predicates of a target: they narrow every target further.
    """

    kind: Literal["global"] = "global"
    filters: dict[str, str] = Field(default_factory=dict)


class ProcedureListener(Frozen):
    """`/listener/{auth}/procedure/{name}/{branch}`: one procedure, ours or Komodo's; branch `__ANY__` takes all."""

    kind: Literal["procedure"] = "procedure"
    name: str
    branch: str


class StackListener(Frozen):
    """`/listener/{auth}/stack/{name}/{deploy|refresh}`: one stack, by Komodo's own branch rule."""

    kind: Literal["stack"] = "stack"
    name: str
    execution: Literal["deploy", "refresh"]


Listener = Annotated[GlobalListener | ProcedureListener | StackListener, Field(discriminator="kind")]

ANY_BRANCH = "__ANY__"


class WebhookEvent(Frozen):
    """
    One verified, normalized happening.

    `id` and `delivery_id` are the same for every redelivery; `receipt_id` is new for each HTTP request, so that a message that the
    broker delivers again can be told from a delivery that a person sent again. `changed_paths` is None when the provider sends no
    file lists; `changed_paths_complete` is None when nobody can tell. `after` is what the ref points to (for an annotated tag the
    tag object), `commit` the commit itself. `ignored` says why no procedure may start for it, whatever its trigger; None is
    the usual case. `body_sha256` is the hex digest of the request's body, the same for two deliveries of the same bytes. `source` says
    whether the provider told of it or we asked the provider.
    """

    schema_version: Literal[1] = 1
    id: str
    delivery_id: str
    receipt_id: str
    provider_delivery_id: str | None = None
    hook: str = "global"
    listener: Listener = GlobalListener()
    provider: str
    kind: Kind
    source: Literal["delivery", "catch-up"] = "delivery"
    source_event: str | None = None
    repository: Repository | None = None
    ref: str | None = None
    branch: str | None = None
    tag: str | None = None
    before: str | None = None
    after: str | None = None
    commit: str | None = None
    commits: tuple[Commit, ...] = ()
    changed_paths: tuple[str, ...] | None = None
    changed_paths_complete: bool | None = None
    forced: bool | None = None
    created: bool | None = None
    deleted: bool = False
    ignored: str | None = None
    image: Image | None = None
    sender: str | None = None
    message: str | None = None
    received_at: datetime
    body_sha256: str | None = None
    payload: Any = None

    @property
    def names_one_state(self) -> bool:
        """Whether it says which commit or which image it is about, so that the same words again mean the same thing again."""
        return self.after is not None or (self.image is not None and self.image.digest is not None)

    def says_the_same_as(self, other: WebhookEvent) -> bool:
        """Whether both are the same in everything that is not of their own delivery."""
        return self.model_copy(update=dict.fromkeys(_OF_ITS_DELIVERY)) == other.model_copy(
            update=dict.fromkeys(_OF_ITS_DELIVERY)
        )

    def to_bytes(self) -> bytes:
        """The event as it travels in a message."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_bytes(cls, raw: bytes) -> WebhookEvent:
        """Parse a message's body; raises `pydantic.ValidationError`."""
        return _ADAPTER.validate_json(raw)


_OF_ITS_DELIVERY = ("id", "delivery_id", "receipt_id", "provider_delivery_id", "received_at")
_ADAPTER: TypeAdapter[WebhookEvent] = TypeAdapter(WebhookEvent)


def delivery_id_for(hook: str, provider: str, provider_delivery_id: str) -> str:
    """The delivery's id, derived, so that the sender's retry gets the same status URL without any look-up."""
    return str(uuid5(_NAMESPACE, f"{hook}\n{provider}\n{provider_delivery_id}"))


def event_id_for(delivery_id: str, position: int) -> str:
    """The id of the event at `position` (from 0) in its delivery."""
    return str(uuid5(UUID(delivery_id), str(position)))
