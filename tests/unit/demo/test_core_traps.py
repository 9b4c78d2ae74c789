"""
The eleven traps of Komodo's API that bite first, each as it bites.
"""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.unit.demo.conftest import Komodo

CHANGED = "services:\n  valkey:\n    image: docker.io/valkey/valkey:9\n"


def only_log(update: Any) -> Any:
    assert len(update["logs"]) == 1
    return update["logs"][0]


async def test_execute_answers_in_progress_before_it_looks_at_permission(komodo: Komodo) -> None:
    komodo.core.knobs.forbidden_users.add("kgw")

    answer = await komodo.execute("DeployStack", stack="cache")
    await komodo.core.state.settled()
    update = await komodo.read("GetUpdate", id=answer["_id"]["$oid"])

    assert answer["status"] == "InProgress"
    assert update["status"] == "Complete"
    assert update["success"] is False
    assert only_log(update)["stage"] == "Task Error"
    assert "Must have at least Execute permissions" in only_log(update)["stderr"]
    assert komodo.core.history.outcomes("cache") == ["forbidden"]


async def test_an_update_in_progress_already_says_success(komodo: Komodo) -> None:
    komodo.core.knobs.failing_deploys["cache"] = "pull access denied"

    answer = await komodo.execute("DeployStack", stack="cache")
    await komodo.core.state.settled()
    update = await komodo.read("GetUpdate", id=answer["_id"]["$oid"])

    assert (answer["status"], answer["success"]) == ("InProgress", True)
    assert (update["status"], update["success"]) == ("Complete", False)
    assert update["logs"][-1]["stderr"] == "pull access denied"


async def test_deploy_if_changed_has_no_id_and_stores_nothing_without_a_change(komodo: Komodo) -> None:
    answer = await komodo.execute("DeployStackIfChanged", stack="cache")
    await komodo.core.state.settled()

    assert "_id" not in answer
    assert answer["status"] == "InProgress"
    assert (await komodo.read("ListUpdates"))["updates"] == []
    assert komodo.core.history.outcomes("cache") == ["unchanged"]


async def test_an_update_may_stay_in_progress_until_core_restarts(komodo: Komodo) -> None:
    komodo.core.knobs.never_complete.add("cache")

    lost = await komodo.run("DeployStack", stack="cache")
    komodo.core.restart()
    ended = await komodo.read("GetUpdate", id=lost["_id"]["$oid"])

    assert lost["status"] == "InProgress"
    assert (ended["status"], ended["success"], ended["end_ts"]) == ("Complete", False, None)
    assert ended["logs"][-1]["stage"] == "Komodo shutdown"


@pytest.mark.parametrize(
    ("area", "variant"), [("read", "GetStack"), ("write", "RefreshStackCache"), ("execute", "DeployStack")]
)
async def test_not_found_is_a_500_on_read_write_and_execute(komodo: Komodo, area: str, variant: str) -> None:
    response = await komodo.post(area, variant, stack="nowhere")

    assert response.status_code == 500
    assert response.json() == {"error": "Did not find any Stack matching nowhere", "trace": []}


async def test_forbidden_is_a_500_on_write(komodo: Komodo) -> None:
    komodo.core.knobs.forbidden_users.add("kgw")

    response = await komodo.post("write", "RefreshStackCache", stack="cache")

    assert response.status_code == 500
    assert "does not have required permissions on this Stack" in response.json()["error"]


class TestPages:
    @pytest.fixture
    def more(self) -> dict[str, list[dict[str, Any]]]:
        stacks = [{"name": f"bulk-{n:02}", "config": {"server": "prod-1", "file_contents": CHANGED}} for n in range(60)]
        return {"stack": stacks}

    async def test_lists_end_at_fifty_and_limit_zero_is_everything(self, komodo: Komodo) -> None:
        default = await komodo.read("ListStacks")
        second = await komodo.read("ListStacks", page=1)
        everything = await komodo.read("ListStacks", limit=0)
        full = await komodo.read("ListFullStacks")

        assert len(default) == len(full) == 50
        assert len(everything) == 73
        assert default + second == everything


async def test_a_batch_pattern_matches_names_and_never_ids(komodo: Komodo) -> None:
    cache = komodo.core.state.stack("cache")

    by_id = await komodo.execute("BatchDeployStack", pattern=cache.id)
    by_name = await komodo.execute("BatchDeployStack", pattern="cache")
    by_other_case = await komodo.execute("BatchDeployStack", pattern="Cache")

    assert by_id == by_other_case == []
    assert len(by_name) == 1


async def test_batch_tags_count_when_direct_and_are_ignored_inside_a_procedure(komodo: Komodo) -> None:
    direct = await komodo.execute("BatchDeployStack", pattern="cache, blog", tags=["edge"])
    stage = {"type": "BatchDeployStack", "params": {"pattern": "cache, blog", "tags": ["edge"]}}
    procedure = komodo.core.state.shelves.procedures.find("nightly")
    procedure.config["stages"] = [
        {"name": "all", "enabled": True, "executions": [{"execution": stage, "enabled": True}]}
    ]
    await komodo.core.state.settled()
    komodo.core.history.clear()
    await komodo.run("RunProcedure", procedure="nightly")

    assert [entry["data"]["target"]["id"] for entry in direct] == [komodo.core.state.stack("blog").id]
    assert {deploy.stack for deploy in komodo.core.history.deploys} == {"blog", "cache"}


async def test_a_push_just_after_a_pull_of_the_same_repo_is_not_seen_by_a_refresh(komodo: Komodo) -> None:
    await komodo.write("RefreshStackCache", stack="web")  # the checkout is shared by all stacks of the branch
    komodo.core.state.push(files={"stacks/cache/compose.yaml": CHANGED})

    await komodo.write("RefreshStackCache", stack="cache")
    stale = await komodo.info("cache")
    komodo.core.knobs.pull_cache_seconds = 0
    await komodo.write("RefreshStackCache", stack="cache")
    fresh = await komodo.info("cache")

    assert stale["remote_contents"][0]["contents"] != CHANGED
    assert fresh["remote_contents"][0]["contents"] == CHANGED
    assert fresh["latest_hash"] != stale["latest_hash"]


async def test_a_push_just_after_a_pull_on_the_server_is_not_deployed(komodo: Komodo) -> None:
    await komodo.run("PullStack", stack="cache")
    pushed = komodo.core.state.push(files={"stacks/cache/compose.yaml": CHANGED})

    await komodo.run("DeployStack", stack="cache")
    stale = await komodo.info("cache")
    komodo.core.knobs.pull_cache_seconds = 0
    await komodo.run("DeployStack", stack="cache")

    assert stale["deployed_hash"] != pushed.short
    assert (await komodo.info("cache"))["deployed_hash"] == pushed.short


async def test_an_authorization_header_beats_a_valid_key(komodo: Komodo) -> None:
    response = await komodo.http.post("/read/GetVersion", json={}, headers={"Authorization": "Basic dTpw"})

    assert response.status_code == 500
    assert response.json()["error"] == "Invalid user credentials"


async def test_log_text_holds_html(komodo: Komodo) -> None:
    komodo.core.knobs.busy.add("cache")

    text = only_log(await komodo.run("DeployStack", stack="cache"))["stderr"]

    assert re.sub(r"<[^>]+>", "", text) == "ERROR: Resource is busy"
    assert text.startswith("<span style=")


async def test_the_version_needs_no_login(komodo: Komodo) -> None:
    async with httpx.AsyncClient() as anyone:
        response = await anyone.get(f"{komodo.core.url}/version")

    assert (response.status_code, response.text) == (200, "2.3.2")
    assert response.headers["content-type"].startswith("text/plain")
