"""
A sender of one's own: how it proves itself and where in its JSON things stand is said by the hook's options.

What a pointer finds passes `ingress/providers/fields.py` like any provider's fields: a value has the right type and form, or it is not there.
There are defaults for everything, so that a script that signs `{"ref": "refs/heads/main"}` needs no options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from ingress.providers import fields, images
from ingress.providers.headers import MAX_HEADER_TEXT, Headers
from ingress.providers.pointer import Pointer
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import changed_paths, of_ref, push
from ingress.providers.signing import (
    Algorithm,
    Encoding,
    Verdict,
    basic_credentials,
    bearer_token,
    check_hmac,
    check_token,
)
from shared.event import Frozen, Image, Kind, Repository

MAX_ALTERNATIVES = 8
MAX_KINDS = 50

NO_TAG = "the release names no valid tag"
NO_BRANCH = "the merge names no valid branch"

_ID_BITS = 64

_T = TypeVar("_T")


def _as_tuple(value: object) -> object:
    """One alternative may be written alone, and none as null."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str | Pointer) else value


def _as_pointer(value: object) -> Pointer:
    if isinstance(value, Pointer):
        return value
    if not isinstance(value, str):
        raise ValueError("a JSON pointer is a string: /repository/url")  # noqa: TRY004 - pydantic reports ValueError
    return Pointer.from_text(value)


PointerText = Annotated[
    Pointer,
    PlainValidator(_as_pointer),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": "^(/.*)?$"}),
]
# Where a value may stand: the first that holds one of the right form counts. None at all: it is not read.
Pointers = Annotated[tuple[PointerText, ...], BeforeValidator(_as_tuple), Field(max_length=MAX_ALTERNATIVES)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
# Which header carries a value: the first that the request has counts.
HeaderNames = Annotated[
    tuple[HeaderName, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=MAX_ALTERNATIVES)
]


def _at(*texts: str) -> tuple[Pointer, ...]:
    return tuple(map(Pointer.from_text, texts))


class Header(Frozen):
    """A value that stands in a header, not in the body."""

    header: HeaderNames


class Hmac(Frozen):
    """
    The sender signs the body with the hook's secret.

    `prefix` stands before the signature, or is left out by the sender. The algorithm is what is said here, whatever the prefix says; SHA-1 needs
    `allow_sha1` as well.
    """

    way: Literal["hmac"] = "hmac"
    header: HeaderNames = ("X-Signature-256", "X-Signature")
    prefix: Annotated[str, Field(max_length=50, pattern=r"^[\x21-\x7e]*$")] = "sha256="
    encoding: Encoding = "hex"
    algorithm: Algorithm = "sha256"
    allow_sha1: bool = False

    @model_validator(mode="after")
    def _sha1_is_asked_for(self) -> Self:
        if self.algorithm == "sha1" and not self.allow_sha1:
            raise ValueError("sha1 is only for senders that know nothing better; allow_sha1 says that this is one")
        return self

    def check(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        """Whether the body was signed with one of the secrets."""
        value = _header(self.header, request.headers)
        signature = None if value is None else value.removeprefix(self.prefix.encode())
        return check_hmac(request.body.raw, signature, secrets, self.algorithm, self.encoding)


class Token(Frozen):
    """
    The sender sends the hook's secret itself: as a header's whole value (`plain`), behind `Bearer`, or as the password of `Basic`.

    `user` is who has to stand before that password; without it, anyone may.
    """

    way: Literal["token"] = "token"
    header: HeaderNames = ("Authorization",)
    scheme: Literal["plain", "bearer", "basic"] = "bearer"
    user: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^:]+$")] | None = None

    @model_validator(mode="after")
    def _only_basic_has_a_user(self) -> Self:
        if self.user is not None and self.scheme != "basic":
            raise ValueError("only the scheme basic has a user")
        return self

    def check(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        """Whether one of the secrets was sent."""
        return check_token(self._presented(_header(self.header, request.headers)), secrets)

    def _presented(self, value: bytes | None) -> bytes | None:
        if self.scheme == "plain":
            return value
        if self.scheme == "bearer":
            return bearer_token(value)
        user, password = basic_credentials(value) or (b"", b"")
        return password if self.user is None or user == self.user.encode() else None


class ImageParts(Frozen):
    """An image whose name is sent in pieces. `host` is the registry where the sender does not name it."""

    registry: Pointers = ()
    host: Annotated[str, Field(max_length=200)] | None = None
    name: Annotated[Pointers, Field(min_length=1)]
    tag: Pointers = ()
    digest: Pointers = ()


class GenericOptions(Frozen):
    """
    A hook's options: how its sender proves itself, and where its JSON has what.

    `kind` is the kind of all that it sends, or the kind by the text found at `event` (others are `custom`), or left out: what names an image is an
    image, what names a ref, branch or tag is a push. `image` points to a whole reference (`ghcr.io/acme/app:1.2`) or to its parts. `changed_paths`
    points to a list of paths, or of commits with the lists `added`, `modified` and `removed`. Each pointer may be several: the first that finds
    something valid counts.
    """

    verify: Annotated[Hmac | Token, Field(discriminator="way")] = Hmac()
    event: Header | Pointers = Header(header=("X-Event",))
    kind: Kind | Annotated[dict[str, Kind], Field(max_length=MAX_KINDS)] | None = None
    delivery_id: Header | Pointers = Header(header=("X-Delivery-Id", "Idempotency-Key"))
    repository_url: Pointers = _at(
        "/repository/clone_url", "/repository/ssh_url", "/repository/url", "/repository/html_url", "/repository"
    )
    repository_name: Pointers = _at("/repository/full_name", "/repository")
    default_branch: Pointers = _at("/repository/default_branch")
    ref: Pointers = _at("/ref")
    branch: Pointers = _at("/branch")
    tag: Pointers = _at("/tag")
    before: Pointers = _at("/before")
    after: Pointers = _at("/after")
    deleted: Pointers = _at("/deleted")
    commit: Pointers = _at("/commit", "/head_commit/id", "/sha")
    changed_paths: Pointers = _at("/changed_paths", "/commits")
    message: Pointers = _at("/message", "/head_commit/message")
    sender: Pointers = _at("/sender/login", "/sender/username", "/sender")
    image: ImageParts | Pointers = _at("/image")

    @model_validator(mode="after")
    def _nobody_pretends_to_be_a_person(self) -> Self:
        kinds = self.kind.values() if isinstance(self.kind, dict) else (self.kind,)
        if Kind.MANUAL in kinds:
            raise ValueError("manual is what a person starts in the console, not what a sender sends")
        return self

    @model_validator(mode="after")
    def _kinds_by_event_need_an_event(self) -> Self:
        if isinstance(self.kind, dict) and not self.event:
            raise ValueError("kind by event needs to know where the event stands")
        return self


class Generic(Provider):
    """Sends to `/listener/generic`."""

    def __init__(self, options: GenericOptions) -> None:
        self._options = options

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        return self._options.verify.check(request, secrets)

    def identify(self, headers: Headers, document: Json) -> Identity:
        options = self._options
        return Identity(
            "generic",
            _said(options.event, headers, document, fields.text),
            _said(options.delivery_id, headers, document, _identifier),
        )

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        kind = self._options.kind
        if isinstance(kind, dict):
            kind = kind.get(identity.source_event or "", Kind.CUSTOM)
        return (read(self._options, document, kind),)


def by_hand(document: Json) -> Facts:
    """A part of another sender's JSON, as people write it: what has a `ref` is a push, what has none is only about something."""
    return read(_DEFAULTS, document, Kind.PUSH if "ref" in document else Kind.CUSTOM)


def read(options: GenericOptions, document: Json, kind: Kind | None) -> Facts:
    """Read one event; without `kind`, what it names decides."""
    image = _image(options.image, document)
    ref = _ref(options, document)
    if kind is None:
        kind = Kind.CUSTOM if ref is None else Kind.PUSH
        kind = kind if image is None else Kind.IMAGE
    return _push(options, document, ref) if kind in (Kind.PUSH, Kind.TAG) else _other(options, document, kind, image)


def _push(options: GenericOptions, document: Json, ref: object) -> Facts:
    listed = _first(options.changed_paths, document, fields.items)
    body = {
        "ref": ref,
        "before": _first(options.before, document, _anything),
        "after": _first(options.after, document, _anything),
    }
    has_commits = bool(listed) and isinstance(listed, list) and isinstance(listed[0], dict)
    facts = push(
        body | {"commits": listed} if has_commits else body,
        repository=_repository(options, document),
        sender=_sender(options, document),
        listed_all=False,
        commit=_first(options.commit, document, fields.sha),
        deleted=_first(options.deleted, document, fields.flag),
    )
    if facts["kind"] is Kind.CUSTOM or facts["deleted"]:
        return facts
    facts["message"] = _first(options.message, document, fields.first_line) or facts.get("message")
    if listed is not None and not has_commits:
        paths, whole = changed_paths([{"added": listed}])
        # A sender that fills its list with nothing has not said that nothing changed.
        facts |= {"changed_paths": paths, "changed_paths_complete": bool(whole and paths and not facts["created"])}
    return facts


def _other(options: GenericOptions, document: Json, kind: Kind, image: Image | None) -> Facts:
    facts: Facts = {"kind": kind}
    # Where an image is named, a tag beside it is the image's.
    ref = fields.ref(_ref(options, document, has_tag=kind is not Kind.IMAGE))
    if ref is not None:
        is_gone = _first(options.deleted, document, fields.flag) or fields.is_zero_sha(
            _first(options.after, document, _anything)
        )
        facts |= of_ref(ref, deleted=bool(is_gone))
    facts |= {
        "kind": kind,
        "repository": _repository(options, document),
        "sender": _sender(options, document),
        "before": _first(options.before, document, fields.sha),
        "after": _first(options.after, document, fields.sha),
        "commit": _first(options.commit, document, fields.sha),
        "message": _first(options.message, document, fields.first_line),
        "image": image,
    }
    if image is not None and image.tag is None and kind is Kind.IMAGE:
        facts["ignored"] = images.UNTAGGED
    needed, reason = _NEEDED.get(kind, (None, None))
    if needed is not None and facts.get(needed) is None:
        facts |= {"kind": Kind.CUSTOM, "ignored": facts.get("ignored") or reason}
    return facts


_NEEDED: Mapping[Kind, tuple[str, str]] = {
    Kind.RELEASE: ("tag", NO_TAG),
    Kind.MERGE: ("branch", NO_BRANCH),
    Kind.IMAGE: ("image", images.NO_IMAGE),
}


def _ref(options: GenericOptions, document: Json, *, has_tag: bool = True) -> object:
    """The full ref, made of a branch or a tag where that is what is sent; one that is not valid stays as it is."""
    ref = _first(options.ref, document, fields.ref)
    if ref is not None:
        return ref
    if branch := _first(options.branch, document, fields.branch):
        return fields.BRANCH_PREFIX + branch
    if has_tag and (tag := _first(options.tag, document, fields.tag)):
        return fields.TAG_PREFIX + tag
    return _first(options.ref, document, _anything)


def _repository(options: GenericOptions, document: Json) -> Repository | None:
    urls = tuple(pointer.find(document) for pointer in options.repository_url)
    probe = fields.repository("?", urls, provider_id=None, default_branch=None)
    key = probe.key if probe else None
    name = _first(options.repository_name, document, _name) or (key and key.partition("/")[2])
    default = _first(options.default_branch, document, fields.branch)
    return fields.repository(name, urls, provider_id=None, default_branch=default)


def _name(value: object) -> str | None:
    found = fields.text(value)
    return None if found is None or ":" in found or "@" in found else found


def _sender(options: GenericOptions, document: Json) -> str | None:
    return _first(options.sender, document, fields.name)


def _image(at: ImageParts | tuple[Pointer, ...], document: Json) -> Image | None:
    if not isinstance(at, ImageParts):
        return _first(at, document, images.from_text)
    name, registry, tag, digest = (
        _first(pointers, document, fields.text) for pointers in (at.name, at.registry, at.tag, at.digest)
    )
    return images.image(registry or at.host or "", name, tag, digest)


def _said(
    where: Header | tuple[Pointer, ...], headers: Headers, document: Json, read: Callable[[object], str | None]
) -> str | None:
    if not isinstance(where, Header):
        return _first(where, document, read)
    return headers.text(_present(where.header, headers))


def _header(names: tuple[str, ...], headers: Headers) -> bytes | None:
    return headers.only(_present(names, headers))


def _present(names: tuple[str, ...], headers: Headers) -> bytes:
    known = [name.lower().encode() for name in names]
    return next((name for name in known if name in headers), known[0])


def _first(pointers: tuple[Pointer, ...], document: Json, read: Callable[[Any], _T | None]) -> _T | None:
    return next(
        (value for pointer in pointers if (value := read(pointer.find(document))) is not None),
        None,
    )


def _anything(value: object) -> object:
    return value


def _identifier(value: object) -> str | None:
    """An id as it is: a cut or cleaned one could be another's."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _ID_BITS:
        value = str(value)
    is_whole = isinstance(value, str) and 0 < len(value) <= MAX_HEADER_TEXT and value.isprintable()
    return value if isinstance(value, str) and is_whole else None


_DEFAULTS = GenericOptions()
