"""The filters of the global URL narrow, and a wrong one is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.event import GlobalListener
from shared.matching.filters import FilterError, read
from shared.procedure.model import Target
from tests.builders import an_event
from tests.unit.shared.matching.stacks import a_stack, resolve

STACKS = (
    a_stack("web", server="prod-1", tags=("edge",)),
    a_stack("db", server="prod-2"),
    a_stack("dev-web", server="dev", tags=("edge",)),
    a_stack("other", repo="acme/other"),
)


def picked(query: bytes, target: Target | None = None) -> list[str]:
    event = an_event(listener=GlobalListener(filters=read(query)))
    return [stack.name for stack in resolve(target or Target(repo="@event"), event, STACKS).picked]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (b"server=prod-*", ["web", "db"]),
        (b"server=prod-1&server=dev", ["web", "dev-web"]),
        (b"server=prod-1,dev", ["web", "dev-web"]),
        (b"server=prod-1%2Cdev&tag=edge", ["web", "dev-web"]),
        (b"stack_name=!*web", ["db"]),
        (b"git_repo=acme/other", []),
        (b"git_repo=github.com/acme/homelab&stack_name=w*", ["web"]),
        (b"branch=main&type=git", ["web", "db", "dev-web"]),
        (b"type=ui", []),
        (b"file=stacks/db/*", ["db"]),
    ],
)
def test_filters_narrow_what_a_target_picks(query: bytes, names: list[str]) -> None:
    assert picked(query) == names


def test_a_filter_never_widens_a_target() -> None:
    assert picked(b"stack_name=*", Target(name="db")) == ["db"]


def test_the_trace_says_that_it_was_the_filter() -> None:
    event = an_event(listener=GlobalListener(filters=read(b"server=dev")))

    (verdict,) = resolve(Target(), event, STACKS[:1]).verdicts

    assert verdict.decision is not None
    assert verdict.decision.sentence() == "the URL's filter: the server does not match: server is prod-1, wanted dev"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (b"sever=prod", "'sever' is no filter of this URL"),
        (b"server", "no list of name=value"),
        (b"server=", "the filter server is empty"),
        (b"type=docker", "type: docker is none of"),
        (b"stack_name=\\(\\", "stack_name: .*not a pattern"),
        (b"server=" + b"x" * 5_000, "longer than 4000"),
        (b"&".join([b"server=x"] * 51), "no list of name=value"),
        ("server=größe".encode(), "no list of name=value"),
    ],
)
def test_a_filter_that_can_not_be_read_is_refused(query: bytes, why: str) -> None:
    with pytest.raises(FilterError, match=why):
        read(query)


@given(query=st.binary(max_size=80) | st.from_regex(rb"(server|tag|x)=[a-z*!,%#\\]{0,20}", fullmatch=True))
def test_whatever_the_query_it_is_read_or_refused(query: bytes) -> None:
    with contextlib.suppress(FilterError):
        assert read(query) or not query
