"""Paths by gitignore's rules, as git itself reads them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.matching.globs import MAX_PATTERNS, GlobError, PathList


@pytest.mark.parametrize(
    ("patterns", "path", "counts"),
    [
        (["stacks/**"], "stacks/web/compose.yaml", True),
        (["stacks/**"], "other/stacks/web", False),
        (["*.yaml"], "a/b/c.yaml", True),
        (["/*.yaml"], "a/c.yaml", False),
        (["stacks/"], "stacks/web/a", True),
        (["**/*.md", "!docs/**"], "docs/a.md", False),
        (["stacks/**", "!**/*.md", "stacks/keep.md"], "stacks/keep.md", True),
        (["!**/*.md"], "a/b.yaml", True),
        (["!**/*.md"], "a/b.md", False),
        (["# a comment", ""], "a", False),
        ([], "a", False),
        (["größe/*"], "größe/a b", True),
    ],
)
def test_the_last_pattern_that_fits_decides(patterns: list[str], path: str, counts: bool) -> None:
    assert PathList.parse(patterns).matches(path) is counts


GIT = shutil.which("git") or "git"
PIECES = st.sampled_from(["a", "b", "*", "**", "?", "[ab]", "a*", "*.md", "x.md"])
PATTERNS = st.lists(
    st.builds(
        lambda excludes, root, parts, folder: f"{excludes}{root}{'/'.join(parts)}{folder}",
        st.sampled_from(["", "", "!"]),
        st.sampled_from(["", "/"]),
        st.lists(PIECES, min_size=1, max_size=3),
        st.sampled_from(["", "/"]),
    ),
    min_size=1,
    max_size=4,
)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "x.md", "c"]), min_size=1, max_size=3).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patterns=PATTERNS, path=PATHS)
def test_git_agrees(tmp_path: Path, patterns: list[str], path: str) -> None:
    """Except that git never takes back what lies in a folder that it ignores as a whole, and looks at folders only where there are some."""
    if any(pattern.startswith("!") for pattern in patterns):
        patterns = [pattern.removeprefix("!") for pattern in patterns]
    repository = tmp_path / "repository"
    if not repository.exists():
        subprocess.run([GIT, "init", "-q", repository], check=True)
    (repository / ".git" / "info" / "exclude").write_text("\n".join(patterns))
    answer = subprocess.run(
        [GIT, "-C", repository, "check-ignore", "-q", "--no-index", path], check=False, capture_output=True
    )

    assert PathList.parse(patterns).matches(path) is (answer.returncode == 0)


@pytest.mark.parametrize("pattern", ["!", "a\nb", "x" * 2_000, "[" + "z-a" + "]"])
def test_what_can_not_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(GlobError, match="pattern"):
        PathList.parse(["fine", pattern])


def test_a_list_has_an_end() -> None:
    with pytest.raises(GlobError, match=str(MAX_PATTERNS)):
        PathList.parse(["a"] * (MAX_PATTERNS + 1))


def test_a_hostile_pattern_takes_no_time() -> None:
    hostile = PathList.parse(["a*" * 200 + "b", "**/" * 100 + "x"])
    path = "/".join(["a" * 200] * 20)
    began = time.process_time()

    assert not hostile.matches(path)

    assert time.process_time() - began < 0.05


@given(patterns=st.lists(st.text(max_size=30), max_size=5), path=st.text(max_size=60))
def test_nothing_but_a_glob_error_is_raised(patterns: list[str], path: str) -> None:
    with contextlib.suppress(GlobError):
        PathList.parse(patterns).matches(path)
