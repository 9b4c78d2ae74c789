"""
Providers' APIs, simulated on a real port: they answer as documented, a page at a time, and only to who has the token.

Their pages name the next one by an address of somebody else's host, as a provider behind a wrongly configured proxy does: nobody may go there.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo.core.serve import _listen, _start, _stop
from shared.provider_api.access import ProviderAccess

TOKEN = "Xk7-a-token-of-the-tests"
ELSEWHERE = "http://elsewhere.invalid"
HTML = Response("<html><title>Down for maintenance</title></html>", media_type="text/html")

BEARER = ("authorization", f"Bearer {TOKEN}")
AUTHS = {
    "github": BEARER,
    "gitlab": ("private-token", TOKEN),
    "gitea": ("authorization", f"token {TOKEN}"),
    "forgejo": ("authorization", f"token {TOKEN}"),
    "bitbucket": BEARER,
    "azure": ("authorization", f"Basic {b64encode(f':{TOKEN}'.encode()).decode()}"),
}
PREFIXES = {
    "github": "",
    "gitlab": "/api/v4",
    "gitea": "/api/v1",
    "forgejo": "/api/v1",
    "bitbucket": "/2.0",
    "azure": "",
}
KINDS = tuple(PREFIXES)


@dataclass
class Delivery:
    """One try of GitHub's, as its list shows it."""

    id: int
    guid: str
    at: datetime
    status_code: int = 502
    event: str = "push"

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "guid": self.guid,
            "delivered_at": self.at.isoformat().replace("+00:00", "Z"),
            "redelivery": False,
            "duration": 0.1,
            "status": "OK" if self.status_code < 300 else f"Invalid HTTP Response: {self.status_code}",
            "status_code": self.status_code,
            "event": self.event,
            "action": None,
            "throttled_at": None,
        }


@dataclass
class Provider:
    """
    One provider: its repositories with their branches, its failures, and who has asked what. `faults` are given instead of answers, one each;
    `always` stays.
    """

    kind: str
    url: str = ""
    page_size: int = 2
    repositories: dict[str, dict[str, str]] = field(default_factory=dict)
    faults: list[Response] = field(default_factory=list)
    always: Response | None = None
    asked: list[str] = field(default_factory=list)
    hook_url: str = "https://hooks.example.com/listener/github/global"
    deliveries: list[Delivery] = field(default_factory=list)
    resend: Callable[[Delivery], Awaitable[int]] | None = None

    def access(self, **more: Any) -> ProviderAccess:
        """What an operator would write into the settings."""
        values: dict[str, Any] = {"kind": self.kind, "url": self.url + PREFIXES[self.kind], "token": TOKEN} | more
        return ProviderAccess.model_validate(values)

    async def answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode()
        self.asked.append(f"{request.method} {path}")
        name, value = AUTHS[self.kind]
        if self.faults:
            return self.faults.pop(0)
        if self.always is not None:
            return self.always
        if request.headers.get(name) != value:
            return JSONResponse({"message": "Bad credentials"}, 401)
        if not path.startswith(PREFIXES[self.kind]):
            return JSONResponse({"message": "Not Found"}, 404)
        return await _ROUTES[self.kind](self, request, path.removeprefix(PREFIXES[self.kind]))

    def page(self, request: Request, items: list[Any]) -> tuple[list[Any], str | None]:
        """The asked page of these, and the address of the next one."""
        number = int(request.query_params.get("page", "1"))
        start = (number - 1) * self.page_size
        query = urlencode({**request.query_params, "page": number + 1})
        more = start + self.page_size < len(items)
        return items[start : start + self.page_size], f"{ELSEWHERE}/repositories/1?{query}" if more else None

    def linked(self, request: Request, items: list[Any]) -> Response:
        """A list whose next page a Link header names."""
        page, following = self.page(request, items)
        headers = {"Link": f'<{following}>; rel="next", <{ELSEWHERE}>; rel="last"'} if following else {}
        return JSONResponse(page, headers=headers)


def _missing() -> Response:
    return JSONResponse({"message": "Not Found"}, 404)


async def _github(self: Provider, request: Request, path: str) -> Response:
    parts = path.strip("/").split("/")
    branches = self.repositories.get(unquote("/".join(parts[1:3])))
    match parts[3:]:
        case _ if parts[0] != "repos" or branches is None:
            return _missing()
        case ["branches"]:
            items = [{"name": name, "commit": {"sha": sha}, "protected": False} for name, sha in branches.items()]
            return self.linked(request, items)
        case ["hooks"]:
            hooks = [
                {"type": "Repository", "id": 1, "active": True, "config": {"url": "https://ci.example.com/hook"}},
                {"type": "Repository", "id": 2, "active": False, "config": {"url": self.hook_url}},
                {"type": "Repository", "id": 7, "active": True, "config": {"url": self.hook_url}},
            ]
            return self.linked(request, hooks)
        case ["hooks", "7", "deliveries"]:
            newest_first = sorted(self.deliveries, key=lambda one: one.at, reverse=True)
            return self.linked(request, [one.shown() for one in newest_first])
        case ["hooks", "7", "deliveries", number, "attempts"] if request.method == "POST" and self.resend:
            (delivery,) = [one for one in self.deliveries if one.id == int(number)]
            status = await self.resend(delivery)
            self.deliveries.append(Delivery(1000 + delivery.id, delivery.guid, delivery.at, status, delivery.event))
            return JSONResponse({}, 202)
    return _missing()


async def _gitlab(self: Provider, request: Request, path: str) -> Response:
    match path.strip("/").split("/"):
        case ["projects", project, "repository", "branches"] if unquote(project) in self.repositories:
            branches = self.repositories[unquote(project)]
            items = [{"name": name, "commit": {"id": sha, "short_id": sha[:8]}} for name, sha in branches.items()]
            return self.linked(request, items)
    return _missing()


async def _gitea(self: Provider, request: Request, path: str) -> Response:
    match path.strip("/").split("/"):
        case ["repos", owner, name, "branches"] if f"{owner}/{name}" in self.repositories:
            branches = self.repositories[f"{owner}/{name}"]
            return self.linked(request, [{"name": one, "commit": {"id": sha}} for one, sha in branches.items()])
    return _missing()


async def _bitbucket(self: Provider, request: Request, path: str) -> Response:
    match path.strip("/").split("/"):
        case ["repositories", team, name, "refs", "branches"] if f"{team}/{name}" in self.repositories:
            branches = self.repositories[f"{team}/{name}"]
            items = [{"type": "branch", "name": one, "target": {"hash": sha}} for one, sha in branches.items()]
            page, following = self.page(request, items)
            more = {"next": following} if following else {}
            return JSONResponse({"values": page, "pagelen": self.page_size, **more})
    return _missing()


async def _azure(self: Provider, request: Request, path: str) -> Response:
    match [unquote(part) for part in path.strip("/").split("/")]:
        case [organization, project, "_apis", "git", "repositories", name, "refs"]:
            branches = self.repositories.get(f"{organization}/{project}/{name}")
            if branches is None or request.query_params.get("filter") != "heads/":
                return _missing()
            start = int(request.query_params.get("continuationToken", "0"))
            refs = [{"name": f"refs/heads/{one}", "objectId": sha} for one, sha in branches.items()]
            end = start + self.page_size
            headers = {"x-ms-continuationtoken": str(end)} if end < len(refs) else {}
            return JSONResponse({"value": refs[start:end], "count": len(refs[start:end])}, headers=headers)
    return _missing()


_ROUTES: dict[str, Callable[[Provider, Request, str], Awaitable[Response]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "gitea": _gitea,
    "forgejo": _gitea,
    "bitbucket": _bitbucket,
    "azure": _azure,
}


@asynccontextmanager
async def served(provider: Provider) -> AsyncIterator[Provider]:
    """The provider on a free port of 127.0.0.1, until the block ends."""
    listening = _listen(0)
    app = Starlette(routes=[Route("/{path:path}", provider.answer, methods=["GET", "POST"])])
    server = await _start(app, listening)
    provider.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield provider
    finally:
        await asyncio.shield(_stop(server))
