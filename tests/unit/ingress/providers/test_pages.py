"""The providers' pages say what is so: their URLs lead somewhere, their options are taken, the example of a new provider runs."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

import ingress.providers
from ingress.providers import PROVIDERS
from ingress.providers.body import Body
from ingress.providers.generic import Generic, GenericOptions, Hmac, ImageParts, Token
from ingress.providers.headers import Headers
from ingress.providers.provider import Request
from ingress.providers.signing import Verified
from ingress.routes import resolve
from shared.event import Kind
from tests.unit.ingress.providers import test_payloads
from tests.unit.ingress.senders import SIGNING_SECRET

DOCS = Path(__file__).parents[4] / "docs"
PAGES = sorted((DOCS / "providers").glob("*.md"))
EXAMPLE = (DOCS / "add-a-provider.md").read_text()
GENERIC = (DOCS / "providers" / "generic.md").read_text()

_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
_URL = re.compile(r"https://HOST(/listener/[^`'\"\s)]+)")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of the language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def listed(text: str, heading: str) -> dict[str, str]:
    """First and last cell of every row below the heading, the first without its quotes."""
    part = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line[:3] == "| `"]
    return {name: row[-1] for row in rows for name in re.findall(r"`(\w+)`", row[0])}


@pytest.mark.parametrize("page", [*PAGES, DOCS / "add-a-provider.md"], ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_url_of_a_page_is_one_of_the_listeners(page: Path) -> None:
    urls = _URL.findall(page.read_text())

    assert [url for url in urls if resolve(url.encode()) is None] == []


def test_every_provider_has_a_page() -> None:
    shown = {url.split("/")[2] for page in PAGES for url in _URL.findall(page.read_text())}

    assert shown >= set(PROVIDERS)


@pytest.mark.parametrize("text", blocks(GENERIC, "json"))
def test_the_options_of_the_generic_page_are_taken(text: str) -> None:
    options = GenericOptions.model_validate_json(text)

    assert options != GenericOptions()


def test_the_generic_page_lists_every_option() -> None:
    assert listed(GENERIC, "What can be configured?").keys() == GenericOptions.model_fields.keys()
    ways = listed(GENERIC, "How does the sender prove itself?")
    assert ways.keys() == (Hmac.model_fields.keys() | Token.model_fields.keys()) - {"way"}
    image = GENERIC.split("\n| `image` | a pointer", 1)[1].split("\n", 1)[0]
    assert ImageParts.model_fields.keys() <= set(re.findall(r"`(\w+)`", image))


def test_the_generic_page_names_the_defaults() -> None:
    rows = listed(GENERIC, "What can be configured?")
    pointers = {
        name: [str(pointer) for pointer in value]
        for name, value in GenericOptions()
        if isinstance(value, tuple) and name != "repository_url"
    }

    assert {name: re.findall(r"`([^`]+)`", rows[name]) for name in pointers} == pointers


def test_the_body_that_the_generic_page_describes_is_read() -> None:
    options = GenericOptions.model_validate_json(blocks(GENERIC, "json")[1])
    body = orjson.loads(re.findall(r"`(\{\"what\".*?\})`", GENERIC)[0].replace("https://…", "https://git.example/a/b"))
    provider = Generic(options)

    (facts,) = provider.normalize(provider.identify(Headers([]), body), body)

    assert (facts["kind"], facts["branch"], facts["changed_paths"]) == (Kind.PUSH, "main", ("a/b",))
    assert facts["repository"] is not None
    assert facts["repository"].key == "git.example/a/b"


def test_the_sender_of_the_standard_page_signs_as_it_must() -> None:
    (script,) = blocks((DOCS / "providers" / "standard-webhooks.md").read_text(), "python")
    signing, _, sending = script.replace("whsec_…", SIGNING_SECRET).rpartition("\nurllib")
    made: dict[str, Any] = {}
    exec(signing, made)  # noqa: S102 - the page's own lines
    headers = Headers((name.encode(), value.encode()) for name, value in made["headers"].items())

    verdict = PROVIDERS["standard"].verify(Request(headers, Body(made["body"])), [SIGNING_SECRET.encode()])

    assert verdict == Verified(0)
    assert "headers))" in sending


def module(name: str, source: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The source as the module of that name, for as long as the test runs."""
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, made)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def smithy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The provider of the page."""
    made = module("ingress.providers.smithy", blocks(EXAMPLE, "python")[0], tmp_path / "smithy.py", monkeypatch)
    monkeypatch.setattr(ingress.providers, "smithy", made, raising=False)
    return made


def test_the_example_of_a_new_provider_reads_its_body(smithy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    body, expected = blocks(EXAMPLE, "json")
    wanted: dict[str, Any] = orjson.loads(expected)
    monkeypatch.setitem(PROVIDERS, "smithy", smithy.Smithy())

    (event,) = test_payloads.read_events("smithy", wanted["headers"], body.encode())

    assert event.model_dump(mode="json", exclude_defaults=True, exclude=test_payloads.RECEIPT) == wanted["event"]


def test_the_tests_of_the_example_pass(smithy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = module("test_smithy", blocks(EXAMPLE, "python")[1], tmp_path / "test_smithy.py", monkeypatch)
    ran = 0
    for name, test in vars(tests).items():
        if not name.startswith("test_"):
            continue
        marks = getattr(test, "pytestmark", [])
        for arguments in marks[0].args[1] if marks else [None]:
            test() if arguments is None else test(arguments)
            ran += 1

    assert ran == 8
