"""How the command prints what it found."""

from enum import StrEnum


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
