"""
Logging: one line per happening, ISO-8601 UTC, keys instead of prose; no secret ever goes in (I9).

A line is bytes, written at once: the ingress writes one for every delivery.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from shared.imports import hidden

with hidden("rich"):  # structlog loads it for tracebacks that show every variable
    import structlog
    from structlog.contextvars import bound_contextvars
    from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["bound_contextvars", "configure", "get_logger"]

get_logger = structlog.get_logger

_EVENT_WIDTH = 30
_IN_THE_HEAD = frozenset({"timestamp", "level", "event", "exception"})
# With one of these in it, a value is not told from what stands beside it.
_AMBIGUOUS = re.compile("[ '\"]")
_RESET, _DIM, _BOLD, _CYAN = "\x1b[0m", "\x1b[2m", "\x1b[1m", "\x1b[36m"
_GREEN, _YELLOW, _RED = "\x1b[32m", "\x1b[33m", "\x1b[31m"
_COLOURS = {"debug": _DIM, "info": _GREEN, "warning": _YELLOW, "error": _RED, "critical": _RED}


def configure(level: str, form: str) -> None:
    """Set up structlog and the standard library's loggers; `form` is `standard` for people or `json` for machines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # as Python prints it: no variable's value (I9)
            _renderer(form),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for noisy in ("aio_pika", "aiormq", "httpx", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _renderer(form: str) -> Processor:
    render = as_json if form == "json" else partial(as_text, is_coloured=sys.stderr.isatty())

    def last(_logger: WrappedLogger, _method: str, line: EventDict) -> bytes:
        return render(line)

    return last


def as_json(line: Mapping[str, Any]) -> bytes:
    """One JSON object; what JSON has no form for is shown as Python shows it."""
    try:
        return orjson.dumps(line, default=repr)
    except TypeError:  # an integer of more than 64 bits, half a surrogate pair
        return json.dumps(line, default=repr).encode()


def as_text(line: Mapping[str, Any], *, is_coloured: bool) -> bytes:
    """When, how grave, what, then `key=value`, and the traceback below; nothing that a value holds starts a line or moves the cursor."""
    paint = _paint if is_coloured else _leave
    level = line["level"]
    words = [
        paint(line["timestamp"], _DIM),
        paint(f"{level:<8}", _COLOURS[level]),
        paint(f"{_shown(line['event']):<{_EVENT_WIDTH}}", _BOLD),
        *(f"{paint(key, _CYAN)}={_shown(value)}" for key, value in line.items() if key not in _IN_THE_HEAD),
    ]
    text = " ".join(words)
    if "exception" in line:
        text = "\n  ".join([text, *map(_printable, line["exception"].splitlines())])
    return text.encode()


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_RESET}"


def _leave(text: str, _colour: str) -> str:
    return text


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, str) else repr(value)
    return text if text and text.isprintable() and not _AMBIGUOUS.search(text) else repr(text)


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
