"""The benchmark runs from end to end and writes what its readers expect; what it measured here means nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.processes import ROOT

LIMIT_SECONDS = 120.0

KEYS = {
    "accept",
    "at",
    "bars",
    "deployed",
    "first_call",
    "format",
    "left_out",
    "machine",
    "planned",
    "quick",
    "seconds",
}
PROCESSES = {"ingress", "worker-1", "worker-2", "console"}


@pytest.fixture
async def report(amqp_url: str, postgres_server: str, tmp_path: Path) -> Any:
    """What `./run bench --quick` writes."""
    file = tmp_path / "bench.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", "--quick", "--json", str(file)),
        cwd=ROOT,
        env={**os.environ, "KGW_AMQP_URL": amqp_url, "KGW_TEST_DATABASE_URL": postgres_server},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(LIMIT_SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return json.loads(await asyncio.to_thread(file.read_text))


async def test_a_quick_benchmark_writes_every_part_of_its_report(report: Any) -> None:
    assert set(report) == KEYS
    assert report["quick"] is True
    assert report["left_out"] == []
    assert {"per_second", "milliseconds"} == set(report["accept"]["ingress"]) == set(report["accept"]["bare"])
    assert report["accept"]["ratio"] > 0
    assert [(one["workers"], one["backend"]) for one in report["planned"]] == [(1, "sqlite")]
    assert [(one["workers"], one["backend"], one["type"], one["actions"]) for one in report["deployed"]] == [
        (1, "sqlite", "DeployStackIfChanged", 10),
        (1, "sqlite", "DeployStack", 10),
        (2, "postgresql", "DeployStackIfChanged", 10),
        (2, "postgresql", "DeployStack", 10),
    ]
    assert report["first_call"]["milliseconds"]["count"] == 10
    assert set(report["first_call"]["memory_idle"]) == set(report["first_call"]["memory_loaded"]) == PROCESSES
    assert {"name", "measured", "unit", "direction", "bar", "ratio", "met"} == set(report["bars"][0])
