"""
The pages that every process has: `/healthz`, `/readyz`, `/metrics`, `/version`.

`/healthz` asks nothing of anybody; `/readyz` names each dependency and whether it answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

Check = Callable[[], Awaitable[object]]

CHECK_SECONDS = 3.0


class Dependency:
    """
    Something a process needs. `required` ones take it out of service; the others are only reported.

    What is well when `check` returns, else it raises. A text that it returns is shown.
    """

    def __init__(self, check: Check, *, required: bool = True) -> None:
        self.check = check
        self.required = required


def routes(dependencies: Mapping[str, Dependency]) -> list[Route]:
    """The four pages as Starlette routes."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        names = list(dependencies)
        answers = await asyncio.gather(*(_answers(dependencies[name]) for name in names))
        missing = [dependencies[name] for name, answer in zip(names, answers, strict=True) if answer is None]
        ready = not any(dependency.required for dependency in missing)
        body = {
            "status": "not ready" if not ready else "degraded" if missing else "ready",
            "dependencies": {name: answer or "unreachable" for name, answer in zip(names, answers, strict=True)},
        }
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def show_version(_: Request) -> Response:
        return PlainTextResponse(version("komodo-global-webhook"))

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/version", show_version),
    ]


def application(dependencies: Mapping[str, Dependency]) -> Starlette:
    """A process without other pages serves just these."""
    return Starlette(routes=routes(dependencies))


async def _answers(dependency: Dependency) -> str | None:
    # Whatever a broken dependency raises, the page's only question is whether it answered.
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            told = await dependency.check()
    except Exception:
        return None
    return told if isinstance(told, str) else "ok"
