"""
Running Komodo's Procedures: stages one after another, the executions of a stage all at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from demo.core.errors import CoreError
from demo.core.resources import Json, Procedure
from demo.core.state import State
from demo.core.updates import Update, error_log
from demo.core.work import Execution

Expand = Callable[[State, Json], list[tuple[str, Json]]]
"""Turns one entry of a stage into single executions and their parameters."""
RunSingle = Callable[[State, str, Json], Awaitable[Update]]
"""Runs one execution to its end."""


async def run(execution: Execution, *, expand: Expand, run_single: RunSingle) -> None:
    """
    Run all stages; the first failure ends it after its siblings have finished.
    """
    procedure: Procedure = execution.resource
    state = execution.state
    with procedure.doing("running", held_elsewhere=state.is_held(procedure)):
        execution.begins()
        procedure.last_run_at = state.now_ms()
        execution.log("Execute procedure")
        state.announce(execution.update)
        await state.take_time(procedure.name, 0)
        try:
            for stage in procedure.config["stages"]:
                if stage["enabled"]:
                    await _run_stage(execution, stage, expand, run_single)
        except CoreError as error:
            procedure.failed = True
            execution.update.logs.append(error_log("Execution error", error.message, state.now_ms()))
        else:
            procedure.failed = False
            execution.log("Execution ok")


async def _run_stage(execution: Execution, stage: Json, expand: Expand, run_single: RunSingle) -> None:
    _say(execution, f"Executing stage: {stage['name']}")
    singles = [
        single
        for entry in stage["executions"]
        if entry["enabled"]
        for single in expand(execution.state, entry["execution"])
    ]
    results = await asyncio.gather(
        *(_run_child(execution, variant, params, run_single) for variant, params in singles), return_exceptions=True
    )
    for result in results:
        if result is not None:
            raise result


async def _run_child(parent: Execution, variant: str, params: Json, run_single: RunSingle) -> None:
    """
    Run one execution with an Update of its own and raise CoreError unless it succeeds.
    """
    _say(parent, f"Executing: {variant}")
    if variant == "None":
        return
    if variant == "Sleep":
        await asyncio.sleep(int(params.get("duration_ms", 0)) / 1000)
        return
    if variant == "RunProcedure" and params.get("procedure") == parent.resource.id:
        raise CoreError("Self referential procedure detected")
    update = await run_single(parent.state, variant, params)
    _say(parent, f"Finished execution in 0s: {variant}")  # Komodo says so after a failure too
    if update.status != "Complete" or not update.success:
        raise CoreError(f"Execution not successful, see update: '{parent.state.config.host}/updates/{update.id}'")


def _say(execution: Execution, line: str) -> None:
    """
    Add to the one growing log, which announces the Update again.
    """
    execution.update.logs[0]["stdout"] += f"<div>{line}</div>\n"
    execution.state.announce(execution.update)
