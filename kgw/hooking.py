"""
What `kgw hook` does: named hooks in the store, which every ingress reads a few seconds later.

A secret leaves here once, when it is made. What is shown later is when that was, and until when it counts.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from ingress.allowed import Allowed
from ingress.hooks import SIGNING, configured
from ingress.providers import PROVIDERS
from shared import clock
from shared.errors import Misconfigured, Permanent
from shared.hook import GLOBAL, SealedHook, SealedSecret, new_secret, purpose_of
from shared.matching.patterns import PatternError, split
from shared.sealing import Sealing, Unsealable
from shared.settings import CliSettings, SealedStoreSettings, load
from shared.store import hooks
from shared.store.engine import Store, open_store
from shared.store.schema import require_current, require_there

# Who may have a signing secret, or a token.
_CAN_SIGN = SIGNING | {"gitlab"}
_ANY_PROVIDER = "PROVIDER"
_OPTIONS_OF = {"max_body_bytes": "--max-body"}
_GRACE = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_GRACE = timedelta(days=366)


@dataclass(frozen=True)
class Issued:
    """A hook with the secret that was just made for it; `address` is everything of the URL but the secret."""

    hook: SealedHook
    address: str
    secret: str = field(repr=False)
    notes: tuple[str, ...] = ()

    def told(self) -> dict[str, str]:
        """What is to be entered at the provider."""
        auth = self.hook.provider
        if auth is not None and PROVIDERS[auth].has_url_token:
            return {"hook": self.hook.name, "url": f"{self.address}/{self.secret}"}
        return {"hook": self.hook.name, "url": self.address, "secret": self.secret}


@dataclass(frozen=True)
class Limits:
    """What a hook may say, and the settings of its provider. None: nothing was said of it."""

    repositories: str | None = None
    images: str | None = None
    max_body_bytes: int | None = None
    options: dict[str, Any] | None = None

    @classmethod
    def parse(
        cls,
        repositories: Sequence[str] | None,
        images: Sequence[str] | None,
        max_body_bytes: int | None,
        options: Path | None,
    ) -> Limits:
        """Read what was given on the command line; raises `Misconfigured` with the option's name."""
        return cls(
            _pattern_list("--repo", repositories),
            _pattern_list("--image", images),
            max_body_bytes,
            None if options is None else _options(options),
        )

    def given(self) -> dict[str, Any]:
        """The values that were given, by the hook's names for them."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Hooking:
    """The store that holds the hooks, the key that seals their secrets, and where senders reach the ingress."""

    database_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    public_url: str

    @classmethod
    def load(cls) -> Hooking:
        """From the settings; raises `Misconfigured`."""
        settings = load(SealedStoreSettings)
        public_url = settings.public_url or load(CliSettings).ingress_url
        return cls(
            settings.database_url.get_secret_value(), settings.secret_key.get_secret_value(), public_url.rstrip("/")
        )

    async def create(self, name: str, provider: str | None, limits: Limits, *, is_signing: bool) -> Issued:
        """Store a new hook with its first secret; raises `Misconfigured`, or `Permanent` when the name is taken."""
        sealing = self._sealing()
        if name == GLOBAL:
            raise Misconfigured(f"{GLOBAL} is the hook that has KOMODO_WEBHOOK_SECRET: take another name")
        if provider is not None and provider not in PROVIDERS:
            raise Misconfigured(f"--provider: {provider} is none of {', '.join(PROVIDERS)}")
        now = clock.now()
        secret = _new_secret(provider, is_signing=is_signing)
        sealed = SealedSecret(sealed=sealing.seal(secret.encode(), purpose=purpose_of(name)), made_at=now)
        hook = _checked(
            name=name, provider=provider, secrets=(sealed,), created_at=now, changed_at=now, **limits.given()
        )
        async with self._store() as store, store.begin() as db:
            if not await hooks.add(db, hook):
                raise Permanent(f"there is a hook {name} already")
        return self._issued(hook, secret)

    async def rotate(self, name: str, grace: timedelta, *, is_signing: bool) -> Issued:
        """Give the hook a new secret, of the kind that it has, or one to sign with; the others end after `grace`."""
        sealing = self._sealing()
        async with self._store() as store, store.begin() as db:
            seen = _there(await hooks.get(db, name), name)
            secret = _new_secret(seen.provider, is_signing=is_signing or _signs(seen, sealing))
            sealed = sealing.seal(secret.encode(), purpose=purpose_of(name))
            hook = seen.rotated(sealed, now=clock.now(), grace=grace)
            _require_stored(await hooks.change(db, seen, hook), name)
        ends = next((old.expires_at for old in hook.secrets[1:] if old.expires_at), None)
        note = f"The one before counts until {ends:%Y-%m-%d %H:%M:%S} UTC." if ends else "Those before count no more."
        return self._issued(hook, secret, note)

    async def change(self, name: str, limits: Limits) -> None:
        """Replace what is given; raises `Misconfigured`, or `Permanent` when there is no such hook."""
        if not limits.given():
            raise Misconfigured("nothing to change: give --repo, --image, --max-body or --options")
        async with self._store() as store, store.begin() as db:
            seen = _there(await hooks.get(db, name), name)
            changed = seen.changed(now=clock.now())
            hook = _checked(**{**dict(changed), **limits.given()})
            _require_stored(await hooks.change(db, seen, hook), name)

    async def switch(self, name: str, *, disabled: bool) -> None:
        """Disable or enable the hook; raises `Permanent` when there is none."""
        async with self._store() as store, store.begin() as db:
            seen = _there(await hooks.get(db, name), name)
            _require_stored(await hooks.change(db, seen, seen.changed(now=clock.now(), disabled=disabled)), name)

    async def delete(self, name: str) -> None:
        """Delete the hook; raises `Permanent` when there is none."""
        async with self._store() as store, store.begin() as db:
            if not await hooks.delete(db, name):
                raise _unknown(name)

    async def every(self) -> list[dict[str, Any]]:
        """All hooks as they are shown."""
        async with self._store() as store, store.read() as db:
            return [_shown(hook) for hook in await hooks.every(db)]

    async def show(self, name: str) -> dict[str, Any]:
        """One hook as it is shown; raises `Permanent` when there is none."""
        async with self._store() as store, store.read() as db:
            return _shown(_there(await hooks.get(db, name), name))

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[Store]:
        require_there(self.database_url)
        async with open_store(self.database_url) as store:
            await require_current(store)
            yield store

    def _sealing(self) -> Sealing:
        if not self.secret_key:
            raise Misconfigured("KGW_SECRET_KEY is not set: secrets are not stored without it")
        return Sealing(self.secret_key)

    def _issued(self, hook: SealedHook, secret: str, *notes: str) -> Issued:
        address = f"{self.public_url}/listener/{hook.provider or _ANY_PROVIDER}/global/{hook.name}"
        if hook.provider is None:
            notes = (*notes, f"In the URL, {_ANY_PROVIDER} is who sends: {', '.join(PROVIDERS)}.")
        return Issued(hook, address, secret, notes)


def parse_grace(text: str) -> timedelta:
    """`30m`, `24h`, `7d` or `0s`; raises `Misconfigured`."""
    parts = _GRACE.fullmatch(text)
    grace = timedelta(seconds=int(parts[1]) * _SECONDS[parts[2]]) if parts else None
    if grace is None or grace > _MAX_GRACE:
        raise Misconfigured("--grace: write a number and s, m, h or d, such as 24h; 366d at most")
    return grace


def _new_secret(provider: str | None, *, is_signing: bool) -> str:
    if is_signing and provider not in _CAN_SIGN:
        raise Misconfigured(f"--signing: only a hook for {' or '.join(sorted(_CAN_SIGN))} has a signing secret")
    return new_secret(is_signing=is_signing or provider in SIGNING)


def _signs(hook: SealedHook, sealing: Sealing) -> bool:
    """Whether the newest secret is one to sign with. One that can not be read any more tells nothing."""
    try:
        newest = sealing.unseal(hook.secrets[0].sealed, purpose=purpose_of(hook.name))
    except Unsealable:
        return False
    return newest.startswith(b"whsec_") and hook.provider in _CAN_SIGN


def _checked(**values: Any) -> SealedHook:
    """A hook that the ingress can use; raises `Misconfigured`."""
    try:
        hook = SealedHook.model_validate(values)
        if hook.options is not None:
            configured(hook.provider or "", hook.options)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise Misconfigured(f"{_OPTIONS_OF.get(place, place)}: {problem['msg']}") from None
    except ValueError as error:
        raise Misconfigured(f"--options: {error}") from None
    return hook


def _pattern_list(option: str, entries: Sequence[str] | None) -> str | None:
    if entries is None:
        return None
    text = "\n".join(entries)
    try:
        # A list that came out empty, as of an unset variable, would allow everything.
        is_list = Allowed.parse(text, "") is not None
    except PatternError as error:
        raise Misconfigured(f"{option}: {error}") from None
    if not is_list or not all(any(split(entry)) for entry in entries):
        raise Misconfigured(f"{option}: an entry is empty")
    return text


def _options(path: Path) -> dict[str, Any]:
    try:
        options = orjson.loads(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"--options: {path} can not be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise Misconfigured(f"--options: {path} is not JSON: {error.msg} in line {error.lineno}") from None
    if not isinstance(options, dict):
        raise Misconfigured(f"--options: {path} is not a JSON object")
    return options


def _there(hook: SealedHook | None, name: str) -> SealedHook:
    if hook is None:
        raise _unknown(name)
    return hook


def _unknown(name: str) -> Permanent:
    return Permanent(f"there is no hook {name}")


def _require_stored(is_stored: bool, name: str) -> None:
    if not is_stored:
        raise Permanent(f"somebody else has changed {name} at the same time: look at it and try again")


def _shown(hook: SealedHook) -> dict[str, Any]:
    now = clock.now()
    secrets = [
        {"made_at": secret.made_at, "expires_at": secret.expires_at, "is_valid": secret.is_valid(now)}
        for secret in hook.secrets
    ]
    told = hook.model_dump(exclude={"secrets"}) | {
        "repositories": list(split(hook.repositories)),
        "images": list(split(hook.images)),
        "secrets": [{**secret, **_instants(secret)} for secret in secrets],
    }
    return told | _instants(told)


def _instants(values: dict[str, Any]) -> dict[str, str]:
    return {name: value.isoformat(timespec="seconds") for name, value in values.items() if hasattr(value, "isoformat")}
