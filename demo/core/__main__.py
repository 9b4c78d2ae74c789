"""
`python -m demo.core --world FILE --port N`: a simulated Core of its own process, until a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from demo.core.faults import Knobs
from demo.core.serve import serving
from demo.core.world import World

WORLD = Path(__file__).parent.parent / "world.toml"


async def run(world: World, knobs: Knobs, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serving(world, knobs, port=port) as core:
        print(f"simulated Komodo Core {world.core.version} at {core.url}", flush=True)
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.core", description="A simulated Komodo Core.")
    parser.add_argument("--world", type=Path, default=WORLD, help="what stands in it, a TOML file")
    parser.add_argument("--port", type=int, default=9120, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--control", action="store_true", help="serve /_sim, without authentication")
    parser.add_argument("--deploy-seconds", type=float, default=0.0, help="how long a deploy takes")
    asked = parser.parse_args()
    knobs = Knobs(control=asked.control, deploy_seconds=asked.deploy_seconds)
    asyncio.run(run(World.load(asked.world), knobs, asked.port))


if __name__ == "__main__":
    main()
