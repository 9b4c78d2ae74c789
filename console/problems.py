"""Every error of the API as problem+json (RFC 9457), in one place; never a stack trace, never a secret (I9)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from shared.errors import Transient

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"


class Problem(BaseModel):
    """What went wrong; `detail` is a sentence for a person."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def _described(status: HTTPStatus) -> dict[str, Any]:
    return {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}


RESPONSES: dict[int | str, dict[str, Any]] = {
    int(status): _described(status)
    for status in (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}
"""The problems that every route may answer with, as OpenAPI describes them."""


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Transient, _on_transient)
    app.add_exception_handler(Exception, _on_defect)


def _answer(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(problem.model_dump(), status_code=status, headers=headers, media_type=MEDIA_TYPE)


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return _answer(error.status_code, str(error.detail), dict(error.headers or {}))


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}")


async def _on_transient(_: Request, error: Exception) -> JSONResponse:
    return _answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": RETRY_AFTER})


async def _on_defect(_: Request, error: Exception) -> JSONResponse:
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"unexpected {type(error).__name__}; the log has more")
