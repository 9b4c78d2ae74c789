"""
Tokens of CI jobs: what a CI server signs about each of its jobs, so that the job needs no secret of ours.

`check` is pure, and nothing in a token chooses how it is checked: the two algorithms, the issuer and its keys are ours. `Keys` fetches what issuers
sign with, before `check` and apart from it. Sources: https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation,
https://openid.net/specs/openid-connect-discovery-1_0.html, https://www.rfc-editor.org/rfc/rfc7515 and https://www.rfc-editor.org/rfc/rfc8725.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import secrets as random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeGuard
from urllib.parse import SplitResult, urlsplit

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import AfterValidator, Field, model_validator

from ingress.providers.signing import Refused
from shared import logs
from shared.errors import Transient
from shared.event import Frozen
from shared.imports import hidden
from shared.matching.patterns import PatternList

if TYPE_CHECKING:
    import httpx

log = logs.get_logger()

Json = dict[str, Any]

LEEWAY_SECONDS = 60.0
# How long one fetch may take, after which time keys are looked at again though none is missing, and how soon after one try the next may come: for a
# key that is missing, and while there are none at all.
FETCH_SECONDS = 5.0
FRESH_SECONDS = 3600.0
REFRESH_SECONDS = 60.0
RETRY_SECONDS = 10.0
MAX_TOKEN = 8 * 1024
MAX_ANSWER = 256 * 1024
MAX_KEYS = 50

_MAX_ID = 200
_MAX_CLAIM = 1_000
_MAX_INSTANT = 10**11
_RSA_BITS = range(2048, 8193)
_OK = 200

_ALGORITHMS: Mapping[str, Any] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
}
_BY_KEY_TYPE: Mapping[object, str] = {"RSA": "RS256", "EC": "ES256"}
_PUBLIC_PARTS = ("kty", "n", "e", "crv", "x", "y")

# The claims that say whose job it is; everybody can get a token of GitHub for everything else.
OWNING_CLAIMS = (
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "project_path",
    "project_id",
    "namespace_path",
    "namespace_id",
)
# No wildcard before the first slash: `acme*` is also `acme-of-somebody-else/app`.
_OWNED = re.compile(r"[^*?\\/]+/.*|[^*?\\]+|\\\^[\w-]+/.*\\", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of an issuer, and the one algorithm that it is for."""

    algorithm: str
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey

    @classmethod
    def from_jwk(cls, jwk: object) -> Key | None:
        """Read one key of a key set (https://www.rfc-editor.org/rfc/rfc7517); None when it is not for signatures that are taken here."""
        if not isinstance(jwk, dict) or not all(isinstance(jwk.get(part, ""), str) for part in _PUBLIC_PARTS):
            return None
        algorithm = _BY_KEY_TYPE.get(jwk.get("kty"))
        if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
            return None
        parts = {part: jwk[part] for part in _PUBLIC_PARTS if part in jwk}
        try:
            public = jwt.PyJWK(parts, algorithm=algorithm).key
        except (jwt.PyJWTError, ValueError):
            return None
        return cls(algorithm, public) if _is_strong(public) else None

    def has_signed(self, token: Token) -> bool:
        """Whether the token's signature was made with this key."""
        return bool(_ALGORITHMS[self.algorithm].verify(token.signed, self.public, token.signature))


def _is_strong(public: object) -> bool:
    if isinstance(public, rsa.RSAPublicKey):
        return public.key_size in _RSA_BITS
    return isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)


# Keys that nobody has the other half of: a token that no key is known for costs as much as one that is signed.
_DECOYS: Mapping[str, Key] = {
    "RS256": Key("RS256", rsa.RSAPublicNumbers(65537, random.randbits(2048) | 1 << 2047 | 1).public_key()),
    "ES256": Key("ES256", ec.generate_private_key(ec.SECP256R1()).public_key()),
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is written, of which nothing is believed yet."""

    algorithm: str
    kid: str
    claims: Json = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes | None) -> Token | Refused:
        """Read the compact form, in its one way to be written, with one of the two algorithms and the name of a key."""
        parts = (raw or b"").split(b".") if len(raw or b"") <= MAX_TOKEN else []
        if len(parts) != 3:
            return Refused("the token is missing, too long or malformed")
        header, claims, signature = _object(parts[0]), _object(parts[1]), _decoded(parts[2])
        if header is None or claims is None or signature is None:
            return Refused("the token is missing, too long or malformed")
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
            return Refused(f"the token is not signed with one of {', '.join(_ALGORITHMS)}")
        if not _is_identifier(kid) or "crit" in header or "b64" in header:
            return Refused("the token names no key, or asks for something that is not understood")
        return cls(algorithm, kid, claims, parts[0] + b"." + parts[1], signature)

    @property
    def issuer(self) -> str:
        """Who it says has signed it; empty when it does not say so in text."""
        found = self.claims.get("iss")
        return found if isinstance(found, str) else ""


def _decoded(segment: bytes) -> bytes | None:
    try:
        decoded = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except ValueError:
        return None
    # Base64 has bits that mean nothing: one token must not have several spellings.
    return decoded if urlsafe_b64encode(decoded).rstrip(b"=") == segment else None


def _object(segment: bytes) -> Json | None:
    decoded = _decoded(segment)
    if decoded is None:
        return None
    try:
        found = orjson.loads(decoded)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_identifier(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID and value.isascii() and value.isprintable()


def _require_issuer(value: str) -> str:
    parts = _split(value)
    if parts is None or parts.query or parts.fragment or "@" in parts.netloc or not value.isprintable():
        raise ValueError("an issuer is a URL of a host and a path, as the token writes it")
    if parts.scheme != "https" and not _is_loopback_http(parts):
        raise ValueError("an issuer is reached by https")
    return value


def _split(url: str) -> SplitResult | None:
    """The parts of a URL that has a host and a valid port; None for anything else."""
    try:
        parts = urlsplit(url)
        return parts if parts.hostname and _port(parts) else None
    except ValueError:
        return None


def _port(parts: SplitResult) -> int | None:
    return parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _is_loopback_http(parts: SplitResult) -> bool:
    if parts.scheme != "http":
        return False
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _require_entries(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if not (PatternList.parse(value).entries if isinstance(value, str) else value):
        raise ValueError("an empty list is never met")
    return value


Text = Annotated[str, Field(min_length=1, max_length=_MAX_CLAIM)]
Condition = Annotated[str | Annotated[tuple[Text, ...], Field(max_length=100)], AfterValidator(_require_entries)]


class Trust(Frozen):
    """
    Whose jobs a hook believes: the issuer and the audience exactly as the token has them, and what its claims have to say.

    A condition is one of Komodo's pattern lists, or several texts of which the claim has to be one, compared as they are. All conditions have to be
    met, and one of them has to say whose jobs these are: an issuer like GitHub's signs for everybody.
    """

    issuer: Annotated[str, Field(max_length=500), AfterValidator(_require_issuer)]
    audience: Annotated[str, Field(min_length=1, max_length=500)]
    claims: Annotated[dict[Annotated[str, Field(min_length=1, max_length=100)], Condition], Field(max_length=20)]

    @model_validator(mode="after")
    def _says_whose_jobs(self) -> Self:
        if not any(_is_owned(self.claims[name]) for name in OWNING_CLAIMS if name in self.claims):
            raise ValueError(
                f"claims has to say whose jobs count, by one of {', '.join(OWNING_CLAIMS)}, without a wildcard before the first /"
            )
        return self

    def objection(self, claims: Json) -> str | None:
        """Why a rightly signed token is not enough; None when it is."""
        audiences = claims.get("aud")
        if self.audience not in (audiences if isinstance(audiences, list) else (audiences,)):
            return "the token is meant for another audience"
        for name, condition in self.claims.items():
            said = _text(claims.get(name))
            if said is None or not _is_met(condition, said):
                return f"this hook does not trust what the token's claim {name} says"
        return None


def _is_owned(condition: str | tuple[str, ...]) -> bool:
    if not isinstance(condition, str):
        return True
    including = [entry.pattern for entry in PatternList.parse(condition).entries if not entry.excludes]
    return bool(including) and all(_OWNED.fullmatch(pattern) for pattern in including)


def _is_met(condition: str | tuple[str, ...], said: str) -> bool:
    return PatternList.parse(condition).matches(said) if isinstance(condition, str) else said in condition


def _text(value: object) -> str | None:
    """A claim as text. GitHub and GitLab send most numbers and flags as text; what is a number or a flag looks the same."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, int) else value
    return text if isinstance(text, str) and len(text) <= _MAX_CLAIM else None


def check(raw: bytes | None, keys: Mapping[str, Key], trust: Trust | None, now: datetime) -> Json | Refused:
    """
    The claims of a token that `trust` is right to believe at `now`, or why it is not; `keys` are those of the trusted issuer.

    Never raises. The signature is checked whatever else is wrong, also for a hook that trusts nobody: how long a refusal takes tells nothing.
    """
    token = Token.parse(raw)
    if isinstance(token, Refused):
        return token
    key = keys.get(token.kid)
    fits = key is not None and key.algorithm == token.algorithm
    is_signed = (key if key is not None and fits else _DECOYS[token.algorithm]).has_signed(token) and fits
    if trust is None:
        return Refused("this hook trusts no issuer of tokens")
    if token.issuer != trust.issuer:
        return Refused("the token is of another issuer than the one that this hook trusts")
    if not is_signed:
        return Refused(
            "the signature is wrong" if fits else "the issuer has no such key, or its keys could not be fetched"
        )
    objection = _untimely(token.claims, now.timestamp()) or trust.objection(token.claims)
    if objection is None and not _is_identifier(token.claims.get("jti")):
        objection = "the token has no id, so that a second use could not be told"
    return token.claims if objection is None else Refused(objection)


def _untimely(claims: Json, now: float) -> str | None:
    end, made = _instant(claims.get("exp")), _instant(claims.get("iat"))
    start = _instant(claims["nbf"]) if "nbf" in claims else made
    if end is None or made is None or start is None:
        return "the token does not say from when to when it counts"
    if now >= end + LEEWAY_SECONDS:
        return "the token has expired"
    if max(start, made) > now + LEEWAY_SECONDS:
        return "the token does not count yet, or a clock is wrong"
    return None


def _instant(value: object) -> float | None:
    """Seconds since 1970, as https://www.rfc-editor.org/rfc/rfc7519#section-2 writes an instant."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MAX_INSTANT else None


@dataclass(slots=True)
class _Issuer:
    """What is known of one issuer's keys; instants are the clock's seconds."""

    keys: Mapping[str, Key] = field(default_factory=dict)
    fetched_at: float = -inf
    tried_at: float = -inf
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_due(self, kid: str, now: float) -> bool:
        pause = REFRESH_SECONDS if self.keys else RETRY_SECONDS
        return now - self.tried_at >= pause and (kid not in self.keys or now - self.fetched_at >= FRESH_SECONDS)


class Keys:
    """
    The keys of the issuers that hooks trust, in memory. While an issuer is away, its keys stay as they are.

    `http_on_loopback` lets an issuer on this machine be asked without TLS. `clock` gives seconds that only go forward.
    """

    def __init__(self, *, http_on_loopback: bool = False, clock: Callable[[], float] = monotonic) -> None:
        self._http_on_loopback = http_on_loopback
        self._clock = clock
        self._issuers: dict[str, _Issuer] = {}

    def add(self, issuer: str) -> None:
        """Know this issuer from here on; raises ValueError when it would be asked without TLS and must not be."""
        if not issuer.startswith("https://") and not self._http_on_loopback:
            raise ValueError("an issuer is reached by https")
        self._issuers.setdefault(issuer, _Issuer())

    def of(self, issuer: str) -> Mapping[str, Key]:
        """The issuer's keys by their names, as far as they are known."""
        known = self._issuers.get(issuer)
        return {} if known is None else known.keys

    async def load(self, issuer: str, kid: str) -> None:
        """
        Fetch the issuer's keys if this one is not among them, or if they are old; for whoever comes at the same time, once.

        Never raises for what is wrong with the issuer, takes about `FETCH_SECONDS` at most, and does nothing for an issuer that no hook trusts: what
        a token says never makes us ask a stranger.
        """
        known = self._issuers.get(issuer)
        if known is None:
            return
        # Who comes while a fetch is on its way waits for it only if what it brings is needed.
        if kid in known.keys if known.fetching.locked() else not known.is_due(kid, self._clock()):
            return
        async with known.fetching:
            if known.is_due(kid, self._clock()):
                known.tried_at = self._clock()
                await self._refresh(issuer, known)

    async def _refresh(self, issuer: str, known: _Issuer) -> None:
        try:
            known.keys = await fetch(issuer)
        except Transient as error:
            log.warning("oidc_keys_not_fetched", issuer=issuer, reason=error.reason, kept=len(known.keys))
            return
        known.fetched_at = self._clock()
        log.info("oidc_keys_fetched", issuer=issuer, keys=len(known.keys))


async def fetch(issuer: str) -> Mapping[str, Key]:
    """The keys that the issuer signs with now, at least one; raises `Transient` when they can not be had from itself alone."""
    try:
        async with asyncio.timeout(FETCH_SECONDS), await _client(issuer) as client:
            discovery = await _get(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            return read_keys(await _get(client, _key_set_url(discovery, issuer)))
    except TimeoutError as error:
        raise Transient(f"the issuer did not answer within {FETCH_SECONDS:.0f} seconds") from error


async def _client(issuer: str) -> httpx.AsyncClient:
    # The library and the certificates take a good part of a second to load: other senders must not wait for them.
    await asyncio.to_thread(_import_httpx)
    import httpx

    # Proxies and certificates of the environment are for what is outside.
    is_remote = issuer.startswith("https://")
    try:
        certificates = await asyncio.to_thread(httpx.create_ssl_context, trust_env=is_remote)
        return httpx.AsyncClient(
            verify=certificates,
            trust_env=is_remote,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - `fetch` bounds the whole
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
    except (OSError, ValueError) as error:
        raise Transient("the certificates or the proxy of the environment can not be used") from error


def _import_httpx() -> None:
    with hidden("httpx._main"):  # httpx's own command, which loads click, Pygments and rich
        importlib.import_module("httpx")


async def _get(client: httpx.AsyncClient, url: str) -> Json:
    import httpx

    received = bytearray()
    try:
        async with client.stream("GET", url) as response:
            if response.status_code != _OK:
                raise Transient(f"the issuer answered {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise Transient("the issuer's answer is compressed, which was not asked for")
            async for part in response.aiter_raw():
                received += part
                if len(received) > MAX_ANSWER:
                    raise Transient("the issuer's answer is too large")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Transient(f"the issuer can not be reached: {type(error).__name__}") from error
    try:
        found = orjson.loads(received)
    except ValueError:
        raise Transient("the issuer's answer is not JSON") from None
    if not isinstance(found, dict):
        raise Transient("the issuer's answer is not a JSON object")
    return found


def _key_set_url(discovery: Json, issuer: str) -> str:
    """Where the keys are, by what the issuer says of itself; raises `Transient` when that is on another host."""
    if discovery.get("issuer") != issuer:
        raise Transient("what is published at the issuer's address is of another issuer")
    url = discovery.get("jwks_uri")
    there, home = _split(url) if isinstance(url, str) else None, _split(issuer)
    if not isinstance(url, str) or there is None or home is None or _origin(there) != _origin(home):
        raise Transient("the issuer's keys are not on its own host")
    return url


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None, bool]:
    return parts.scheme, parts.hostname, _port(parts), "@" in parts.netloc


def read_keys(key_set: Json) -> Mapping[str, Key]:
    """The usable keys of a key set by their names, of two with one name the first; raises `Transient` when there is none."""
    listed = key_set.get("keys")
    found: dict[str, Key] = {}
    for jwk in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        key = Key.from_jwk(jwk)
        if key is not None and _is_identifier(jwk.get("kid")):
            found.setdefault(jwk["kid"], key)
    if not found:
        raise Transient("the issuer has no key that can be used")
    return found
