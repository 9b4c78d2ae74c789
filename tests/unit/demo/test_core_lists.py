"""
Reading resources: the query object, the shapes, the kinds of stacks, and the filters of ListUpdates.
"""

from __future__ import annotations

from typing import Any

import pytest

from demo.core.ids import is_object_id
from demo.core.queries import matches_filter
from tests.unit.demo.conftest import Komodo

REPO_STACKS = ["api", "billing", "cache", "db-main", "example", "legacy", "web", "web-staging", "wiki"]

QUERIES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a term is part of the name": ({"terms": ["WEB"]}, ["web", "web-staging"]),
    "all terms must occur": ({"terms": ["web", "stag"]}, ["web-staging"]),
    "names are exact": ({"names": ["web", "api"]}, ["api", "web"]),
    "names as one text": ({"names": "web, api # both"}, ["api", "web"]),
    "a tag by name": ({"tags": ["edge"]}, ["blog", "monitoring"]),
    "all tags": ({"tags": ["edge", "prod"]}, []),
    "any tag": (
        {"tags": ["edge", "prod"], "tag_behavior": "Any"},
        ["api", "blog", "cache", "db-main", "monitoring", "web"],
    ),
    "only templates": ({"templates": "Only"}, ["example"]),
    "repos, without those of a linked Repo": ({"specific": {"repos": ["acme/infra"]}}, REPO_STACKS),
    "states": ({"specific": {"states": ["stopped", "down"]}}, ["example", "legacy"]),
}


@pytest.mark.parametrize(("query", "names"), QUERIES.values(), ids=QUERIES.keys())
async def test_the_query_object_picks_stacks(komodo: Komodo, query: dict[str, Any], names: list[str]) -> None:
    listed = await komodo.read("ListStacks", query=query)
    full = await komodo.read("ListFullStacks", query=query)

    assert [item["name"] for item in listed] == names
    assert [stack["name"] for stack in full] == names


async def test_ids_and_names_in_one_query_exclude_each_other(komodo: Komodo) -> None:
    web, api = komodo.core.state.stack("web"), komodo.core.state.stack("api")

    mixed = await komodo.read("ListStacks", query={"names": [web.id, "api"]})
    ids = await komodo.read("ListStacks", query={"names": [web.id, api.id]})

    assert mixed == []
    assert [item["name"] for item in ids] == ["api", "web"]


async def test_templates_are_included_unless_excluded(komodo: Komodo) -> None:
    everything = await komodo.read("ListStacks")
    without = await komodo.read("ListStacks", query={"templates": "Exclude"})

    assert {item["name"] for item in everything} - {item["name"] for item in without} == {"example"}


async def test_lists_are_sorted_as_asked(komodo: Komodo) -> None:
    by_host = await komodo.read("ListStacks", sort_by="Host", sort_desc=True)
    response = await komodo.post("read", "ListStacks", sort_by="Colour")

    hosts = [item["info"]["server_name"] for item in by_host]
    assert hosts == sorted(hosts, reverse=True)
    assert response.status_code == 500


async def test_list_items_have_id_and_full_resources_have_oid(komodo: Komodo) -> None:
    item = await komodo.item("web")
    full = await komodo.read("GetStack", id="web")

    assert "_id" not in item
    assert "id" not in full
    assert full["_id"] == {"$oid": item["id"]}
    assert is_object_id(item["id"])
    assert item["tags"] == [tag["_id"]["$oid"] for tag in await komodo.read("ListTags") if tag["name"] == "prod"]


async def test_a_linked_repo_gives_the_list_item_its_repository(komodo: Komodo) -> None:
    info = (await komodo.item("monitoring"))["info"]
    config = (await komodo.read("GetStack", stack="monitoring"))["config"]

    assert (info["repo"], info["branch"], info["linked_repo_name"]) == ("acme/infra", "main", "infra")
    assert config["repo"] == ""


async def test_stacks_without_a_repository_still_report_defaults(komodo: Komodo) -> None:
    for name in ("uptime", "homeassistant"):
        info = (await komodo.item(name))["info"]

        assert (info["git_provider"], info["repo"], info["branch"]) == ("github.com", "", "main")
        assert info["repo_link"] == "https://github.com//tree/main"
        assert info["latest_hash"] is None


async def test_the_kinds_of_stacks_show_in_their_list_items(komodo: Komodo) -> None:
    infos = {item["name"]: item["info"] for item in await komodo.read("ListStacks", limit=0)}

    assert infos["homeassistant"]["files_on_host"] is True
    assert infos["monitoring"]["linked_repo"] != ""
    assert infos["web"]["repo"] == "acme/infra"
    assert infos["uptime"]["file_contents"] is True


async def test_config_files_leave_out_what_is_default(komodo: Komodo) -> None:
    config = (await komodo.read("GetStack", stack="web"))["config"]

    assert config["config_files"] == [{"path": "config/app.yml", "services": ["app"], "requires": "Restart"}]
    assert config["additional_env_files"] == [{"path": "prod.env", "track": True}]


async def test_a_stack_of_an_unreachable_server_is_unknown(komodo: Komodo) -> None:
    komodo.core.knobs.server_states["prod-1"] = "NotOk"

    server = (await komodo.read("ListServers", query={"names": ["prod-1"]}))[0]["info"]
    stack = (await komodo.item("web"))["info"]

    assert (server["state"], server["stats"], server["version"]) == ("NotOk", None, None)
    assert server["err"]["error"]
    assert (stack["state"], stack["status"]) == ("unknown", None)


async def test_procedures_hold_ids_and_repos_their_last_pull(komodo: Komodo) -> None:
    procedure = await komodo.read("GetProcedure", procedure="nightly")
    listed = await komodo.read("ListProcedures")
    repo = (await komodo.read("ListRepos"))[0]

    first = procedure["config"]["stages"][0]["executions"][0]["execution"]
    assert first == {"type": "PullRepo", "params": {"repo": repo["id"]}}
    assert procedure["info"] is None
    assert listed[0]["info"]["state"] == "Ok"
    assert repo["info"]["repo"] == "acme/infra"


async def test_core_says_its_default_page_size(komodo: Komodo) -> None:
    assert (await komodo.read("GetCoreInfo"))["default_pagination_limit"] == 50


# Refreshing


async def test_a_failed_fetch_is_200_and_leaves_an_error_in_place_of_the_files(komodo: Komodo) -> None:
    komodo.core.knobs.failing_git["acme/infra"] = "fatal: could not read from remote"

    assert await komodo.write("RefreshStackCache", stack="cache") == {}
    info = await komodo.info("cache")

    assert (info["remote_contents"], info["latest_services"], info["latest_hash"]) == ([], [], None)
    assert info["remote_errors"] == [{"path": "Failed at: Git Fetch", "contents": "fatal: could not read from remote"}]
    assert info["deployed_contents"]


async def test_a_missing_file_of_a_git_stack_is_missing_and_of_a_host_stack_an_error(komodo: Komodo) -> None:
    komodo.core.state.push(files={"stacks/cache/compose.yaml": None})
    del komodo.core.state.stack("homeassistant").host_files["compose.yaml"]

    await komodo.write("RefreshStackCache", stack="cache")
    await komodo.write("RefreshStackCache", stack="homeassistant")
    git, host = await komodo.info("cache"), await komodo.info("homeassistant")

    assert git["missing_files"] == ["compose.yaml"]
    assert host["missing_files"] == []
    assert [error["path"] for error in host["remote_errors"]] == ["compose.yaml"]


async def test_a_refresh_knows_files_outside_the_run_directory_and_what_they_require(komodo: Komodo) -> None:
    await komodo.write("RefreshStackCache", stack="web")

    remote = (await komodo.info("web"))["remote_contents"]

    assert [(file["path"], file["requires"]) for file in remote] == [
        ("compose.yaml", "Redeploy"),
        ("../shared/proxy.yaml", "Redeploy"),
        ("prod.env", "Redeploy"),
        ("config/app.yml", "Restart"),
    ]


async def test_a_pinned_stack_stays_at_its_commit(komodo: Komodo) -> None:
    komodo.core.state.push(files={"stacks/billing/compose.yaml": "services: {}\n"})

    await komodo.write("RefreshStackCache", stack="billing")

    assert (await komodo.info("billing"))["latest_message"] == "first version"


async def test_a_ui_stack_has_neither_remote_contents_nor_errors(komodo: Komodo) -> None:
    await komodo.write("RefreshStackCache", stack="uptime")

    info = await komodo.info("uptime")

    assert (info["remote_contents"], info["remote_errors"], info["latest_hash"]) == (None, None, None)
    assert info["latest_services"][0]["service_name"] == "uptime"


async def test_a_deleted_branch_is_an_error_of_the_refresh(komodo: Komodo) -> None:
    komodo.core.state.delete_branch("staging")

    await komodo.write("RefreshStackCache", stack="web-staging")

    assert (await komodo.info("web-staging"))["remote_errors"][0]["path"] == "Failed at: Checkout branch"


# Updates


async def test_updates_come_newest_first_in_pages_of_a_hundred(komodo: Komodo) -> None:
    for _ in range(120):
        await komodo.execute("DeployStack", stack="cache")
    await komodo.core.state.settled()

    first = await komodo.read("ListUpdates")
    second = await komodo.read("ListUpdates", page=1)

    ids = [update["id"] for update in first["updates"] + second["updates"]]
    assert (len(first["updates"]), first["next_page"]) == (100, 1)
    assert (len(second["updates"]), second["next_page"]) == (20, None)
    assert ids == sorted(ids, reverse=True)
    assert not {"logs", "end_ts", "_id"} & set(first["updates"][0])


async def test_updates_are_found_by_ids_and_by_target_operator_and_time(komodo: Komodo) -> None:
    cache = await komodo.run("DeployStack", stack="cache")
    await komodo.run("DeployStack", stack="web")
    target = cache["target"]["id"]

    by_ids = await komodo.read("ListUpdates", query={"_id": {"$in": [cache["_id"]]}})
    by_target = await komodo.read(
        "ListUpdates",
        query={
            "target.type": "Stack",
            "target.id": target,
            "operator": cache["operator"],
            "start_ts": {"$gte": cache["start_ts"]},
        },
    )
    later = await komodo.read(
        "ListUpdates", query={"target.id": target, "start_ts": {"$gt": cache["start_ts"] + 60_000}}
    )

    assert [update["id"] for update in by_ids["updates"]] == [cache["_id"]["$oid"]]
    assert by_ids["updates"] == by_target["updates"]
    assert later["updates"] == []


async def test_updates_of_the_system_are_for_admins(komodo: Komodo, admin: Komodo) -> None:
    alert = await komodo.execute("SendAlert", message="hello")
    await komodo.core.state.settled()

    refused = await komodo.post("read", "GetUpdate", id=alert["_id"]["$oid"])

    assert alert["target"] == {"type": "System", "id": "system"}
    assert refused.status_code == 500
    assert (await admin.read("GetUpdate", id=alert["_id"]["$oid"]))["success"] is True


FILTERS = [
    ({}, True),
    ({"a.b": 1}, True),
    ({"a.b": 2}, False),
    ({"a.c": None}, True),
    ({"n": {"$gte": 5, "$lt": 6}}, True),
    ({"n": {"$gt": 5}}, False),
    ({"n": {"$lte": 5}}, True),
    ({"n": {"$gte": "5"}}, False),
    ({"missing": {"$gt": 1}}, False),
    ({"s": {"$in": ["x", "y"]}}, True),
    ({"s": {"$nin": ["x"]}}, False),
    ({"s": {"$ne": "y"}}, True),
    ({"_id": {"$oid": "01"}}, True),
    ({"_id": "01"}, False),
    ({"_id": {"$in": [{"$oid": "01"}]}}, True),
    ({"$or": [{"n": 1}, {"s": "x"}]}, True),
    ({"$and": [{"n": 5}, {"s": "y"}]}, False),
]


@pytest.mark.parametrize(("wanted", "matches"), FILTERS, ids=[str(wanted) for wanted, _ in FILTERS])
def test_a_filter_matches_as_in_mongodb(wanted: dict[str, Any], matches: bool) -> None:
    document = {"_id": {"$oid": "01"}, "a": {"b": 1}, "n": 5, "s": "x"}

    assert matches_filter(wanted, document) is matches


async def test_an_operator_that_is_not_known_is_refused(komodo: Komodo) -> None:
    await komodo.run("DeployStack", stack="cache")

    response = await komodo.post("read", "ListUpdates", query={"start_ts": {"$near": 1}})

    assert response.status_code == 500
    assert response.json()["trace"] == ["unknown operator: $near"]
