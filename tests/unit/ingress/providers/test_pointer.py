"""A JSON pointer finds what it points to, or nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers.pointer import MAX_DEPTH, MAX_POINTER, InvalidPointer, Pointer

# The document and the pointers of https://www.rfc-editor.org/rfc/rfc6901#section-5.
RFC: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}
FOUND = {
    "": RFC,
    "/foo": ["bar", "baz"],
    "/foo/0": "bar",
    "/": 0,
    "/a~1b": 1,
    "/c%d": 2,
    "/e^f": 3,
    "/g|h": 4,
    "/i\\j": 5,
    '/k"l': 6,
    "/ ": 7,
    "/m~0n": 8,
}


@pytest.mark.parametrize(("text", "value"), FOUND.items(), ids=FOUND)
def test_the_examples_of_the_standard_are_found(text: str, value: object) -> None:
    assert Pointer.from_text(text).find(RFC) == value


@pytest.mark.parametrize(
    "text", ["/bar", "/foo/2", "/foo/-", "/foo/-1", "/foo/00", "/foo/01", "/foo/x", "/foo/٠", "/foo/0/0", "/ /x", "//x"]
)
def test_what_is_not_there_is_none(text: str) -> None:
    assert Pointer.from_text(text).find(RFC) is None


def test_a_slash_is_decoded_before_a_tilde() -> None:
    assert Pointer.from_text("/~01").find({"~1": "found", "/": "wrong"}) == "found"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("foo", "begins with a slash"),
        (" /foo", "begins with a slash"),
        ("#/foo", "begins with a slash"),
        ("/a~", "~ is written ~0"),
        ("/a~2b", "~ is written ~0"),
        ("/" * (MAX_DEPTH + 1), "at most 32 steps"),
        ("/" + "a" * MAX_POINTER, "at most 500 characters"),
    ],
)
def test_what_is_no_pointer_is_refused_with_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(InvalidPointer, match=reason):
        Pointer.from_text(text)


steps = st.lists(st.text(max_size=10), max_size=MAX_DEPTH).map(tuple)


@given(steps)
def test_every_pointer_survives_being_written_and_read(path: tuple[str, ...]) -> None:
    pointer = Pointer(path)

    assert Pointer.from_text(str(pointer)) == pointer


@given(steps, st.integers())
def test_what_is_put_somewhere_is_found_there(path: tuple[str, ...], value: int) -> None:
    document: object = value
    for step in reversed(path):
        document = {step: document}

    assert Pointer(path).find(document) == value


documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=10,
)


@given(st.text(max_size=20), documents)
def test_any_text_is_a_pointer_or_refused_and_finds_without_raising(text: str, document: object) -> None:
    try:
        pointer = Pointer.from_text(text)
    except InvalidPointer:
        return
    assert str(pointer) == text
    pointer.find(document)
