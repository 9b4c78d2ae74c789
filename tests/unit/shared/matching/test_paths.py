"""A stack is affected by what changes in its run directory or in one of its tracked files."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.komodo.types import Stack
from shared.matching.paths import ChangedPaths, affected_by
from tests.unit.shared.matching.stacks import a_stack


def stack_in(run_directory: str, *files: str) -> Stack:
    return a_stack(run_directory=run_directory, tracked_files=[{"path": path} for path in files])


# Run directory, tracked files, changed paths, the path that decides.
ROWS: dict[str, tuple[str, list[str], list[str], str | None]] = {
    "a file in the run directory": ("stacks/web", [], ["stacks/web/compose.yaml"], "stacks/web/compose.yaml"),
    "a file far below it": ("stacks/web", [], ["stacks/web/a/b/c.yml"], "stacks/web/a/b/c.yml"),
    "a submodule that is the run directory": ("stacks/web", [], ["stacks/web"], "stacks/web"),
    "a neighbour whose name begins the same": ("stacks/web", [], ["stacks/web-2/compose.yaml"], None),
    "a neighbour that sorts in between": ("a", [], ["a-b", "a.txt", "a/c"], "a/c"),
    "another folder": ("stacks/web", ["compose.yaml"], ["stacks/db/compose.yaml", "README.md"], None),
    "nothing": ("stacks/web", [], [], None),
    "another case": ("stacks/web", [], ["Stacks/Web/compose.yaml"], None),
    "./ in front": ("./stacks/web", [], ["stacks/web/x"], "stacks/web/x"),
    "/ in front": ("/stacks/web", [], ["stacks/web/x"], "stacks/web/x"),
    "/ at the end": ("stacks/web/", [], ["stacks/web/x"], "stacks/web/x"),
    "doubled and dotted": ("stacks//./web", [], ["stacks/web/x"], "stacks/web/x"),
    "blanks around": (" stacks/web ", [], ["stacks/web/x"], "stacks/web/x"),
    "the repository's root": ("", ["compose.yaml"], ["docs/index.md"], "docs/index.md"),
    "the root as a dot": (".", [], ["x"], "x"),
    "the root as a slash": ("/", [], ["x"], "x"),
    "a tracked file beside it": (
        "stacks/web",
        ["../common/base.yaml"],
        ["stacks/common/base.yaml"],
        "stacks/common/base.yaml",
    ),
    "a tracked file two folders up": ("stacks/web", ["../../.env"], [".env"], ".env"),
    "beside the tracked file": ("stacks/web", ["../common/base.yaml"], ["stacks/common/other.yaml"], None),
}


@pytest.mark.parametrize(("run_directory", "files", "changed", "expected"), ROWS.values(), ids=ROWS)
def test_the_path_that_concerns_the_stack_is_found(
    run_directory: str, files: list[str], changed: list[str], expected: str | None
) -> None:
    assert affected_by(stack_in(run_directory, *files), ChangedPaths(changed)) == expected


@pytest.mark.parametrize("source", ["ui", "files", "none"])
def test_a_stack_whose_files_do_not_come_from_git_is_never_affected(source: str) -> None:
    assert affected_by(a_stack(source=source, run_directory=""), ChangedPaths(["compose.yaml"])) is None


def test_a_stack_of_a_linked_repo_is_affected_like_any_other() -> None:
    changed = ChangedPaths(["stacks/web/compose.yaml"])

    assert affected_by(a_stack(source="linked-repo"), changed) == "stacks/web/compose.yaml"


PATHS = st.lists(st.text(alphabet="ab/-.", min_size=1, max_size=8), max_size=12)


@given(PATHS, st.text(alphabet="ab/-.", max_size=6))
def test_what_is_found_is_what_a_scan_of_all_paths_finds(paths: list[str], place: str) -> None:
    scanned = sorted(path for path in paths if not place or path == place or path.startswith(f"{place}/"))

    found = ChangedPaths(paths).at_or_below(place)

    assert (found is None) == (scanned == [])
    assert found is None or found in scanned


@given(st.permutations(["stacks/web/a", "stacks/web/b", "docs/x", "stacks/web-2/c"]))
def test_the_order_of_paths_changes_nothing(paths: list[str]) -> None:
    assert affected_by(a_stack(), ChangedPaths(paths)) == "stacks/web/a"


def test_ten_thousand_paths_are_asked_of_a_thousand_stacks_in_no_time() -> None:
    paths = [f"stacks/{number % 700}/{'deep/' * 20}{number}" for number in range(10_000)]
    stacks = [a_stack(f"{number}") for number in range(1_000)]
    began = time.perf_counter()

    changed = ChangedPaths(paths)
    affected = [stack for stack in stacks if affected_by(stack, changed)]

    assert len(affected) == 700
    assert time.perf_counter() - began < 2
