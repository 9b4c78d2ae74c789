"""
Whole pattern lists against an oracle of their own: splitting, comments, escapes, regular expressions and exclusions together.

The oracle shares nothing with `shared.matching.patterns`: wildcards are matched without regular expressions, and as slowly as it takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.matching.patterns import PatternError, PatternList, split


def oracle_split(text: str) -> Iterator[str]:
    line = ""
    for letter in text + "\n":
        if letter != "\n":
            line += letter
            continue
        line = line.strip()
        if not line.startswith("#"):
            head = line[: line.index(" #")] if " #" in line else line
            for entry in head.split(","):
                if entry.strip():
                    yield entry.strip()
        line = ""


def oracle_tokens(pattern: bytes) -> list[int | str]:
    """Bytes to be equal, `*` and `?`; raises ValueError for a bad escape."""
    tokens: list[int | str] = []
    position = 0
    while position < len(pattern):
        letter = pattern[position : position + 1]
        if letter == b"\\":
            position += 1
            escaped = pattern[position : position + 1]
            if escaped not in (b"*", b"?", b"\\"):
                raise ValueError(pattern)
            tokens.append(escaped[0])
        else:
            tokens.append(letter.decode() if letter in (b"*", b"?") else letter[0])
        position += 1
    return tokens


def oracle_wildcard(pattern: str, name: str) -> bool:
    tokens, rest = oracle_tokens(pattern.encode()), name.encode()

    @cache
    def matches(token: int, byte: int) -> bool:
        if token == len(tokens):
            return byte == len(rest)
        if tokens[token] == "*":
            return matches(token + 1, byte) or (byte < len(rest) and matches(token, byte + 1))
        return byte < len(rest) and tokens[token] in ("?", rest[byte]) and matches(token + 1, byte + 1)

    return matches(0, 0)


def oracle_entry(entry: str, name: str) -> bool:
    if len(entry) > 1 and entry[0] == "\\" and entry[-1] == "\\":
        return re.search(oracle_regex(entry[1:-1]), name) is not None
    return oracle_wildcard(entry, name)


def oracle_regex(pattern: str) -> str:
    """Python reads an escaped letter beyond ASCII as that letter; RE2 and Rust's `regex` refuse it: raises ValueError."""
    if not re.fullmatch(r"(?:[^\\]|\\[\x00-\x7f])*\\?", pattern, re.DOTALL):
        raise ValueError(pattern)
    return pattern


def oracle(text: str, name: str) -> bool:
    """Raises ValueError or re.error for what can not be read."""
    entries = list(oracle_split(text))
    including = [oracle_entry(entry, name) for entry in entries if not entry.startswith("!")]
    excluding = []
    for entry in entries:
        if entry.startswith("!"):
            if not entry[1:].strip():
                raise ValueError(entry)
            excluding.append(oracle_entry(entry[1:].strip(), name))
    return not any(excluding) and (any(including) or (bool(excluding) and not including))


letters = st.text(alphabet="ab*?\\,#! \n-é", max_size=14)
literal = st.text(alphabet="ab-é[.{+", min_size=1, max_size=4)
regexes = st.sampled_from(["\\a\\", "\\^a\\", "\\b$\\", "\\^a+b?$\\", "\\(a|b)-\\", "\\[^a]\\", "\\^$\\"])
entries = st.one_of(
    st.lists(st.one_of(literal, st.sampled_from(["*", "?", "\\*", "\\\\"])), min_size=1).map("".join), regexes
)
lists = st.lists(st.tuples(st.sampled_from(["", "", "!"]), entries).map("".join), max_size=5).map(", ".join)
names = st.text(alphabet="ab-é*?\\ ", max_size=8)


@given(st.one_of(letters, lists), names)
@example("a*, !ab", "ab")
@example("\\", "")
@example("\\\\é\\", "é")
@example("a #b\n#c\nd", "d")
def test_every_list_means_what_a_slow_oracle_says(text: str, name: str) -> None:
    try:
        expected = oracle(text, name)
    except (ValueError, re.error):
        with pytest.raises(PatternError):
            PatternList.parse(text)
        return

    assert PatternList.parse(text).matches(name) is expected


@given(st.one_of(letters, lists))
def test_a_list_is_split_as_a_slow_oracle_says(text: str) -> None:
    assert list(split(text)) == list(oracle_split(text))


# A backtracking engine would be at these until the end of days, so that they end at all is the test.
HOSTILE = [
    ("*a" * 40 + "*b", "a" * 200),
    ("*" * 500 + "b", "a" * 5_000),
    ("\\(a+)+$\\", "a" * 5_000 + "b"),
    ("\\(a|a)*b\\", "a" * 5_000),
    ("\\(.*)*(.*)*(.*)*x\\", "a" * 5_000),
    ("\\^(([a-z])+.)+[A-Z]([a-z])+$\\", "a" * 5_000),
]


@pytest.mark.parametrize(("text", "name"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_pattern_comes_to_its_end(text: str, name: str) -> None:
    assert not PatternList.parse(text).matches(name)


@pytest.mark.parametrize("text", ["\\(x+x+){1001}\\", "\\" + "(a?){900}" * 50 + "\\", "\\" + "(" * 5_000 + "\\"])
def test_a_pattern_that_would_take_much_memory_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(PatternError) as caught:
        PatternList.parse(text)

    assert len(str(caught.value)) < 300
