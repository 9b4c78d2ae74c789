"""
CI jobs that show a token of their CI server: GitHub Actions and GitLab CI.

https://docs.github.com/en/actions/reference/security/oidc and https://docs.gitlab.com/ci/secrets/id_token_authentication/ have the claims. The
repository, the ref, the commit and the sender come from the token. Nobody signs the body: it may name the image that the job has pushed, and nothing
else in it is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from ingress.providers import fields, images
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Json, Provider, Request
from ingress.providers.push import of_ref
from ingress.providers.signing import Refused, Verdict, Verified, bearer_token
from shared.event import Kind, Repository

if TYPE_CHECKING:
    from ingress.oidc import Keys, Trust

NO_TRUST = "no hook trusts any issuer of tokens"
UNKNOWN_CLAIMS = "the token has neither GitHub's nor GitLab's claims"

_NUMBER = re.compile(r"[0-9]{1,18}")
_GITHUB_ISSUER = "token.actions.githubusercontent.com"
_GITHUB_PREFIX = "token.actions."
_GITHUB_SERVER_SUFFIX = "/_services/token"
# Jobs of these run for what is not merged yet, with the base branch's ref or the source branch's.
_FOR_REQUESTS = frozenset({"pull_request", "pull_request_target", "merge_request_event", "external_pull_request_event"})
_PREFIXES = {"branch": fields.BRANCH_PREFIX, "tag": fields.TAG_PREFIX}


class Oidc(Provider):
    """
    Sends to `/listener/oidc`.

    One without `trust` refuses everything. All that `trusting` has made share their keys with the one that it was asked of, so that refusing takes as
    long there.
    """

    prepares: ClassVar[bool] = True

    def __init__(self, keys: Keys | None = None, trust: Trust | None = None) -> None:
        self._keys = keys
        self._trust = trust

    def trusting(self, options: Mapping[str, Any]) -> Oidc:
        """The provider of a hook with these options; raises ValueError when they are wrong."""
        from ingress.oidc import Keys, Trust  # with what checks signatures, which only such hooks need

        trust = Trust.model_validate(options)
        keys = self._keys or Keys()
        keys.add(trust.issuer)
        self._keys = keys
        return Oidc(keys, trust)

    async def prepare(self, request: Request) -> None:
        if self._keys is None:
            return
        from ingress.oidc import Token

        token = Token.parse(_presented(request.headers))
        if isinstance(token, Token):
            await self._keys.load(token.issuer, token.kid)

    def verify(self, request: Request, secrets: Sequence[bytes]) -> Verdict:
        if self._keys is None:
            return Refused(NO_TRUST)
        from ingress.oidc import check

        keys = {} if self._trust is None else self._keys.of(self._trust.issuer)
        found = check(_presented(request.headers), keys, self._trust, request.at)
        return found if isinstance(found, Refused) else Verified(0)

    def parse(self, request: Request) -> object:
        """The verified claims and the body, which may be empty; raises ValueError when it is not JSON."""
        from ingress.oidc import Token

        token = Token.parse(_presented(request.headers))
        claims = {} if isinstance(token, Refused) else token.claims
        return {"claims": claims, "body": super().parse(request) if request.body.raw else {}}

    def identify(self, headers: Headers, document: Json) -> Identity:
        claims = fields.mapping(document.get("claims"))
        return Identity("oidc", _happened(claims), fields.text(claims.get("jti")))

    def normalize(self, identity: Identity, document: Json) -> tuple[Facts, ...]:
        claims, body = fields.mapping(document.get("claims")), fields.mapping(document.get("body"))
        read = next((read for name, read in _READERS.items() if name in claims), _unknown)
        facts = read(claims)
        if body.get("image") is not None:
            facts = _of_image(facts, body["image"])
        if _is_for_request(claims):
            facts["kind"] = Kind.CUSTOM
        return (facts,)


def _presented(headers: Headers) -> bytes | None:
    return bearer_token(headers.only(b"authorization"))


def _happened(claims: Json) -> str | None:
    return fields.text(claims.get("event_name")) or fields.text(claims.get("pipeline_source"))


def _is_for_request(claims: Json) -> bool:
    return _happened(claims) in _FOR_REQUESTS


def _github(claims: Json) -> Facts:
    return _job(
        None if _is_for_request(claims) else fields.ref(claims.get("ref")),
        repository=_repository(_github_server(_issuer(claims)), claims.get("repository"), claims.get("repository_id")),
        sender=fields.name(claims.get("actor")),
        commit=fields.sha(claims.get("sha")),
        message=_message(claims.get("run_id"), claims.get("environment")),
    )


def _gitlab(claims: Json) -> Facts:
    name, prefix = claims.get("ref"), _PREFIXES.get(fields.text(claims.get("ref_type")) or "")
    ref = fields.ref(prefix + name) if prefix and isinstance(name, str) else None
    return _job(
        None if _is_for_request(claims) else ref,
        repository=_repository(_issuer(claims), claims.get("project_path"), claims.get("project_id")),
        sender=fields.name(claims.get("user_login")),
        commit=fields.sha(claims.get("sha")),
        message=_message(claims.get("pipeline_id"), claims.get("environment")),
    )


def _job(
    ref: str | None, *, repository: Repository | None, sender: str | None, commit: str | None, message: str | None
) -> Facts:
    facts: Facts = {"kind": Kind.CUSTOM} if ref is None else of_ref(ref, deleted=False)
    if facts["kind"] in (Kind.PUSH, Kind.TAG):
        facts["kind"] = Kind.CI
    facts |= {"repository": repository, "sender": sender, "commit": commit, "message": message}
    return facts


def _unknown(claims: Json) -> Facts:
    return {"kind": Kind.CUSTOM, "ignored": UNKNOWN_CLAIMS}


def _of_image(facts: Facts, reference: object) -> Facts:
    """The job has pushed an image. A tag of the repository is left out, where it could be taken for the image's."""
    reason = facts.get("ignored")
    told = images.pushed(images.from_text(reference), sender=facts.get("sender"), repository=facts.get("repository"))
    facts |= told
    facts["ignored"] = reason or told["ignored"]
    if facts.get("tag") is not None:
        facts |= {"ref": None, "tag": None}
    return facts


def _repository(server: str, name: object, provider_id: object) -> Repository | None:
    named = fields.text(name)
    number = int(provider_id) if isinstance(provider_id, str) and _NUMBER.fullmatch(provider_id) else provider_id
    return fields.repository(named, (f"{server}/{named}.git",), provider_id=number, default_branch=None)


def _issuer(claims: Json) -> str:
    return (fields.text(claims.get("iss")) or "").rstrip("/")


def _github_server(issuer: str) -> str:
    """The server of the issuer: github.com, a subdomain of ghe.com, or a GitHub Enterprise Server."""
    parts = urlsplit(issuer)
    if parts.hostname == _GITHUB_ISSUER:
        return "https://github.com"
    return f"{parts.scheme}://{parts.netloc.removeprefix(_GITHUB_PREFIX)}{_above(parts.path)}"


def _above(path: str) -> str:
    return path.removesuffix(_GITHUB_SERVER_SUFFIX) if path.endswith(_GITHUB_SERVER_SUFFIX) else ""


def _message(run: object, environment: object) -> str | None:
    """The run and the environment, for which an event has no fields of their own."""
    said = {"run": fields.text(str(run)) if run is not None else None, "environment": fields.text(environment)}
    return fields.first_line(", ".join(f"{what} {value}" for what, value in said.items() if value))


_READERS: Mapping[str, Callable[[Json], Facts]] = {"repository": _github, "project_path": _gitlab}
