"""
CI servers for the tests: they sign by their own few lines, and one of them serves its keys over HTTP on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.types import Receive, Scope, Send

from demo.processes import free_port
from shared.serving import serve
from tests.builders import NOON
from tests.unit.ingress.senders import SHA
from tests.waiting import until

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.example.com"
AUDIENCE = "https://kgw.example.com"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def github_claims(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """What GitHub says of a job for a push to main; None leaves a claim out."""
    claims = {
        "jti": "2f9b1c1e-0000-4000-8000-000000000001",
        "sub": "repo:Acme/Infra:environment:production",
        "aud": AUDIENCE,
        "ref": "refs/heads/main",
        "sha": SHA,
        "repository": "Acme/Infra",
        "repository_owner": "Acme",
        "repository_id": "74",
        "run_id": "30433642",
        "actor": "nora",
        "event_name": "push",
        "ref_type": "branch",
        "environment": "production",
        "iss": GITHUB,
        "nbf": int(at.timestamp()) - 300,
        "iat": int(at.timestamp()),
        "exp": int(at.timestamp()) + 300,
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def gitlab_claims(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """What GitLab says of a job of a push to main."""
    claims = {
        "jti": "2f9b1c1e-0000-4000-8000-000000000002",
        "sub": "project_path:acme/ops/infra:ref_type:branch:ref:main",
        "aud": AUDIENCE,
        "ref": "main",
        "ref_type": "branch",
        "ref_protected": "true",
        "sha": SHA,
        "project_path": "acme/ops/infra",
        "project_id": "22",
        "namespace_path": "acme/ops",
        "user_login": "nora",
        "user_email": "nora@example.com",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "runner_id": 1,
        "iss": GITLAB,
        "nbf": int(at.timestamp()) - 5,
        "iat": int(at.timestamp()),
        "exp": int(at.timestamp()) + 3600,
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def token(claims: object, key: Private = RSA_KEY, *, kid: str = "k1", **header: Any) -> bytes:
    """A token as it goes over the wire; `header` replaces what an honest one has."""
    honest = {"typ": "JWT", "alg": "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256", "kid": kid}
    signed = encoded(orjson.dumps(honest | header)) + b"." + encoded(orjson.dumps(claims))
    return signed + b"." + encoded(_signature(signed, key))


def _signature(signed: bytes, key: Private) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), SHA256())
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def jwk(key: Private, kid: object = "k1", **changes: Any) -> dict[str, Any]:
    """The key's public half as issuers publish it."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        parts = {"kty": "RSA", "alg": "RS256", "n": _number(numbers.n), "e": _number(numbers.e)}
    else:
        point = public.public_numbers()
        parts = {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
    return parts | {"kid": kid, "use": "sig"} | changes


def _number(value: int, size: int | None = None) -> str:
    return encoded(value.to_bytes(size or (value.bit_length() + 7) // 8, "big")).decode()


@dataclass
class Issuer:
    """
    A CI server's pages about its keys. What a page answers can be replaced, and everything can be made to wait for `gate`.
    """

    url: str
    keys: list[dict[str, Any]] = field(default_factory=lambda: [jwk(RSA_KEY)])
    discovery: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    filling: bytes = b""
    asked: Counter[str] = field(default_factory=Counter)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked[scope["path"]] += 1
        await self.gate.wait()
        page = self._page(scope["path"])
        status = 404 if page is None else self.status
        body = orjson.dumps(page) + self.filling
        await send({"type": "http.response.start", "status": status, "headers": self.headers})
        await send({"type": "http.response.body", "body": body})

    def _page(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"} | self.discovery
        return {"keys": self.keys} if path == "/jwks" else None

    @property
    def fetched(self) -> int:
        """How often somebody wanted the keys."""
        return self.asked["/.well-known/openid-configuration"]


@asynccontextmanager
async def an_issuer() -> AsyncIterator[Issuer]:
    """A CI server until the end of the block."""
    port, stop = free_port(), asyncio.Event()
    issuer = Issuer(f"http://127.0.0.1:{port}")

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async with asyncio.TaskGroup() as group:
        group.create_task(serve(issuer, "127.0.0.1", port, name="issuer", stop=stop), name="issuer")
        try:
            await until(listens)
            yield issuer
        finally:
            issuer.gate.set()
            stop.set()
