"""
`./run bench`: measure the accept path, the workers, the way from a push to Komodo, and memory, on this machine.

Prints a table and writes JSON. The exit code says only whether everything ran; a bar that is not met informs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import orjson

from bench import accept, deploys, first_call, machine
from bench.extent import FULL, QUICK, Extent
from bench.load import LoadFailed
from bench.progress import NotDone
from bench.report import Report
from bench.site import Servers
from demo.processes import ROOT, NotReady
from shared import clock

STATE = ROOT / ".dev"


def main() -> int:
    """Measure; the exit code is 1 when something did not run."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="just enough to see that all of it runs")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the JSON there instead of .dev/bench-TIME.json"
    )
    arguments = parser.parse_args()
    servers = Servers(os.environ["KGW_AMQP_URL"], os.environ.get("KGW_TEST_DATABASE_URL"))
    try:
        with asyncio.Runner() as runner:
            report = runner.run(_measure(servers, QUICK if arguments.quick else FULL))
    except (NotReady, LoadFailed, NotDone) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    print(report.to_text())
    file = arguments.json or STATE / f"bench-{report.at:%Y%m%dT%H%M%SZ}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2))
    print(f"\nwritten to {file}")
    return 0


async def _measure(servers: Servers, extent: Extent) -> Report:
    at, began = clock.now(), time.monotonic()
    described = await machine.describe(servers)
    with tempfile.TemporaryDirectory(prefix="kgw-bench-") as name:
        folder = Path(name)
        _say("accept path")
        accepted = await accept.measure(servers, folder / "accept", extent)
        _say("workers")
        worked = await deploys.measure(servers, folder / "deploys", extent)
        _say("push to first call, memory")
        first = await first_call.measure(servers, folder / "first-call", extent)
    left_out = [] if servers.postgres_url else ["workers on PostgreSQL: there is none"]
    return Report(at, extent is QUICK, time.monotonic() - began, described, accepted, worked, first, left_out)


def _say(what: str) -> None:
    print(f"measuring: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
