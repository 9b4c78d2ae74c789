"""
The ways in which senders prove that they know a hook's secret.

Everything is compared as bytes of equal length in constant time, against every secret, whether or not something is missing or one of
them has already matched: how long a refusal takes tells nothing. The algorithm is fixed here, never chosen by the request.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import Error, a2b_base64, b2a_base64, unhexlify
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Algorithm = Literal["sha256", "sha512", "sha1"]
Encoding = Literal["hex", "base64", "base64url"]

# What a secret begins with that is a key for Standard Webhooks, and how far a sender's clock may be off, in seconds.
SIGNING_PREFIX = b"whsec_"
TOLERANCE = 300.0

_NO_DIGESTS: Mapping[str, bytes] = {"sha256": bytes(32), "sha512": bytes(64), "sha1": bytes(20)}
_NO_DIGEST = _NO_DIGESTS["sha256"]
_KEY_SIZES = range(24, 65)
_VERSION = b"v1,"
_MAX_SIGNATURES = 32
_MAX_TIMESTAMP = 15


@dataclass(frozen=True, slots=True)
class Verified:
    """The sender knows the secret at this position (from 0) of the hook's list."""

    secret_index: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The sender does not know a secret; the reason is for the log, not for the sender."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tried:
    """The sender tries whether somebody is there, in a way that it can not sign. It is told yes, and nothing else happens."""


Verdict = Verified | Refused | Tried


def check_hmac_sha256(message: bytes | None, signature: bytes | None, secrets: Sequence[bytes]) -> Verdict:
    """
    Check a hex HMAC-SHA256 over `message`; either is None when the request has none that could be right.

    Hex digits may be in either case; blanks and other lengths are refused.
    """
    return _check_digest(message, _from_hex(signature, _NO_DIGEST), _NO_DIGEST, secrets, "sha256")


def check_hmac(
    message: bytes | None, signature: bytes | None, secrets: Sequence[bytes], algorithm: Algorithm, encoding: Encoding
) -> Verdict:
    """
    Check an HMAC in any of the usual algorithms and encodings.

    Base64 may come without its padding. It has to be written the one way in which an encoder writes it: there is one signature for one digest.
    """
    nothing = _NO_DIGESTS[algorithm]
    return _check_digest(message, _DECODERS[encoding](signature, nothing), nothing, secrets, algorithm)


def _check_digest(
    message: bytes | None, digest: bytes | None, nothing: bytes, secrets: Sequence[bytes], algorithm: Algorithm
) -> Verdict:
    signed, presented, matches = message or b"", digest or nothing, []
    for secret in secrets or (b"",):
        matches.append(hmac.compare_digest(hmac.digest(secret, signed, algorithm), presented) and secret != b"")
    if message is None or digest is None:
        return Refused("the signature is missing or malformed")
    return _verdict(matches)


@dataclass(frozen=True, slots=True)
class Stamped:
    """What Standard Webhooks signs, as it came, and the list of signatures over it; None where the request has none or two."""

    id: bytes | None
    timestamp: bytes | None
    signatures: bytes | None
    body: bytes


def check_standard(stamped: Stamped, secrets: Sequence[bytes], at: datetime) -> Verdict:
    """
    Check any `v1` signature of https://www.standardwebhooks.com over id, timestamp and body, come in at `at`.

    Other versions are passed over. A secret that is no signing key never matches, but costs the same. How far the timestamp is off is only said of
    what is rightly signed.
    """
    keys = [signing_key(secret) for secret in secrets or (b"",)]
    presented = _v1_signatures(stamped.signatures)
    signed = b"%b.%b.%b" % (stamped.id or b"", stamped.timestamp or b"", stamped.body)
    matches = [
        _is_among(b2a_base64(hmac.digest(key or b"", signed, "sha256"), newline=False), presented) and key is not None
        for key in keys
    ]
    # A dot in the id would make two readings of one signed text.
    if not stamped.id or b"." in stamped.id or not _is_timestamp(stamped.timestamp) or not presented:
        return Refused("the id, the timestamp or the signature is missing or malformed")
    if not any(keys):
        return Refused("the hook has no signing secret: whsec_ and 24 to 64 bytes in base64")
    if abs(at.timestamp() - int(stamped.timestamp or b"0")) > TOLERANCE and True in matches:
        return Refused("the timestamp is more than 5 minutes off: the delivery is an old one, or a clock is wrong")
    return _verdict(matches)


def is_signing_secret(secret: bytes) -> bool:
    """Whether a secret says of itself that it signs, and so is never sent."""
    return secret.startswith(SIGNING_PREFIX)


def signing_key(secret: bytes) -> bytes | None:
    """The key that the base64 behind `whsec_` holds, which may be left out; None when it holds none of 24 to 64 bytes."""
    try:
        key = a2b_base64(secret.removeprefix(SIGNING_PREFIX), strict_mode=True)
    except (Error, ValueError):
        return None
    return key if len(key) in _KEY_SIZES else None


def _v1_signatures(header: bytes | None) -> list[bytes]:
    entries = (header or b"").split(b" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
    return [entry.removeprefix(_VERSION) for entry in entries if entry.startswith(_VERSION)]


def _is_among(expected: bytes, presented: list[bytes]) -> bool:
    return True in [hmac.compare_digest(expected, signature) for signature in presented or (bytes(len(expected)),)]


def _is_timestamp(value: bytes | None) -> bool:
    return value is not None and value.isdigit() and len(value) <= _MAX_TIMESTAMP


def check_token(token: bytes | None, secrets: Sequence[bytes]) -> Verdict:
    """Check a secret that the sender sends in clear."""
    # Digests are compared because compare_digest returns early for different lengths.
    presented = hashlib.sha256(token or b"").digest()
    matches = [
        hmac.compare_digest(hashlib.sha256(secret).digest(), presented) and secret != b""
        for secret in secrets or (b"",)
    ]
    if not token:
        return Refused("the token is missing")
    return _verdict(matches)


def bearer_token(authorization: bytes | None) -> bytes | None:
    """What `Authorization: Bearer …` carries (https://www.rfc-editor.org/rfc/rfc6750#section-2.1); None for another scheme."""
    scheme, _, token = (authorization or b"").partition(b" ")
    return token.strip(b" ") or None if scheme.lower() == b"bearer" else None


def basic_credentials(authorization: bytes | None) -> tuple[bytes, bytes] | None:
    """User and password of `Authorization: Basic …` (https://www.rfc-editor.org/rfc/rfc7617); None when it holds none."""
    scheme, _, encoded = (authorization or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = a2b_base64(encoded.strip(b" "), strict_mode=True).partition(b":")
    except (Error, ValueError):
        return None
    return (user, password) if colon else None


def check_basic(credentials: bytes | None, secrets: Sequence[bytes]) -> Verdict:
    """Check an `Authorization` header with a user name, which may be any, and the secret as the password (https://www.rfc-editor.org/rfc/rfc7617)."""
    _, password = basic_credentials(credentials) or (b"", None)
    verdict = check_token(password, secrets)
    return Refused("the user name and password are missing or malformed") if password is None else verdict


def check_authorization(value: bytes | None, secrets: Sequence[bytes]) -> Verdict:
    """
    Check an `Authorization` header that the sender was told to send.

    It is the secret itself, or `Bearer` and the secret, or a user's name and the secret as the password (Basic).
    """
    _, password = basic_credentials(value) or (b"", None)
    whole, inner = check_token(value, secrets), check_token(bearer_token(value) or password, secrets)
    return inner if isinstance(inner, Verified) else whole


def _verdict(matches: list[bool]) -> Verdict:
    return Verified(matches.index(True)) if True in matches else Refused("it was not made with this hook's secret")


def _from_hex(signature: bytes | None, nothing: bytes) -> bytes | None:
    if signature is None or len(signature) != 2 * len(nothing):
        return None
    try:
        return unhexlify(signature)
    except (Error, ValueError):
        return None


def _from_base64(signature: bytes | None, nothing: bytes) -> bytes | None:
    if signature is None or len(signature) > 2 * len(nothing):
        return None
    bare = signature.rstrip(b"=")
    padded = bare + b"=" * (-len(bare) % 4)
    if signature not in (bare, padded):
        return None
    try:
        digest = a2b_base64(padded, strict_mode=True)
    except (Error, ValueError):
        return None
    return digest if len(digest) == len(nothing) and b2a_base64(digest, newline=False) == padded else None


def _from_base64url(signature: bytes | None, nothing: bytes) -> bytes | None:
    if signature is None or b"+" in signature or b"/" in signature:
        return None
    return _from_base64(signature.translate(_URL_SAFE), nothing)


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_DECODERS: Mapping[str, Callable[[bytes | None, bytes], bytes | None]] = {
    "hex": _from_hex,
    "base64": _from_base64,
    "base64url": _from_base64url,
}
