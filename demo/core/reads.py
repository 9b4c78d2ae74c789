"""
The `/read` variants that are simulated, as one table from name to function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from demo.core import params as read
from demo.core import queries, stacks
from demo.core.accounts import Account
from demo.core.errors import BadParams, CoreError, forbidden
from demo.core.resources import STACK_ACTIONS, Json, Procedure, Repo, Resource, Server
from demo.core.state import State
from demo.core.updates import PAGE

Answer = Any
Info = Callable[[Json], Any]


def _by(*path: str) -> Info:
    """
    Make a sorting key that puts what has no value first.
    """

    def key(item: Json) -> Any:
        value: Any = item
        for part in path:
            value = (value or {}).get(part)
        return value is not None, value

    return key


_NAME: dict[str, Info] = {"Name": _by("name")}


def _visible(state: State, account: Account, kind: str, params: Json) -> Iterator[Any]:
    """
    Yield, in name order, what the user may read and the query's common part lets through.
    """
    matches = queries.basic(read.optional_object(params, "query"), state.tag_id)
    return (r for r in state.shelves[kind] if matches(r) and state.may(account, r, "Read"))


def _specific(params: Json) -> Json:
    return read.optional_object(read.optional_object(params, "query"), "specific")


def _paged(state: State, items: list[Json], params: Json) -> list[Json]:
    return queries.page(items, params, default_limit=state.config.default_pagination_limit)


def _readable(state: State, account: Account, kind: str, params: Json) -> Any:
    """
    Find the one resource that the parameters name. "Forbidden" is an HTTP 500 like "not found".
    """
    resource: Resource = state.shelves[kind].find(read.text(params, kind.lower(), "id", "name"))
    state.require(account, resource, "Read")
    return resource


# Stacks


def _list_stacks(state: State, account: Account, params: Json) -> Answer:
    specific = _specific(params)
    found = [s for s in _visible(state, account, "Stack", params) if _stack_matches(s.config, specific)]
    updatable = bool(specific.get("update_available"))
    items = [stacks.list_item(state, s) for s in found if s.update_available or not updatable]
    states = queries.texts(specific.get("states"))
    shown = [item for item in items if not states or item["info"]["state"] in states]
    keys = {
        **_NAME,
        "Source": _by("info", "repo"),
        "Host": _by("info", "server_name"),
        "State": _by("info", "state"),
    }
    return _paged(state, queries.ordered(shown, params, keys), params)


def _list_full_stacks(state: State, account: Account, params: Json) -> Answer:
    """
    `update_available` is ignored here, as in Komodo.
    """
    specific = _specific(params)
    states = queries.texts(specific.get("states"))
    return _paged(
        state,
        [
            stack.full(stack.info)
            for stack in _visible(state, account, "Stack", params)
            if _stack_matches(stack.config, specific) and (not states or stacks.shown_state(state, stack) in states)
        ],
        params,
    )


_STACK_FIELDS = {"server_ids": "server_id", "swarm_ids": "swarm_id", "linked_repos": "linked_repo", "repos": "repo"}


def _stack_matches(config: Json, specific: Json) -> bool:
    """
    Compare the stack's own config; a repo reached through a linked Repo is not seen.
    """
    return all(
        config[field] in wanted
        for query, field in _STACK_FIELDS.items()
        if (wanted := queries.texts(specific.get(query)))
    )


def _get_stack(state: State, account: Account, params: Json) -> Answer:
    stack = _readable(state, account, "Stack", params)
    return stack.full(stack.info)


def _get_stack_action_state(state: State, account: Account, params: Json) -> Answer:
    stack = _readable(state, account, "Stack", params)
    acting = stack.acting | {"deploying"} if state.is_held(stack) else stack.acting
    return {flag: flag in acting for flag in STACK_ACTIONS}


# Servers, repos and procedures


def _list_servers(state: State, account: Account, params: Json) -> Answer:
    states = queries.texts(_specific(params).get("states"))
    items = [_server_item(state, server) for server in _visible(state, account, "Server", params)]
    shown = [item for item in items if not states or item["info"]["state"] in states]
    fields = ("Region", "Version", "State")
    keys = {
        **_NAME,
        **{field: _by("info", field.lower()) for field in fields},
        "Cpu": _by("info", "stats", "cpu_perc"),
        "Memory": _by("info", "stats", "mem_used_gb"),
        "Disk": _by("info", "stats", "disk_used_gb"),
        "LoadAverage": _by("info", "stats", "load_average", "one"),
        "Network": _by("info", "stats", "network_ingress_bytes"),
    }
    return _paged(state, queries.ordered(shown, params, keys), params)


def _server_item(state: State, server: Server) -> Json:
    found = state.server_state(server)
    alive = found == "Ok"
    now = state.now_ms()
    return server.item(
        {
            "state": found,
            "err": {"error": "failed to connect to periphery", "trace": []} if found == "NotOk" else None,
            "stats": {**_STATS, "refresh_ts": now, "refresh_list_ts": now} if alive else None,
            "alerting_thresholds": _THRESHOLDS,
            "core_count": 4,
            "logical_core_count": 8,
            "region": server.region,
            "address": None,
            "external_address": None,
            "public_ip": "203.0.113.9",
            "send_unreachable_alerts": True,
            "send_cpu_alerts": True,
            "send_mem_alerts": True,
            "send_disk_alerts": True,
            "send_version_mismatch_alerts": True,
            "version": state.config.version if alive else None,
            "public_key": "MCowBQYDK2VuAyEA",
            "attempted_public_key": None,
            "terminals_disabled": False,
            "container_terminals_disabled": False,
        }
    )


_STATS: Json = {
    "cpu_perc": 3.1,
    "load_average": {"one": 0.1, "five": 0.2, "fifteen": 0.1},
    "mem_free_gb": 1.0,
    "mem_used_gb": 3.2,
    "mem_total_gb": 8.0,
    "mem_buff_cache_gb": 2.1,
    "mem_zfs_arc_gb": 0.0,
    "swap_total_gb": 0.0,
    "swap_used_gb": 0.0,
    "disk_total_gb": 80.0,
    "disk_used_gb": 21.0,
    "network_ingress_bytes": 1.0,
    "network_egress_bytes": 1.0,
    "polling_rate": "5-sec",
}
_THRESHOLDS: Json = {
    "cpu_warning": 90.0,
    "cpu_critical": 99.0,
    "mem_warning": 75.0,
    "mem_critical": 95.0,
    "disk_warning": 75.0,
    "disk_critical": 95.0,
}


def _repo_state(repo: Repo) -> str:
    for flag, shown in (("cloning", "Cloning"), ("pulling", "Pulling"), ("building", "Building")):
        if flag in repo.acting:
            return shown
    return "Failed" if repo.failed else "Ok"


def _list_repos(state: State, account: Account, params: Json) -> Answer:
    specific = _specific(params)
    repos, server_ids = (queries.texts(specific.get(field)) for field in ("repos", "server_ids"))
    states = queries.texts(specific.get("states"))
    items = [
        _repo_item(state, repo)
        for repo in _visible(state, account, "Repo", params)
        if (not repos or repo.config["repo"] in repos)
        and (not server_ids or repo.config["server_id"] in server_ids)
        and (not states or _repo_state(repo) in states)
    ]
    keys = {**_NAME, **{field: _by("info", field.lower()) for field in ("Repo", "Branch", "State")}}
    return _paged(state, queries.ordered(items, params, keys), params)


def _repo_item(state: State, repo: Repo) -> Json:
    config = repo.config
    server = state.shelves.servers.get(config["server_id"]) if config["server_id"] else None
    return repo.item(
        {
            "server_id": config["server_id"],
            "server_name": server.name if server else "",
            "builder_id": config["builder_id"],
            "last_pulled_at": repo.pulled_at,
            "last_built_at": repo.built_at,
            "git_provider": config["git_provider"],
            "repo": config["repo"],
            "branch": config["branch"],
            "repo_link": stacks.repo_link(config),
            "state": _repo_state(repo),
            "cloned_hash": repo.hash,
            "cloned_message": repo.message,
            "built_hash": repo.built_hash,
            "latest_hash": repo.hash,
        }
    )


def _full_repo(repo: Repo) -> Json:
    return repo.full(
        {
            "last_pulled_at": repo.pulled_at,
            "last_built_at": repo.built_at,
            "built_hash": repo.built_hash,
            "latest_hash": repo.hash,
            "latest_message": repo.message,
        }
    )


def _list_full_repos(state: State, account: Account, params: Json) -> Answer:
    repos = queries.texts(_specific(params).get("repos"))
    found = _visible(state, account, "Repo", params)
    return _paged(state, [_full_repo(r) for r in found if not repos or r.config["repo"] in repos], params)


def _get_repo(state: State, account: Account, params: Json) -> Answer:
    return _full_repo(_readable(state, account, "Repo", params))


def _procedure_state(procedure: Procedure) -> str:
    if "running" in procedure.acting:
        return "Running"
    return "Failed" if procedure.failed else "Ok"


def _list_procedures(state: State, account: Account, params: Json) -> Answer:
    specific = _specific(params)
    states, scheduled = queries.texts(specific.get("states")), specific.get("scheduled")
    items = [
        procedure.item(
            {
                "stages": len(procedure.config["stages"]),
                "state": _procedure_state(procedure),
                "last_run_at": procedure.last_run_at,
                "next_scheduled_run": None,
                "schedule_error": None,
            }
        )
        for procedure in _visible(state, account, "Procedure", params)
        if (not states or _procedure_state(procedure) in states)
        and (scheduled is None or bool(procedure.config["schedule"]) == scheduled)
    ]
    keys = {**_NAME, "State": _by("info", "state"), "NextRun": _by("info", "next_scheduled_run")}
    return _paged(state, queries.ordered(items, params, keys), params)


def _get_procedure(state: State, account: Account, params: Json) -> Answer:
    procedure: Procedure = _readable(state, account, "Procedure", params)
    return procedure.full(None)


# Tags, updates and Core itself


def _list_tags(state: State, _: Account, params: Json) -> Answer:
    wanted = read.optional_object(params, "query")
    return [wire for tag in state.tags if queries.matches_filter(wanted, wire := tag.wire())]


def _get_tag(state: State, _: Account, params: Json) -> Answer:
    tag_id = state.tag_id(read.text(params, "tag", "id", "name"))
    return next(tag.wire() for tag in state.tags if tag.id == tag_id)


def _get_update(state: State, account: Account, params: Json) -> Answer:
    update = state.updates.by_id.get(read.text(params, "id"))
    if update is None:
        raise CoreError("no update exists with given id")
    if not state.may_see(account, update):
        if update.target_type == "System":
            raise CoreError("user must be admin to view system updates")
        raise forbidden(update.target_type, "Read")
    return update.wire()


def _list_updates(state: State, account: Account, params: Json) -> Answer:
    number = params.get("page") or 0
    if not isinstance(number, int) or number < 0:
        raise BadParams("invalid type: expected u32")
    items: list[Json] = []
    skipped, more = 0, False
    for update in state.updates.matching(read.optional_object(params, "query")):
        if not state.may_see(account, update):
            continue
        if skipped < number * PAGE:
            skipped += 1
        elif len(items) < PAGE:
            items.append(update.item())
        else:
            more = True
            break
    return {"updates": items, "next_page": number + 1 if more else None}


def _get_version(state: State, _: Account, __: Json) -> Answer:
    return {"version": state.config.version}


def _get_core_info(state: State, _: Account, __: Json) -> Answer:
    config = state.config
    return {
        "title": config.title,
        "monitoring_interval": config.monitoring_interval,
        "webhook_base_url": config.host,
        "transparent_mode": config.transparent_mode,
        "ui_write_disabled": False,
        "disable_confirm_dialog": False,
        "disable_non_admin_create": False,
        "disable_websocket_reconnect": False,
        "enable_fancy_toml": False,
        "timezone": "",
        "public_key": "MCowBQYDK2VuAyEA",
        "default_pagination_limit": config.default_pagination_limit,
    }


READS: dict[str, Callable[[State, Account, Json], Answer]] = {
    "GetVersion": _get_version,
    "GetCoreInfo": _get_core_info,
    "ListStacks": _list_stacks,
    "ListFullStacks": _list_full_stacks,
    "GetStack": _get_stack,
    "GetStackActionState": _get_stack_action_state,
    "ListServers": _list_servers,
    "ListRepos": _list_repos,
    "ListFullRepos": _list_full_repos,
    "GetRepo": _get_repo,
    "ListProcedures": _list_procedures,
    "GetProcedure": _get_procedure,
    "ListTags": _list_tags,
    "GetTag": _get_tag,
    "GetUpdate": _get_update,
    "ListUpdates": _list_updates,
}
