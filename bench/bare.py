"""
What the ingress is compared with: a Starlette endpoint that reads a delivery and answers 202, served exactly as the ingress is.
"""

from __future__ import annotations

import os
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared import health, logs, process
from shared.serving import serve

PORT_KEY = "BENCH_BARE_PORT"


async def accept(request: Request) -> Response:
    """Read the body and do nothing with it."""
    await request.body()
    return JSONResponse({"status": "queued"}, status_code=202)


def main() -> None:
    """Serve on 127.0.0.1 until a signal."""
    logs.configure("info", "standard")
    app = Starlette(routes=[Route("/listener/github/global", accept, methods=["POST"]), *health.routes({})])
    process.run(lambda stop: partial(serve, app, "127.0.0.1", int(os.environ[PORT_KEY]), name="bare", stop=stop)())


if __name__ == "__main__":
    main()
