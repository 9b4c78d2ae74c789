"""Pattern lists are read as Komodo reads them, and `!` excludes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.matching.patterns import MAX_LENGTH, PatternError, PatternList, split

SPLITS: list[tuple[str, list[str]]] = [
    ("", []),
    ("web", ["web"]),
    (" web , db,,cache ", ["web", "db", "cache"]),
    ("web\n\n  db  \r\ncache", ["web", "db", "cache"]),
    ("# all of them\nweb # the front, not the back\ndb", ["web", "db"]),
    ("  # indented\n#web", []),
    ("web#1", ["web#1"]),
    ("web #1, db", ["web"]),
    (r"\^a{1,2}$\ ", [r"\^a{1", "2}$\\"]),
]


@pytest.mark.parametrize(("text", "entries"), SPLITS)
def test_a_list_is_split_as_komodo_splits_it(text: str, entries: list[str]) -> None:
    assert list(split(text)) == entries


# Pattern, names that match, names that do not.
WILDCARDS: list[tuple[str, list[str], list[str]]] = [
    ("web", ["web"], ["web-prod", "Web", "we", ""]),
    ("*", ["", "web", "a/b", "two\nlines"], []),
    ("web-*", ["web-", "web-prod", "web-a/b"], ["web", "my-web-prod"]),
    ("*-prod", ["web-prod", "-prod"], ["web-prod-2"]),
    ("w?b", ["web", "w.b", "w\nb"], ["wb", "weeb"]),
    ("a?", ["ab"], ["aé", "a"]),
    ("a??", ["aé", "abc"], ["ab"]),
    ("web[12]", ["web[12]"], ["web1"]),
    ("{a}", ["{a}"], ["a"]),
    ("a.b+c", ["a.b+c"], ["axb+c", "a.bbc"]),
    (r"a\*b", ["a*b"], ["axb"]),
    (r"a\?b", ["a?b"], ["axb"]),
    (r"a\\b", [r"a\b"], ["ab"]),
    ("grün*", ["grünes"], ["grunes"]),
]


@pytest.mark.parametrize(("pattern", "matching", "others"), WILDCARDS, ids=[row[0] for row in WILDCARDS])
def test_a_wildcard_is_about_the_whole_name_in_bytes(pattern: str, matching: list[str], others: list[str]) -> None:
    patterns = PatternList.parse(pattern)

    assert [name for name in matching if not patterns.matches(name)] == []
    assert [name for name in others if patterns.matches(name)] == []


REGEXES: list[tuple[str, list[str], list[str]]] = [
    (r"\^web-[0-9]+$\ ", ["web-12"], ["web-", "my-web-1"]),
    (r"\prod\ ", ["web-prod-1"], ["web-dev"]),
    (r"\(?i)WEB\ ", ["my-web"], ["db"]),
    (r"\WEB\ ", [], ["web"]),
    (r"\^.$\ ", ["é"], ["ab", "\n"]),
    (r"\\ ", ["", "anything"], []),
]


@pytest.mark.parametrize(("pattern", "matching", "others"), REGEXES, ids=[row[0] for row in REGEXES])
def test_an_entry_between_backslashes_is_searched_for_anywhere(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    patterns = PatternList.parse(pattern)

    assert [name for name in matching if not patterns.matches(name)] == []
    assert [name for name in others if patterns.matches(name)] == []


DECISIONS: list[tuple[str, str, tuple[bool, str | None]]] = [
    ("web, db", "db", (True, "db")),
    ("web, db", "cache", (False, None)),
    ("web-*, !web-old", "web-prod", (True, "web-*")),
    ("web-*, !web-old", "web-old", (False, "!web-old")),
    ("!web-old, web-*", "web-old", (False, "!web-old")),
    ("!down, ! stopped", "running", (True, None)),
    ("!down, ! stopped", "stopped", (False, "! stopped")),
    (r"!\^db-\ ", "db-1", (False, r"!\^db-\ ".strip())),
    ("", "web", (False, None)),
    ("# nothing", "web", (False, None)),
]


@pytest.mark.parametrize(("text", "name", "decision"), DECISIONS)
def test_an_exclusion_wins_and_a_list_of_exclusions_takes_the_rest(
    text: str, name: str, decision: tuple[bool, str | None]
) -> None:
    assert PatternList.parse(text).decide(name) == decision


def test_a_thing_with_several_names_matches_by_any_and_is_excluded_by_any() -> None:
    names = ("github.com/acme/infra", "acme/infra")

    assert PatternList.parse("acme/*").matches(*names)
    assert PatternList.parse("github.com/acme/*").matches(*names)
    assert not PatternList.parse("*, !acme/*").matches(*names)


def test_a_thing_without_a_name_is_taken_only_by_a_list_of_exclusions() -> None:
    assert PatternList.parse("!old").matches()
    assert not PatternList.parse("*").matches()


def test_case_is_ignored_only_when_asked() -> None:
    assert not PatternList.parse("ACME/*").matches("acme/infra")
    assert PatternList.parse("ACME/*", ignore_case=True).matches("acme/Infra")


def test_ignoring_case_leaves_the_classes_of_a_regular_expression_alone() -> None:
    not_digits = PatternList.parse(r"\^ACME/\D+$\ ", ignore_case=True)

    assert not_digits.matches("acme/infra")
    assert not not_digits.matches("acme/123")


def test_a_bound_word_stands_for_exact_names_that_are_no_patterns() -> None:
    branches = PatternList.parse("@event, release/*").bound("@event", ["feature/*"])

    assert branches.decide("feature/*") == (True, "@event")
    assert not branches.matches("feature/x")
    assert branches.matches("release/1")


def test_a_bound_word_without_a_name_takes_and_excludes_nothing() -> None:
    assert not PatternList.parse("@event").bound("@event", []).matches("@event")
    assert PatternList.parse("!@event").bound("@event", []).matches("main")


UNREADABLE = {
    "a lone backslash": "\\",
    "a backslash at the end": "web\\",
    "a backslash before a letter": r"a\b",
    "a lone exclamation mark": "web, !",
    "an open group": "\\a(\\",
    "a look-ahead": "\\(?!web)\\",
    "a back-reference": "\\(a)\\1\\",
    "a regular expression that is cut by its comma": "\\^a{1,2}$\\",
    "a regular expression that grows beyond bounds": "\\(((a{1000}){1000}){1000})\\",
    "too long a list": "web," * MAX_LENGTH,
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_komodo_would_fail_on_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(PatternError) as caught:
        PatternList.parse(text)

    assert 0 < len(str(caught.value)) < 300


def test_the_error_names_the_entry() -> None:
    with pytest.raises(PatternError, match=r"^db\\x: a backslash escapes only"):
        PatternList.parse(r"web, db\x, cache")


def test_a_pattern_made_to_be_slow_is_not() -> None:
    began = time.perf_counter()

    for pattern in ("*a" * 60 + "b", r"\(a*)*(a*)*(a*)*b\ "):
        assert not PatternList.parse(pattern).matches("a" * 10_000)
    assert time.perf_counter() - began < 2


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_by_our_own_error(text: str) -> None:
    try:
        patterns = PatternList.parse(text)
    except PatternError:
        return

    assert [entry.text for entry in patterns.entries] == list(split(text))


@given(st.text(alphabet="\\!*?,#\n ab(){1}^$[]", max_size=60), st.text(max_size=20))
def test_any_name_can_be_asked_of_any_list_that_can_be_read(text: str, name: str) -> None:
    try:
        matched, entry = PatternList.parse(text).decide(name)
    except PatternError:
        return

    assert entry is None or entry in list(split(text))
    assert matched or entry is None or entry.startswith("!")


def slowly_matches(pattern: bytes, name: bytes) -> bool:
    """Komodo's wildcard by its definition, one case after the other."""
    if not pattern:
        return not name
    match pattern[:1]:
        case b"*":
            return any(slowly_matches(pattern[1:], name[skipped:]) for skipped in range(len(name) + 1))
        case b"?":
            return bool(name) and slowly_matches(pattern[1:], name[1:])
        case b"\\":
            return name[:1] == pattern[1:2] and slowly_matches(pattern[2:], name[1:])
        case literal:
            return name[:1] == literal and slowly_matches(pattern[1:], name[1:])


TOKENS = st.sampled_from(["*", "?", r"\*", r"\?", r"\\", "a", "b", ".", "[", "é"])


@given(st.lists(TOKENS, min_size=1, max_size=8), st.text(alphabet="ab*?\\.[é\n", max_size=8))
def test_a_wildcard_agrees_with_its_definition(tokens: list[str], name: str) -> None:
    pattern = "".join(tokens)
    # Between two backslashes stands a regular expression.
    is_regex = pattern[0] == pattern[-1] == "\\"

    if not is_regex:
        assert PatternList.parse(pattern).matches(name) is slowly_matches(pattern.encode(), name.encode())


@given(
    st.permutations(["web-*", "!web-old", r"\^db\ ".strip(), "!*-dev", "cache"]),
    st.text(alphabet="webdcah-old", max_size=9),
)
def test_the_order_of_entries_changes_nothing(entries: list[str], name: str) -> None:
    in_order = PatternList.parse("web-*, !web-old, \\^db\\, !*-dev, cache")

    assert PatternList.parse(", ".join(entries)).matches(name) is in_order.matches(name)
