"""
Sealing: what the store holds of a secret, so that its backup alone opens nothing.

AES-256-GCM with a key that HKDF makes of KGW_SECRET_KEY. What is sealed says in clear what it is for, and is opened for nothing else: a row that is
copied over another one does not become its secret. https://nvlpubs.nist.gov/nistpubs/Legacy/SP/nistspecialpublication800-38d.pdf
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from os import urandom

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import Permanent

_VERSION = "v1."
_NONCE_BYTES = 12
_KEY_BYTES = 32


class Unsealable(Permanent):
    """It was sealed with another KGW_SECRET_KEY, for something else, or is damaged."""


class Sealing:
    """Seals and unseals with one secret key, of 32 random characters or more: it is hashed, not stretched."""

    def __init__(self, secret_key: str) -> None:
        derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"komodo-global-webhook sealing").derive
        self._cipher = AESGCM(derived(secret_key.encode()))

    def seal(self, plain: bytes, *, purpose: str) -> str:
        """Text that `unseal` opens for the same purpose; never twice the same."""
        nonce = urandom(_NONCE_BYTES)
        return _VERSION + b64encode(nonce + self._cipher.encrypt(nonce, plain, purpose.encode())).decode()

    def unseal(self, sealed: str, *, purpose: str) -> bytes:
        """What was sealed; raises `Unsealable`."""
        if not sealed.startswith(_VERSION):
            raise Unsealable
        try:
            raw = b64decode(sealed.removeprefix(_VERSION), validate=True)
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError):
            # Without the cause: nobody but the one who has the key is to learn which of them it was.
            raise Unsealable from None
