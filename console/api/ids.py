"""Ids as they come in a path: anything that a client may write."""

from __future__ import annotations

from typing import Annotated

from fastapi import HTTPException
from pydantic import AfterValidator


def _require_storable(name: str) -> str:
    # PostgreSQL has no form for NUL in a text, not even to look for it.
    if "\0" in name:
        raise HTTPException(404, "no id has such a character")
    return name


Id = Annotated[str, AfterValidator(_require_storable)]
