"""
Hooks in memory: what a delivery to one address is received with.

An address without a hook has one that nobody knows the secrets of, and every hook has as many secrets as the one with the most: refusing costs the
same everywhere, so that the time does not tell which hooks exist.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ingress.providers import PROVIDERS, Provider
from ingress.providers.generic import Generic, GenericOptions
from ingress.providers.oidc import Oidc
from ingress.providers.provider import Facts
from shared import logs
from shared.errors import Misconfigured
from shared.hook import GLOBAL, SealedHook, new_secret, purpose_of

if TYPE_CHECKING:
    from ingress.allowed import Allowed
    from shared.sealing import Sealing

log = logs.get_logger()

# Whose secrets are keys to sign with, always.
SIGNING = frozenset({"standard"})

_DECOY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that counts until `expires_at`; from then on `decoy` stands in its place, so that the later ones keep their position."""

    value: bytes = field(repr=False)
    expires_at: datetime | None = None
    decoy: bytes = field(default_factory=lambda: random.token_bytes(_DECOY_BYTES), repr=False)

    def at(self, instant: datetime) -> bytes:
        """What is compared at that instant."""
        return self.value if self.expires_at is None or instant < self.expires_at else self.decoy


@dataclass(frozen=True, slots=True)
class Hook:
    """
    How deliveries to one address are verified and read.

    `max_body_bytes` is the hook's own limit, below the listener's. It is looked at when the sender is known, so that strangers are answered alike.
    """

    provider: Provider
    secrets: tuple[Secret, ...] = field(repr=False)
    max_body_bytes: int | None = None
    allowed: Allowed | None = None

    def secrets_at(self, instant: datetime) -> tuple[bytes, ...]:
        """What senders may sign with at that instant, newest first."""
        return tuple([secret.at(instant) for secret in self.secrets])

    def bind(self, facts: tuple[Facts, ...]) -> tuple[Facts, ...]:
        """The facts, where the hook may say them; else ignored, with the reason."""
        if self.allowed is None:
            return facts
        return tuple(_bound(fact, self.allowed.objection(fact)) for fact in facts)


def _bound(fact: Facts, objection: str | None) -> Facts:
    if objection is None:
        return fact
    bound = fact.copy()
    bound["ignored"] = objection
    return bound


class Hooks:
    """
    Every hook by its address; raises `Misconfigured` when the global one would be open to everyone.

    The global hook's secrets are newest first. The named hooks are those that were taken last.
    """

    def __init__(self, global_secrets: Sequence[str]) -> None:
        if not global_secrets or not all(secret.strip() for secret in global_secrets):
            raise Misconfigured("KOMODO_WEBHOOK_SECRET is not set: without it anyone could deploy")
        self._global = tuple(Secret(secret.encode()) for secret in global_secrets)
        self._by_address: Mapping[tuple[str, str], Hook] = {}
        self._decoys: Mapping[str, Hook] = {}
        self._put({})

    def find(self, auth: str, name: str) -> Hook:
        """
        The hook of the address `/listener/{auth}/global/{name}`, for an `{auth}` that is one of `PROVIDERS`.

        A decoy when there is none, when it is disabled, and when it is another provider's.
        """
        return self._by_address.get((auth, name)) or self._decoys[auth]

    def knows(self, auth: str, name: str) -> bool:
        """Whether there is such a hook; for what is told to its owner, never for what a sender is told."""
        return (auth, name) in self._by_address

    def take(self, kept: Iterable[SealedHook], sealing: Sealing) -> int:
        """
        Put these in the place of the named hooks; how many of them can be used.

        One that can not is left out with a warning that says why. It is then answered as an unknown one is.
        """
        named: dict[tuple[str, str], Hook] = {}
        usable = 0
        for hook in kept:
            try:
                opened = {} if hook.disabled else _open(hook, sealing)
            except ValueError as error:
                log.warning("hook_left_out", hook=hook.name, reason=str(error))
                continue
            usable += bool(opened)
            named |= opened
        self._put(named)
        return usable

    def _put(self, named: Mapping[tuple[str, str], Hook]) -> None:
        everywhere = {(auth, GLOBAL): Hook(provider, self._global) for auth, provider in PROVIDERS.items()}
        hooks = {**named, **everywhere}
        width = max(len(hook.secrets) for hook in hooks.values())
        self._decoys = {auth: Hook(provider, _padded(auth, (), width)) for auth, provider in PROVIDERS.items()}
        self._by_address = {
            (auth, name): replace(hook, secrets=_padded(auth, hook.secrets, width))
            for (auth, name), hook in hooks.items()
        }


def _padded(auth: str, secrets: tuple[Secret, ...], width: int) -> tuple[Secret, ...]:
    """As many secrets as every hook has, in the form that the provider's have."""
    unknown = (Secret(new_secret(is_signing=auth in SIGNING).encode()) for _ in range(width - len(secrets)))
    return (*secrets, *unknown)


def _open(hook: SealedHook, sealing: Sealing) -> dict[tuple[str, str], Hook]:
    """The hook at each of its addresses; raises ValueError when it can not be used as it is meant."""
    from ingress.allowed import Allowed  # with the patterns, which only named hooks need

    if hook.provider is not None and hook.provider not in PROVIDERS:
        raise ValueError("its provider is not known to this version")
    secrets = tuple(_unsealed(hook, sealing))
    if not secrets:
        raise ValueError("none of its secrets can be read: was KGW_SECRET_KEY another one when they were made?")
    allowed = Allowed.parse(hook.repositories, hook.images)
    return {
        (auth, hook.name): Hook(configured(auth, hook.options), secrets, hook.max_body_bytes, allowed)
        for auth in ([hook.provider] if hook.provider else PROVIDERS)
    }


def _unsealed(hook: SealedHook, sealing: Sealing) -> Iterator[Secret]:
    from shared.sealing import Unsealable

    for position, secret in enumerate(hook.secrets):
        try:
            value = sealing.unseal(secret.sealed, purpose=purpose_of(hook.name))
        except Unsealable as error:
            log.warning("hook_secret_left_out", hook=hook.name, position=position, reason=error.reason)
            continue
        if value:
            yield Secret(value, secret.expires_at)


def configured(auth: str, options: Mapping[str, Any] | None) -> Provider:
    """The provider with a hook's options, where it has any; raises ValueError when they are wrong."""
    if options is None:
        return PROVIDERS[auth]
    anyone = PROVIDERS.get(auth)
    try:
        if isinstance(anyone, Generic):
            return Generic(GenericOptions.model_validate(options))
        if isinstance(anyone, Oidc):
            return anyone.trusting(options)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise ValueError(f"options: {place}: {problem['msg']}") from None
    raise ValueError("only a hook of the provider generic or oidc has options")
