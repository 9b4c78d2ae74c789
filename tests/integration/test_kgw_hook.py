"""`kgw hook` on a real store: a secret is printed once, and never again (I9)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import make_url

from ingress.providers import PROVIDERS
from shared.hook import SealedHook, purpose_of
from shared.sealing import Sealing
from shared.store import hooks
from shared.store.engine import open_store
from tests.named_hooks import KEY, SEALING
from tests.unit.kgw.command import Ended, environment, kgw_beside

PUBLIC = "https://kgw.example.com"


@pytest.fixture(autouse=True)
def _installation(store_url: str) -> Iterator[None]:
    with environment(KGW_DATABASE_URL=store_url, KGW_SECRET_KEY=KEY, KGW_PUBLIC_URL=PUBLIC + "/"):
        yield


async def done(*arguments: str) -> Ended:
    """`kgw hook …`, which has to go well."""
    ended = await kgw_beside("hook", *arguments)
    assert ended.code == 0, ended.err
    return ended


async def refused(code: int, *arguments: str) -> str:
    """What is said of `kgw hook …`, which has to end with that code and one line."""
    ended = await kgw_beside("hook", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1), ended
    return ended.err


async def issued(*arguments: str) -> dict[str, str]:
    """What `kgw hook …` prints to be entered at the provider."""
    told: dict[str, str] = orjson.loads((await done(*arguments, "--format", "json")).out)
    return told


async def stored(url: str, name: str = "web") -> SealedHook:
    async with open_store(url) as store, store.read() as db:
        found = await hooks.get(db, name)
    assert found is not None
    return found


def secrets_of(hook: SealedHook, sealing: Sealing = SEALING) -> list[str]:
    return [sealing.unseal(secret.sealed, purpose=purpose_of(hook.name)).decode() for secret in hook.secrets]


async def shown(name: str = "web") -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads((await done("show", name, "-f", "json")).out)
    return told


async def test_a_new_hook_is_printed_with_its_url_and_the_secret_that_is_stored(store_url: str) -> None:
    told = await issued("create", "web", "--provider", "github", "--repo", "acme/web", "--max-body", "65536")

    hook = await stored(store_url)
    assert told == {"hook": "web", "url": f"{PUBLIC}/listener/github/global/web", "secret": secrets_of(hook)[0]}
    assert len(b64decode(told["secret"] + "=", altchars=b"-_", validate=True)) == 32
    assert (hook.provider, hook.repositories, hook.max_body_bytes, hook.disabled) == (
        "github",
        "acme/web",
        65_536,
        False,
    )


async def test_the_table_says_the_same_and_that_it_is_the_only_time(store_url: str) -> None:
    ended = await done("create", "web")

    (secret,) = secrets_of(await stored(store_url))
    assert ended.out.split() == ["hook", "web", "url", f"{PUBLIC}/listener/PROVIDER/global/web", "secret", secret]
    assert "only time" in ended.err
    assert ", ".join(PROVIDERS) in ended.err


@pytest.mark.parametrize(
    "arguments", [("--provider", "standard"), ("--provider", "gitlab", "--signing")], ids=["standard", "gitlab"]
)
async def test_a_signing_secret_is_a_key_of_standard_webhooks_and_stays_one(arguments: tuple[str, ...]) -> None:
    first = await issued("create", "web", *arguments)
    second = await issued("rotate", "web")

    for told in (first, second):
        assert len(b64decode(told["secret"].removeprefix("whsec_"), validate=True)) == 32
        assert told["secret"].startswith("whsec_")
    assert first != second


async def test_a_hook_of_gitlabs_can_be_moved_from_a_token_to_a_signing_secret(store_url: str) -> None:
    token = (await issued("create", "web", "--provider", "gitlab"))["secret"]
    signing = (await issued("rotate", "web", "--signing"))["secret"]

    assert not token.startswith("whsec_")
    assert secrets_of(await stored(store_url)) == [signing, token]


URL_TOKENS = sorted(auth for auth, provider in PROVIDERS.items() if provider.has_url_token)


@pytest.mark.parametrize("auth", URL_TOKENS)
async def test_who_can_not_sign_has_the_secret_in_the_url(store_url: str, auth: str) -> None:
    told = await issued("create", "web", "--provider", auth)

    (secret,) = secrets_of(await stored(store_url))
    assert told == {"hook": "web", "url": f"{PUBLIC}/listener/{auth}/global/web/{secret}"}


async def test_a_rotation_keeps_the_old_secret_for_the_grace_time(store_url: str) -> None:
    old = (await issued("create", "web"))["secret"]
    new = (await issued("rotate", "web", "--grace", "2h"))["secret"]

    hook = await stored(store_url)
    assert secrets_of(hook) == [new, old]
    assert hook.secrets[0].expires_at is None
    assert hook.secrets[1].expires_at is not None
    assert (hook.secrets[1].expires_at - hook.secrets[0].made_at).total_seconds() == 7200


async def test_a_rotation_without_grace_keeps_the_new_secret_alone(store_url: str) -> None:
    await issued("create", "web")
    new = (await issued("rotate", "web", "--grace", "0s"))["secret"]

    assert secrets_of(await stored(store_url)) == [new]


async def test_a_hook_whose_key_was_lost_is_rotated_with_a_new_one(store_url: str) -> None:
    await issued("create", "web")
    other = "another key of 32 characters or more"
    with environment(KGW_DATABASE_URL=store_url, KGW_SECRET_KEY=other):
        new = (await issued("rotate", "web", "--grace", "0s"))["secret"]

    assert secrets_of(await stored(store_url), Sealing(other)) == [new]


async def test_what_is_given_is_changed_and_the_rest_is_kept(store_url: str) -> None:
    secret = (await issued("create", "web", "--repo", "acme/web", "--max-body", "2048"))["secret"]

    await done("change", "web", "--repo", "acme/*", "--repo", "!acme/secret", "--image", "ghcr.io/acme/web")

    hook = await stored(store_url)
    assert (hook.repositories, hook.images, hook.max_body_bytes) == ("acme/*\n!acme/secret", "ghcr.io/acme/web", 2048)
    assert secrets_of(hook) == [secret]


async def test_a_hook_is_disabled_enabled_and_deleted(store_url: str) -> None:
    await issued("create", "web")

    await done("disable", "web")
    assert (await stored(store_url)).disabled
    await done("enable", "web")
    assert not (await stored(store_url)).disabled
    await done("delete", "web")
    assert (await done("list")).out == ""


async def test_i9_no_secret_is_printed_again(store_url: str) -> None:
    told = [await issued("create", "web", "--provider", "gitlab", "--repo", "acme/web"), await issued("rotate", "web")]
    sealed = [secret.sealed for secret in (await stored(store_url)).secrets]

    printed = ""
    for arguments in (["list"], ["show", "web"]):
        for output in ("table", "json"):
            ended = await done(*arguments, "--format", output)
            printed += ended.out + ended.err
    for arguments in (["disable", "web"], ["enable", "web"], ["change", "web", "--repo", "acme/api"]):
        ended = await done(*arguments)
        printed += ended.out + ended.err
    printed += await refused(1, "create", "web")

    assert "acme/web" in printed
    for secret in (*(one["secret"] for one in told), *sealed, KEY, str(make_url(store_url).password or KEY)):
        assert secret not in printed


async def test_a_hook_is_shown_with_its_limits_and_the_age_of_its_secrets(tmp_path: Path) -> None:
    options = tmp_path / "options.json"
    options.write_text('{"verify": {"way": "token"}}')
    await issued("create", "web", "--provider", "generic", "--image", "acme/*", "--options", str(options))
    await issued("rotate", "web", "--grace", "1h")

    told = await shown()

    assert (told["name"], told["provider"], told["images"], told["repositories"]) == ("web", "generic", ["acme/*"], [])
    assert told["options"] == {"verify": {"way": "token"}}
    assert [(secret["expires_at"] is None, secret["is_valid"]) for secret in told["secrets"]] == [
        (True, True),
        (False, True),
    ]
    assert "acme/*" in (await done("show", "web")).out
    assert "2 secrets" in (await done("list")).out


REFUSED: dict[str, tuple[str, ...]] = {
    "--provider: smoke": ("create", "web", "--provider", "smoke"),
    "name: ": ("create", "Not A Name"),
    "global is the hook": ("create", "global"),
    "--max-body: ": ("create", "web", "--max-body", "1"),
    "--repo: an entry is empty": ("create", "web", "--repo", ""),
    "--repo: \\(\\: not a pattern": ("create", "web", "--repo", "\\(\\"),
    "--image: an entry is empty": ("create", "web", "--image", "acme/*", "--image", "# all"),
    "--signing: only": ("create", "web", "--provider", "github", "--signing"),
    "--grace: ": ("rotate", "web", "--grace", "soon"),
    "nothing to change": ("change", "web"),
}


@pytest.mark.parametrize(("told", "arguments"), REFUSED.items(), ids=REFUSED)
async def test_what_is_wrong_is_refused_by_its_name(told: str, arguments: tuple[str, ...]) -> None:
    assert (await refused(78, *arguments)).startswith(f"kgw: {told}")


@pytest.mark.parametrize(
    ("provider", "text", "told"),
    [
        ("generic", "{", "is not JSON"),
        ("generic", "[]", "is not a JSON object"),
        ("generic", '{"no such option": 1}', "options: no such option"),
        ("github", "{}", "only a hook of the provider generic or oidc has options"),
    ],
)
async def test_options_are_checked_before_they_are_stored(tmp_path: Path, provider: str, text: str, told: str) -> None:
    options = tmp_path / "options.json"
    options.write_text(text)

    line = await refused(78, "create", "web", "--provider", provider, "--options", str(options))

    assert told in line
    assert (await done("list")).out == ""


@pytest.mark.parametrize("verb", ["show", "rotate", "disable", "enable", "delete"])
async def test_a_hook_that_is_not_there_ends_with_1(verb: str) -> None:
    assert await refused(1, verb, "nobody") == "kgw: there is no hook nobody\n"


async def test_a_name_is_taken_once(store_url: str) -> None:
    await issued("create", "web", "--repo", "acme/web")
    before = await stored(store_url)

    assert await refused(1, "create", "web") == "kgw: there is a hook web already\n"
    assert await stored(store_url) == before


@pytest.mark.parametrize("verb", ["create", "rotate"])
async def test_without_a_key_no_secret_is_made(store_url: str, verb: str) -> None:
    await issued("create", "web")
    with environment(KGW_DATABASE_URL=store_url):
        assert (await refused(78, verb, "web")).startswith("kgw: KGW_SECRET_KEY is not set")
        assert (await done("list")).out.startswith("web")


async def test_a_short_key_is_refused(store_url: str) -> None:
    with environment(KGW_DATABASE_URL=store_url, KGW_SECRET_KEY="hunter2"):
        line = await refused(78, "list")

    assert line.startswith("kgw: KGW_SECRET_KEY: ")
    assert "hunter2" not in line


async def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with environment(KGW_DATABASE_URL=f"sqlite:///{tmp_path}/none.db", KGW_SECRET_KEY=KEY):
        assert "kgw migrate" in await refused(78, "list")

    assert not (tmp_path / "none.db").exists()


async def test_a_store_that_is_away_ends_with_69() -> None:
    with environment(KGW_DATABASE_URL="postgresql://kgw:hunter2@127.0.0.1:1/kgw", KGW_SECRET_KEY=KEY):
        assert "hunter2" not in await refused(69, "create", "web")
