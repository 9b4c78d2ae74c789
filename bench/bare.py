"""
What the ingress is compared with: a Starlette endpoint that answers 202 and does nothing else, served exactly as the ingress is.

Beside it, for scale, one that does what every receiver has to: it reads the body and makes its HMAC.
"""

from __future__ import annotations

import hmac
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared import health, logs, process
from shared.serving import serve

PORT_KEY = "BENCH_BARE_PORT"
CHECKS = "BENCH_BARE_CHECKS"


async def accept(_: Request) -> Response:
    """Not even the body is looked at."""
    return Response(status_code=202)


async def check(request: Request) -> Response:
    """The body is read and digested, and that is all."""
    hmac.digest(b"secret", await request.body(), "sha256")
    return Response(status_code=202)


def main() -> None:
    """Serve on 127.0.0.1 until a signal."""
    logs.configure("info", "standard")
    endpoint = check if CHECKS in os.environ else accept
    app = Starlette(routes=[Route("/listener/github/global", endpoint, methods=["POST"]), *health.routes({})])
    port = int(os.environ[PORT_KEY])
    process.run_until_signal(lambda stop: serve(app, "127.0.0.1", port, name="bare", stop=stop))


if __name__ == "__main__":
    main()
