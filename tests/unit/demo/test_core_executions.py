"""
Executions: their answers and ends, busy stacks, "if changed", batches, procedures, restarts.
"""

from __future__ import annotations

from typing import Any

import pytest

from demo.core.ids import operator_id
from tests.unit.demo.conftest import Komodo

NEW_CACHE = "services:\n  valkey:\n    image: docker.io/valkey/valkey:9\n"


@pytest.fixture
def more() -> dict[str, list[dict[str, Any]]]:
    files = {
        "compose.yaml": "services:\n  a:\n    image: a:1\n  b:\n    image: b:1\n",
        "a.yml": "1",
        "b.yml": "1",
        "all.yml": "1",
        "note.yml": "1",
    }
    config_files = [
        {"path": "a.yml", "services": ["a"], "requires": "Redeploy"},
        {"path": "b.yml", "services": ["b"], "requires": "Restart"},
        {"path": "all.yml", "requires": "Restart"},
        {"path": "note.yml"},
    ]
    return {
        "git": [{"repo": "acme/parts", "commits": [{"files": files}]}],
        "swarm": [{"name": "swarm-1"}],
        "stack": [
            {"name": "parts", "config": {"server": "prod-1", "repo": "acme/parts", "config_files": config_files}},
            {"name": "nowhere", "config": {"repo": "acme/parts"}},
            {"name": "empty", "deployed": False, "config": {"server": "prod-1"}},
            {"name": "swarmed", "config": {"swarm": "swarm-1", "server": "prod-1", "repo": "acme/parts"}},
        ],
        "action": [{"name": "tidy"}, {"name": "broken", "fails": "TypeError"}],
        "build": [{"name": "image"}],
        "resource_sync": [{"name": "all"}],
    }


def stages(update: dict[str, Any]) -> list[str]:
    return [log["stage"] for log in update["logs"]]


def error(update: dict[str, Any]) -> str:
    return str(update["logs"][-1]["stderr"])


# Deploying


@pytest.mark.parametrize("stack", ["web", "monitoring", "uptime", "homeassistant", "billing", "swarmed"])
async def test_a_deploy_of_any_kind_of_stack_brings_it_up(komodo: Komodo, stack: str) -> None:
    komodo.core.state.stack(stack).state = "down"

    update = await komodo.run("DeployStack", stack=stack)

    assert (update["status"], update["success"], update["operation"]) == ("Complete", True, "DeployStack")
    assert stages(update)[-1] == "Compose Up"
    assert update["logs"][-1]["stderr"] != ""  # compose's ordinary progress
    assert (await komodo.item(stack))["info"]["state"] == "running"
    assert komodo.core.history.ran(stack) == 1


async def test_a_deploy_takes_the_pushed_files_into_the_stack(komodo: Komodo) -> None:
    pushed = komodo.core.state.push(files={"stacks/cache/compose.yaml": NEW_CACHE}, message="valkey 9")

    update = await komodo.run("DeployStack", stack="cache")
    info = await komodo.info("cache")

    assert "commit_hash" not in update
    assert info["deployed_contents"] == [{"path": "compose.yaml", "contents": NEW_CACHE}]
    assert (info["deployed_hash"], info["deployed_message"]) == (pushed.short, "valkey 9")
    assert info["deployed_services"][0]["image"] == "docker.io/valkey/valkey:9"
    assert [deploy.sha for deploy in komodo.core.history.deployed("cache")] == [pushed.sha]


async def test_a_deploy_of_some_services_has_another_operation(komodo: Komodo) -> None:
    update = await komodo.run("DeployStack", stack="web", services=["app"])

    assert update["operation"] == "DeployStackService"
    assert stages(update)[0] == "Service/s"
    assert komodo.core.history.deployed("web")[0].services == ("app",)


async def test_a_deploy_without_its_files_fails_and_says_which(komodo: Komodo) -> None:
    komodo.core.state.push(files={"stacks/cache/compose.yaml": None})

    update = await komodo.run("DeployStack", stack="cache")

    assert (update["success"], stages(update)[-1]) == (False, "Validate Files")
    assert (await komodo.info("cache"))["missing_files"] == ["compose.yaml"]


async def test_a_deploy_whose_fetch_fails_ends_at_that_stage(komodo: Komodo) -> None:
    komodo.core.knobs.failing_git["acme/infra"] = "fatal: no route to host"

    update = await komodo.run("DeployStack", stack="cache")

    assert (update["success"], stages(update)) == (False, ["Git Fetch"])
    assert komodo.core.history.deployed("cache") == []


TASK_ERRORS = {
    "no server": ("DeployStack", "nowhere", {}, "Must attach either swarm or server"),
    "swarm pull": ("PullStack", "swarmed", {}, "Cannot pull a Stack in Swarm mode"),
    "swarm restart": ("RestartStack", "swarmed", {}, "Cannot restart a Stack in Swarm mode"),
    "swarm destroy of services": ("DestroyStack", "swarmed", {"services": ["a"]}, "Cannot down a Stack in Swarm mode"),
}


@pytest.mark.parametrize(("variant", "stack", "params", "text"), TASK_ERRORS.values(), ids=TASK_ERRORS.keys())
async def test_what_can_not_run_is_a_task_error(
    komodo: Komodo, variant: str, stack: str, params: dict[str, Any], text: str
) -> None:
    update = await komodo.run(variant, stack=stack, **params)

    assert (update["success"], stages(update)) == (False, ["Task Error"])
    assert text in error(update)


async def test_a_stack_without_any_files_fails_to_deploy(komodo: Komodo) -> None:
    update = await komodo.run("DeployStack", stack="empty")

    assert (update["success"], stages(update)) == (False, ["Write Stack"])


@pytest.mark.parametrize("server_state", ["NotOk", "Disabled"])
async def test_a_server_that_is_not_ok_is_a_task_error(komodo: Komodo, server_state: str) -> None:
    komodo.core.state.shelves.servers.find("prod-1").state = server_state

    update = await komodo.run("DeployStack", stack="cache")

    assert stages(update) == ["Task Error"]
    assert "server is unreachable or disabled" in error(update)
    assert komodo.core.history.outcomes("cache") == ["unreachable"]


COMPOSE = [
    ("StopStack", "stopped"),
    ("StartStack", "running"),
    ("PauseStack", "paused"),
    ("UnpauseStack", "running"),
    ("RestartStack", "running"),
    ("DestroyStack", "down"),
]


@pytest.mark.parametrize(("variant", "state"), COMPOSE)
async def test_a_compose_command_leaves_its_state(komodo: Komodo, variant: str, state: str) -> None:
    whole = await komodo.run(variant, stack="cache")
    part = await komodo.run(variant, stack="web", services=["app"])

    assert (whole["operation"], part["operation"]) == (variant, f"{variant}Service")
    assert (await komodo.item("cache"))["info"]["state"] == state
    assert (await komodo.item("web"))["info"]["state"] == "running"


# Busy


async def test_a_second_deploy_of_a_stack_that_deploys_is_busy_and_not_queued(komodo: Komodo) -> None:
    komodo.core.state.hold("cache")
    first = await komodo.execute("DeployStack", stack="cache")
    second = await komodo.execute("DeployStack", stack="cache")
    acting = await komodo.read("GetStackActionState", stack="cache")
    shown = (await komodo.item("cache"))["info"]["state"]
    refused = await komodo.read("GetUpdate", id=second["_id"]["$oid"])

    komodo.core.state.release("cache")
    await komodo.core.state.settled()
    finished = await komodo.read("GetUpdate", id=first["_id"]["$oid"])

    assert second["status"] == "InProgress"
    assert acting["deploying"] is True
    assert shown == "deploying"
    assert (refused["status"], refused["success"], stages(refused)) == ("Complete", False, ["Task Error"])
    assert finished["success"] is True
    assert komodo.core.history.outcomes("cache") == ["ran", "busy"]
    assert (await komodo.read("GetStackActionState", stack="cache"))["deploying"] is False


async def test_a_pull_that_ends_during_a_deploy_makes_the_stack_look_idle(komodo: Komodo) -> None:
    cache = komodo.core.state.stack("cache")
    with cache.doing("pulling"):
        komodo.core.state.hold("cache")
        first = await komodo.execute("DeployStack", stack="cache")
        during = await komodo.read("GetStackActionState", stack="cache")
    after = await komodo.read("GetStackActionState", stack="cache")
    second = await komodo.execute("DeployStack", stack="cache")
    komodo.core.state.release("cache")
    await komodo.core.state.settled()

    assert (during["pulling"], during["deploying"], after["deploying"]) == (True, True, False)
    for update in (first, second):
        assert (await komodo.read("GetUpdate", id=update["_id"]["$oid"]))["success"] is True
    assert komodo.core.history.outcomes("cache") == ["ran", "ran"]


async def test_a_stack_that_somebody_else_holds_is_busy_until_let_go(komodo: Komodo) -> None:
    komodo.core.knobs.busy.add("cache")
    refused = await komodo.run("DeployStack", stack="cache")
    komodo.core.knobs.busy.remove("cache")

    assert "Resource is busy" in error(refused)
    assert (await komodo.run("DeployStack", stack="cache"))["success"] is True


async def test_actions_never_refuse_and_builds_do(admin: Komodo) -> None:
    for name in ("tidy", "image"):
        admin.core.state.hold(name)
    for variant, params in (("RunAction", {"action": "tidy"}), ("RunBuild", {"build": "image"})):
        for _ in range(2):
            await admin.execute(variant, **params)
    for name in ("tidy", "image"):
        admin.core.state.release(name)
    await admin.core.state.settled()

    assert admin.core.history.outcomes("tidy") == ["ran", "ran"]
    assert admin.core.history.outcomes("image") == ["ran", "busy"]


async def test_jobs_end_as_the_world_says(admin: Komodo) -> None:
    tidy = await admin.run("RunAction", action="tidy", args={"a": 1})
    broken = await admin.run("RunAction", action="broken")
    sync = await admin.run("RunSync", sync="all")

    assert (tidy["success"], broken["success"], sync["success"]) == (True, False, True)
    assert error(broken) == "TypeError"


async def test_pulling_a_repo_sets_the_commit_on_its_update(admin: Komodo) -> None:
    pushed = admin.core.state.push(files={"README.md": "new\n"})

    update = await admin.run("PullRepo", repo="infra")

    assert update["commit_hash"] == pushed.short
    assert (await admin.read("ListRepos"))[0]["info"]["latest_hash"] == pushed.short


# If changed

CHANGES: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "nothing of it": ({"README.md": "x"}, []),
    "the compose file": ({"compose.yaml": "services:\n  a:\n    image: a:2\n"}, ["DeployStack"]),
    "a file that asks for nothing": ({"note.yml": "2"}, []),
    "a file that redeploys one service": ({"a.yml": "2"}, ["DeployStackService"]),
    "a file that restarts one service": ({"b.yml": "2"}, ["RestartStackService"]),
    "a file that restarts all": ({"all.yml": "2"}, ["RestartStack"]),
    "one to redeploy and all others to restart": (
        {"a.yml": "2", "all.yml": "2"},
        ["DeployStackService", "RestartStackService"],
    ),
    "a tracked file is gone": ({"note.yml": None}, []),
}


@pytest.mark.parametrize(("files", "operations"), CHANGES.values(), ids=CHANGES.keys())
async def test_if_changed_does_what_the_changed_files_ask_for(
    komodo: Komodo, files: dict[str, str | None], operations: list[str]
) -> None:
    komodo.core.state.push(repo="acme/parts", files=files)

    await komodo.execute("DeployStackIfChanged", stack="parts")
    await komodo.core.state.settled()
    updates = (await komodo.read("ListUpdates"))["updates"]

    assert [update["operation"] for update in reversed(updates)] == operations
    assert all(update["status"] == "Complete" and update["success"] for update in updates)
    assert komodo.core.history.outcomes("parts") == ["ran" if operations else "unchanged"]


async def test_if_changed_after_if_changed_finds_nothing(komodo: Komodo) -> None:
    komodo.core.state.push(repo="acme/parts", files={"a.yml": "2", "all.yml": "2"})

    for _ in range(2):
        await komodo.execute("DeployStackIfChanged", stack="parts")
        await komodo.core.state.settled()

    assert komodo.core.history.outcomes("parts") == ["ran", "unchanged"]


async def test_a_restart_by_hand_does_not_make_the_change_known(komodo: Komodo) -> None:
    komodo.core.state.push(repo="acme/parts", files={"b.yml": "2"})
    await komodo.run("RestartStack", stack="parts", services=["b"])

    await komodo.execute("DeployStackIfChanged", stack="parts")
    await komodo.core.state.settled()

    assert (await komodo.read("ListUpdates"))["updates"][0]["operation"] == "RestartStackService"


async def test_a_file_that_was_never_deployed_means_a_full_deploy(komodo: Komodo) -> None:
    parts = komodo.core.state.stack("parts")
    parts.info["deployed_contents"] = [file for file in parts.info["deployed_contents"] if file["path"] != "note.yml"]

    await komodo.execute("DeployStackIfChanged", stack="parts")
    await komodo.core.state.settled()

    assert (await komodo.read("ListUpdates"))["updates"][0]["operation"] == "DeployStack"


async def test_if_changed_deploys_what_was_never_deployed(komodo: Komodo) -> None:
    await komodo.execute("DeployStackIfChanged", stack="example")
    await komodo.core.state.settled()

    assert (await komodo.item("example"))["info"]["state"] == "running"


async def test_if_changed_starts_a_stopped_stack_when_its_file_changed(komodo: Komodo) -> None:
    komodo.core.state.push(files={"stacks/legacy/compose.yaml": NEW_CACHE})

    await komodo.execute("DeployStackIfChanged", stack="legacy")
    await komodo.core.state.settled()

    assert (await komodo.item("legacy"))["info"]["state"] == "running"


@pytest.mark.parametrize("stack", ["uptime", "web"])
async def test_if_changed_sees_no_change_in_a_ui_stack_or_after_a_failed_fetch(komodo: Komodo, stack: str) -> None:
    komodo.core.state.stack("uptime").config["file_contents"] = NEW_CACHE
    komodo.core.state.push(files={"stacks/web/compose.yaml": NEW_CACHE})
    komodo.core.knobs.failing_git["acme/infra"] = "fatal"

    await komodo.execute("DeployStackIfChanged", stack=stack)
    await komodo.core.state.settled()

    assert komodo.core.history.outcomes(stack) == ["unchanged"]


async def test_an_update_made_inside_if_changed_stays_in_progress_when_the_stack_is_busy(komodo: Komodo) -> None:
    komodo.core.state.push(files={"stacks/cache/compose.yaml": NEW_CACHE})
    komodo.core.knobs.busy.add("cache")

    await komodo.execute("DeployStackIfChanged", stack="cache")
    await komodo.core.state.settled()
    before = (await komodo.read("ListUpdates"))["updates"]
    komodo.core.restart()
    after = (await komodo.read("ListUpdates"))["updates"]

    assert [(update["status"], update["success"]) for update in before] == [("InProgress", True)]
    assert [(update["status"], update["success"]) for update in after] == [("Complete", False)]
    assert komodo.core.history.outcomes("cache") == ["busy"]


# Batches


async def test_a_batch_starts_everything_that_matches_templates_included(komodo: Komodo) -> None:
    answer = await komodo.execute("BatchDeployStack", pattern="# databases\ndb-*, exampl?\n\\^cac\\ # and this")
    await komodo.core.state.settled()

    names = {"db-main", "example", "cache"}
    assert [entry["status"] for entry in answer] == ["Ok"] * 3
    assert all(entry["data"]["status"] == "InProgress" and entry["data"]["_id"]["$oid"] for entry in answer)
    assert {deploy.stack for deploy in komodo.core.history.deploys} == names


async def test_an_item_of_a_batch_that_is_gone_is_an_error_beside_the_others(komodo: Komodo) -> None:
    komodo.core.knobs.vanished.add("web")

    answer = await komodo.execute("BatchDeployStack", pattern="web, cache")

    assert [entry["status"] for entry in answer] == ["Ok", "Err"]
    assert answer[1]["data"] == {
        "name": "web",
        "error": {"error": "Did not find any Stack matching web", "trace": []},
    }


async def test_items_of_a_batch_if_changed_have_no_id(komodo: Komodo) -> None:
    answer = await komodo.execute("BatchDeployStackIfChanged", pattern="web, cache")

    assert [("_id" in entry["data"]) for entry in answer] == [False, False]


# Procedures


def set_stages(komodo: Komodo, *stages: list[tuple[str, dict[str, Any]]]) -> None:
    komodo.core.state.shelves.procedures.find("nightly").config["stages"] = [
        {
            "name": f"stage {number}",
            "enabled": True,
            "executions": [{"execution": {"type": t, "params": p}, "enabled": True} for t, p in entries],
        }
        for number, entries in enumerate(stages)
    ]


async def test_a_procedure_runs_its_stages_in_order_as_the_built_in_user(komodo: Komodo, admin: Komodo) -> None:
    komodo.core.state.push(files={"stacks/cache/compose.yaml": NEW_CACHE})

    parent = await komodo.run("RunProcedure", procedure="nightly")
    children = (await admin.read("ListUpdates", query={"operator": operator_id("Procedure")}))["updates"]

    assert (parent["success"], stages(parent)) == (True, ["Execute procedure", "Execution ok"])
    assert [child["operation"] for child in reversed(children)] == ["PullRepo", "DeployStack", "DeployStack"]
    assert {child["username"] for child in children} == {operator_id("Procedure")}
    assert komodo.core.history.outcomes("db-main") == ["unchanged"]


async def test_a_failed_stage_ends_a_procedure_after_its_siblings(komodo: Komodo) -> None:
    set_stages(
        komodo,
        [("DeployStack", {"stack": "cache"}), ("DeployStack", {"stack": "web"})],
        [("DeployStack", {"stack": "api"})],
    )
    komodo.core.knobs.failing_deploys["cache"] = "no space left"

    parent = await komodo.run("RunProcedure", procedure="nightly")

    assert (parent["success"], stages(parent)[-1]) == (False, "Execution error")
    assert "Execution not successful, see update: 'http://127.0.0.1:9120/updates/" in error(parent)
    assert {deploy.stack for deploy in komodo.core.history.deploys} == {"web"}
    assert (await komodo.read("ListProcedures"))[0]["info"]["state"] == "Failed"


async def test_a_procedure_does_not_run_twice_at_once_nor_itself(komodo: Komodo) -> None:
    procedure = komodo.core.state.shelves.procedures.find("nightly")
    set_stages(komodo, [("RunProcedure", {"procedure": procedure.id})])

    itself = await komodo.run("RunProcedure", procedure="nightly")
    komodo.core.state.hold("nightly")
    await komodo.execute("RunProcedure", procedure="nightly")
    second = await komodo.execute("RunProcedure", procedure="nightly")
    refused = await komodo.read("GetUpdate", id=second["_id"]["$oid"])

    assert "Self referential" in error(itself)
    assert "Resource is busy" in error(refused)


# Restarting Core


async def test_a_restart_ends_what_runs_and_forgets_what_core_holds_in_memory(komodo: Komodo) -> None:
    komodo.core.state.hold("cache")
    running = await komodo.execute("DeployStack", stack="cache")
    await komodo.write("RefreshStackCache", stack="web")
    pushed = komodo.core.state.push(files={"stacks/web/prod.env": "LOG_LEVEL=debug\n"})

    komodo.core.restart()
    await komodo.core.state.settled()
    komodo.core.state.release("cache")
    ended = await komodo.read("GetUpdate", id=running["_id"]["$oid"])
    await komodo.write("RefreshStackCache", stack="web")

    assert (ended["status"], ended["success"], ended["end_ts"]) == ("Complete", False, None)
    assert stages(ended)[-1] == "Komodo shutdown"
    assert not any((await komodo.read("GetStackActionState", stack="cache")).values())
    assert (await komodo.info("web"))["latest_hash"] == pushed.short
    assert (await komodo.run("DeployStack", stack="cache"))["success"] is True
