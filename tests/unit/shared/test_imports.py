"""Hiding a module from what is imported in a block."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from shared.imports import hidden


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`library` takes `extra` along where it is there."""
    (tmp_path / "extra.py").write_text("")
    (tmp_path / "library.py").write_text("try:\n    import extra\nexcept ImportError:\n    extra = None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("library", "extra"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("library")
def test_a_hidden_module_is_not_found_in_the_block_and_found_after_it() -> None:
    with hidden("extra"):
        assert import_module("library").extra is None

    assert import_module("extra").__name__ == "extra"


@pytest.mark.usefixtures("library")
def test_nothing_else_is_hidden() -> None:
    with hidden("other"):
        assert import_module("library").extra is not None


@pytest.mark.usefixtures("library")
def test_the_block_leaves_the_import_system_as_it_was() -> None:
    before = list(sys.meta_path)
    with pytest.raises(ModuleNotFoundError, match="extra is hidden"), hidden("extra"):
        import_module("extra")

    assert sys.meta_path == before
