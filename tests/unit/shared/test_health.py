"""What `/readyz` says of the dependencies of a process, and with which status code."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from httpx import ASGITransport, AsyncClient

from shared.errors import Unavailable
from shared.health import Dependency, application


async def well() -> None:
    """It answers."""


async def telling() -> str:
    """It answers, and says how it is."""
    return "3 events"


async def away() -> None:
    """It does not answer."""
    raise Unavailable("away")


@pytest.mark.parametrize(
    ("dependencies", "code", "status", "told"),
    [
        ({"broker": Dependency(well)}, 200, "ready", {"broker": "ok"}),
        ({"broker": Dependency(away)}, 503, "not ready", {"broker": "unreachable"}),
        ({"komodo": Dependency(away, required=False)}, 200, "degraded", {"komodo": "unreachable"}),
        (
            {"broker": Dependency(away, required=False), "spool": Dependency(telling)},
            200,
            "degraded",
            {"broker": "unreachable", "spool": "3 events"},
        ),
        (
            {"broker": Dependency(away, required=False), "spool": Dependency(away)},
            503,
            "not ready",
            {"broker": "unreachable", "spool": "unreachable"},
        ),
    ],
    ids=["all there", "a needed one away", "another one away", "one away and one that tells", "both away"],
)
async def test_readiness_is_what_the_needed_dependencies_say(
    dependencies: Mapping[str, Dependency], code: int, status: str, told: Mapping[str, str]
) -> None:
    async with AsyncClient(transport=ASGITransport(application(dependencies)), base_url="http://here") as client:
        page = await client.get("/readyz")

    assert (page.status_code, page.json()) == (code, {"status": status, "dependencies": told})
