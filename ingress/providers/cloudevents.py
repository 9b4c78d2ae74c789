"""
CloudEvents over HTTP: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md.

In binary mode the attributes are headers and the body is the data; in structured mode the body is the event, in batch mode a list of them.
All three become one document, so that what reads them knows of one. The sender proves itself by a bearer token; nothing signs the body, so
only HTTPS keeps it whole.

Which types are known: `harbor.artifact.pushed` (Harbor's `src/pkg/notifier`), and `com.amazon.ecr.image.push`, as an EventBridge rule makes
it of ECR's event. There is no type for a push to git: data with a `ref` is read as one that was written by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from urllib.parse import unquote

import orjson

from ingress.providers import fields, generic, images
from ingress.providers.harbor import Harbor
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.signing import Verdict, bearer_token, check_token
from shared.event import Kind

MAX_EVENTS = 1_000

BATCH = "batch"
NO_EVENT = "the body is no CloudEvent of version 1"
NO_EVENTS = "the batch is empty"
TOO_MANY_EVENTS = f"the delivery has more than {MAX_EVENTS} events"

_ATTRIBUTES = ("specversion", "type", "source", "id", "time", "subject")
_STRUCTURED = b"application/cloudevents"
_MAX_ID = 200
_ECR = re.compile(r"(?:urn|arn):(?P<partition>aws(?:-cn)?):ecr:(?P<region>[a-z0-9-]{1,30}):(?P<account>[0-9]{12}):.*")
_ECR_DOMAINS = {"aws": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}


class CloudEvents(Provider):
    """Sends to `/listener/cloudevents`."""

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return check_token(bearer_token(request.headers.only(b"authorization")), secrets)

    def parse(self, request: Request) -> object:
        """One event or `{"batch": [...]}`, whatever the mode; raises ValueError."""
        raw = request.body.raw
        if _is_binary(request.headers):
            return _attributes(request.headers) | {"data": orjson.loads(raw) if raw else None}
        document = orjson.loads(raw)
        return {BATCH: document} if isinstance(document, list) else document

    def identify(self, headers: Headers, document: Json) -> Identity:
        if not document and _is_binary(headers):
            document = _attributes(headers)
        events = _events(document)
        types = {_type(event) for event in events}
        # Events of one delivery have one name; where they are of several types, it is that of the envelope.
        name = types.pop() if len(types) == 1 else BATCH if types else None
        return Identity("cloudevents", name, _delivery_id(events))

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        listed = _listed(document)
        if not listed or len(listed) > MAX_EVENTS:
            return ({"kind": Kind.CUSTOM, "ignored": TOO_MANY_EVENTS if listed else NO_EVENTS},)
        facts = tuple(islice((found for event in listed for found in _read(fields.mapping(event))), MAX_EVENTS + 1))
        return facts if len(facts) <= MAX_EVENTS else ({"kind": Kind.CUSTOM, "ignored": TOO_MANY_EVENTS},)


def _is_binary(headers: Headers) -> bool:
    media = (headers.only(b"content-type") or b"").strip().lower()
    return b"ce-specversion" in headers and not media.startswith(_STRUCTURED)


def _attributes(headers: Headers) -> Json:
    """The attributes of binary mode. Their values are percent-encoded, and may stand in quotes."""
    found = {name: headers.text(b"ce-" + name.encode()) for name in _ATTRIBUTES}
    return {name: _decoded(value) for name, value in found.items() if value is not None}


def _decoded(value: str) -> str:
    is_quoted = len(value) >= 2 and value[0] == value[-1] == '"'
    return unquote(value[1:-1] if is_quoted else value)


def _listed(document: Json) -> list[object]:
    if BATCH not in document or "specversion" in document:
        return [document]
    return fields.items(document[BATCH]) or []


def _events(document: Json) -> list[Json]:
    """What can be identified: nothing of a batch that is not read."""
    listed = _listed(document) if document else []
    return [fields.mapping(event) for event in listed] if len(listed) <= MAX_EVENTS else []


def _type(event: Json) -> str | None:
    return fields.text(event.get("type"))


def _delivery_id(events: list[Json]) -> str | None:
    """
    What tells this delivery from others: source and id together are what an event has alone.

    Those of a batch, and long ones, are told by their digest. Where one event says neither, nothing tells.
    """
    names = [_name(event) for event in events]
    known = [name for name in names if name is not None]
    if not known or len(known) < len(names):
        return None
    if len(known) == 1 and len(known[0]) <= _MAX_ID and known[0].isprintable():
        return known[0]
    return "sha256:" + hashlib.sha256(orjson.dumps(known)).hexdigest()


def _name(event: Json) -> str | None:
    source, identifier = event.get("source"), event.get("id")
    if not isinstance(source, str) or not isinstance(identifier, str) or not source or not identifier:
        return None
    # A URI reference has no blanks (https://www.rfc-editor.org/rfc/rfc3986), so the first one ends it.
    return None if " " in source or not _is_utf8(source + identifier) else f"{source} {identifier}"


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _read(event: Json) -> tuple[Facts, ...]:
    name, version = _type(event), event.get("specversion")
    if name is None or not isinstance(version, str) or not version.startswith("1."):
        return ({"kind": Kind.CUSTOM, "ignored": NO_EVENT},)
    return _READERS.get(name, _by_hand)(name, event)


def _by_hand(name: str, event: Json) -> tuple[Facts, ...]:
    return (generic.by_hand(fields.mapping(event.get("data"))),)


def _harbor(name: str, event: Json) -> tuple[Facts, ...]:
    return _HARBOR.normalize(Identity("harbor", name, None), event)


def _ecr(name: str, event: Json) -> tuple[Facts, ...]:
    """The host is made of the account and the region, which only the source names."""
    data, source = fields.mapping(event.get("data")), _ECR.fullmatch(fields.text(event.get("source")) or "")
    if source is None:
        return (images.pushed(None),)
    host = f"{source['account']}.dkr.ecr.{source['region']}.{_ECR_DOMAINS[source['partition']]}"
    return (
        images.pushed(images.image(host, data.get("repositoryName"), data.get("imageTag"), data.get("imageDigest"))),
    )


_HARBOR = Harbor()
_READERS: Mapping[str, Callable[[str, Json], tuple[Facts, ...]]] = {
    "harbor.artifact.pushed": _harbor,
    "harbor.artifact.deleted": _harbor,
    "com.amazon.ecr.image.push": _ecr,
}
