"""Every way in which Komodo says no becomes one of our errors, with a text for a person and without a secret."""

from __future__ import annotations

import pytest

from demo.core.faults import Fault
from demo.core.serve import Core
from demo.core.world import SERVICE_USER, World
from shared.errors import KgwError, Misconfigured, Permanent, RateLimited, Transient, Unknown
from shared.komodo.client import KomodoClient

HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
FORBIDDEN = "User does not have required permissions on this Stack. Must have at least Execute permissions"


def says(status: int, error: str, **more: str) -> Fault:
    """Core's own form of an error, as often as it is asked."""
    return Fault(
        status=status,
        body='{"error": "%s", "trace": ["a cause"]}' % error,  # noqa: UP031  braces are JSON's here
        content_type="application/json",
        times=None,
        headers=more,
    )


ROWS: list[tuple[str, Fault, type[KgwError], str]] = [
    ("no credentials", says(401, "Invalid client credentials"), Permanent, "refuses the API key"),
    (
        "a wrong key",
        says(401, "Invalid user credentials | You have 4 attempts remaining"),
        Permanent,
        "refuses the API key: Invalid user credentials",
    ),
    ("locked out", says(429, "Too many attempts | Try again in 0s"), RateLimited, "locked us out for a while"),
    ("an address with a port", says(401, "invalid IP address syntax"), Permanent, "invalid IP address syntax"),
    ("only admins may", says(403, "Only Admins can manage Service Users"), Permanent, "Only Admins"),
    ("not found", says(500, "Did not find any Stack matching web"), Permanent, "Did not find any Stack matching web"),
    ("an empty name", says(500, "Cannot find Stack with empty name / id"), Permanent, "empty name"),
    ("no such update", says(500, "no update exists with given id"), Permanent, "no update exists"),
    ("forbidden", says(500, FORBIDDEN), Permanent, "required permissions"),
    ("a body that it can not read", says(400, "Failed to parse the request body as JSON"), Permanent, "400"),
    ("no content type", says(415, "Expected request with `Content-Type: application/json`"), Permanent, "415"),
    ("too long a body", says(413, "length limit exceeded"), Permanent, "413"),
    ("missing parameters", says(422, "Failed to deserialize the JSON body"), Permanent, "422"),
    ("a name that is taken", says(409, "Resource with name 'x' already exists"), Permanent, "already exists"),
    ("a defect of Core's", says(500, "mongo went away"), Transient, "500: mongo went away"),
    ("Core is starting", says(503, "starting"), Transient, "503 and not as Komodo does"),
    ("a proxy's page", Fault(status=502, body=HTML, times=None), Transient, "502 and not as Komodo does"),
    ("a login page", Fault(status=200, body=HTML, times=None), Transient, "is KOMODO_ADDRESS right"),
    ("an empty answer", Fault(status=200, body="", times=None), Transient, "not as Komodo does"),
    ("a redirect", Fault(status=302, body="", headers={"Location": "/"}, times=None), Transient, "302"),
    ("JSON that is no error", Fault(status=500, body="[1]", times=None), Transient, "500"),
]


@pytest.mark.parametrize(("fault", "kind", "text"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
async def test_a_refused_read_is_one_of_our_errors_and_says_why(
    core: Core, komodo: KomodoClient, fault: Fault, kind: type[KgwError], text: str
) -> None:
    core.knobs.faults.append(fault)

    with pytest.raises(KgwError) as caught:
        await komodo.read("GetStack", stack="web")

    assert type(caught.value) is kind
    assert text in caught.value.reason
    assert "<" not in caught.value.reason


EXECUTE_ROWS: list[tuple[str, Fault, type[KgwError]]] = [
    ("locked out", says(429, "Too many attempts | Try again in 12s"), RateLimited),
    ("a proxy locks us out", Fault(status=429, body=HTML, headers={"Retry-After": "7"}), RateLimited),
    ("Core refuses", says(500, "Did not find any Stack matching web"), Permanent),
    ("Core has a defect", says(500, "mongo went away"), Transient),
    ("a proxy gave up", Fault(status=504, body=HTML), Unknown),
    ("a proxy had no answer", Fault(status=502, body=HTML), Unknown),
    ("a proxy's error in JSON", says(502, "bad gateway"), Unknown),
    ("a login page", Fault(status=200, body=HTML), Unknown),
    ("JSON that is no update", Fault(status=200, body="{}", content_type="application/json"), Unknown),
    ("a list", Fault(status=200, body="[]", content_type="application/json"), Unknown),
    ("reset before it was read", Fault(kind="reset"), Unknown),
]


@pytest.mark.parametrize(("fault", "kind"), [row[1:] for row in EXECUTE_ROWS], ids=[row[0] for row in EXECUTE_ROWS])
async def test_an_execution_without_an_update_is_unknown_unless_it_was_certainly_not_begun(
    core: Core, komodo: KomodoClient, fault: Fault, kind: type[KgwError]
) -> None:
    core.knobs.faults.append(fault)

    with pytest.raises(KgwError) as caught:
        await komodo.execute("DeployStack", stack="web")

    assert type(caught.value) is kind
    assert core.history.asked("execute", "DeployStack") == 1


async def test_a_wrong_secret_is_refused_and_not_repeated_in_the_reason(core: Core) -> None:
    secret = "S_wrong_and_long_and_private_S"
    async with KomodoClient.connect(core.url, core.key, secret) as komodo:
        with pytest.raises(Permanent) as caught:
            await komodo.read("GetStack", stack="web")

    assert core.history.asked("read", "GetStack") == 1
    assert secret not in f"{caught.value!r}{caught.value.reason}"
    assert core.key not in f"{caught.value!r}{caught.value.reason}"


async def test_what_komodo_says_is_cut(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(says(500, "x" * 100_000))

    with pytest.raises(Transient) as caught:
        await komodo.read("GetStack", stack="web")

    assert len(caught.value.reason) < 1_000


async def test_nobody_at_the_address_is_transient() -> None:
    async with KomodoClient.connect("http://127.0.0.1:1", "key", "secret") as komodo:
        with pytest.raises(Transient, match="Komodo does not answer: ConnectError"):
            await komodo.read("GetStack", stack="web")
        with pytest.raises(Transient) as caught:
            await komodo.execute("DeployStack", stack="web")

    assert not isinstance(caught.value, Unknown)


@pytest.mark.parametrize("address", ["", "komodo.example.com", "ftp://komodo", "http://", "http://[::1"])
async def test_an_address_that_is_no_url_names_its_setting(address: str) -> None:
    with pytest.raises(Misconfigured, match="KOMODO_ADDRESS"):
        async with KomodoClient.connect(address, "key", "secret"):
            pass


async def test_an_address_behind_a_path_is_kept(core: Core) -> None:
    async with KomodoClient.connect(f"{core.url}/", core.key, core.secret) as komodo:
        assert (await komodo.stack("web")).name == "web"


async def test_the_version_is_what_core_says_without_a_login(core: Core) -> None:
    async with KomodoClient.connect(core.url, "nobody", "nothing") as komodo:
        assert await komodo.version() == "2.3.2"


async def test_a_proxy_that_answers_for_core_has_no_version(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(Fault(status=200, body=HTML))

    with pytest.raises(Transient, match="is not Komodo Core"):
        await komodo.version()


async def test_the_user_is_asked_for_once(core: Core, komodo: KomodoClient) -> None:
    first, second = await komodo.user_id(), await komodo.user_id()

    assert first == second == core.state.accounts[SERVICE_USER["key"]].id
    assert core.history.asked("user", "") == 1


async def test_a_user_that_is_no_json_is_one_of_our_errors(core: Core, komodo: KomodoClient) -> None:
    core.knobs.faults.append(Fault(status=200, body=HTML, times=None))

    with pytest.raises(Transient):
        await komodo.user_id()


def test_the_world_has_the_user_that_the_client_logs_in_as() -> None:
    assert World.monorepo("web").user[0].username == "kgw"
