"""
The ways in which senders prove that they know a hook's secret.

Everything is compared as bytes of equal length in constant time, against every secret, whether or not something is missing or one of
them has already matched: how long a refusal takes tells nothing. The algorithm is fixed here, never chosen by the request.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import Error, unhexlify
from collections.abc import Sequence
from dataclasses import dataclass

_DIGEST_SIZE = 32
_NO_DIGEST = bytes(_DIGEST_SIZE)


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
    digest = _from_hex(signature)
    matches = [
        hmac.compare_digest(hmac.digest(secret, message or b"", "sha256"), digest or _NO_DIGEST) and secret != b""
        for secret in secrets or (b"",)
    ]
    if message is None or digest is None:
        return Refused("the signature is missing or malformed")
    return _verdict(matches)


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


def _verdict(matches: list[bool]) -> Verdict:
    return Verified(matches.index(True)) if True in matches else Refused("it was not made with this hook's secret")


def _from_hex(signature: bytes | None) -> bytes | None:
    if signature is None or len(signature) != 2 * _DIGEST_SIZE:
        return None
    try:
        return unhexlify(signature)
    except (Error, ValueError):
        return None
