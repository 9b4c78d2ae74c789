"""
Komodo's resources in memory, with the two shapes in which the API shows them: list items with `id`, and full
resources with `_id.$oid`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from demo.core.errors import busy, not_found
from demo.core.ids import is_object_id

Json = dict[str, Any]

STACK_ACTIONS = (
    "pulling",
    "deploying",
    "starting",
    "restarting",
    "pausing",
    "unpausing",
    "stopping",
    "destroying",
)


@dataclass(slots=True, kw_only=True)
class Resource:
    """
    What all kinds have. `acting` holds the flags of Komodo's action state that are set.
    """

    kind: str
    id: str
    name: str
    description: str = ""
    template: bool = False
    tags: list[str] = field(default_factory=list)
    base_permission: str = "None"
    updated_at: int = 0
    config: Json = field(default_factory=dict)
    acting: set[str] = field(default_factory=set)

    @property
    def is_busy(self) -> bool:
        """
        A pull does not count: it may overlap with a deploy.
        """
        return bool(self.acting - {"pulling"})

    @contextmanager
    def doing(self, flag: str, *, held_elsewhere: bool = False) -> Iterator[None]:
        """
        Set the flag meanwhile, or raise "Resource is busy".

        The end clears all flags, not only this one: a pull that ends while a deploy runs makes the stack look idle.
        """
        if held_elsewhere or self.is_busy:
            raise busy()
        self.acting.add(flag)
        try:
            yield
        finally:
            self.acting.clear()

    def item(self, info: Json) -> Json:
        return {
            "id": self.id,
            "type": self.kind,
            "name": self.name,
            "template": self.template,
            "tags": self.tags,
            "info": info,
        }

    def full(self, info: Json | None) -> Json:
        return {
            "_id": {"$oid": self.id},
            "name": self.name,
            "description": self.description,
            "template": self.template,
            "tags": self.tags,
            "info": info,
            "config": self.config,
            "base_permission": self.base_permission,
            "updated_at": self.updated_at,
        }


@dataclass(slots=True, kw_only=True)
class Server(Resource):
    state: str = "Ok"
    region: str = ""


@dataclass(slots=True, kw_only=True)
class Stack(Resource):
    """
    `state` is what docker would say; `info` is what Komodo stored at the last refresh and deploy.
    """

    state: str = "down"
    update_available: bool = False
    host_files: dict[str, str] = field(default_factory=dict)
    info: Json = field(default_factory=dict)

    @property
    def is_git(self) -> bool:
        return not self.config["files_on_host"] and bool(self.config["linked_repo"] or self.config["repo"])

    @property
    def project(self) -> str:
        return str(self.config["project_name"] or self.name)

    @property
    def services(self) -> list[str]:
        return [service["service_name"] for service in self.info["deployed_services"] or self.info["latest_services"]]


@dataclass(slots=True, kw_only=True)
class Repo(Resource):
    hash: str | None = None
    message: str | None = None
    pulled_at: int = 0
    built_at: int = 0
    built_hash: str | None = None
    failed: bool = False


@dataclass(slots=True, kw_only=True)
class Procedure(Resource):
    last_run_at: int = 0
    failed: bool = False


@dataclass(slots=True, kw_only=True)
class Job(Resource):
    """
    An Action, Build or ResourceSync.
    """

    seconds: float = 0.0
    fails: str = ""


R = TypeVar("R", bound=Resource)


@dataclass
class Shelf(Generic[R]):
    """
    All resources of one kind, found by id or exact name and listed in name order.
    """

    kind: str
    by_id: dict[str, R] = field(default_factory=dict)
    by_name: dict[str, R] = field(default_factory=dict)

    def add(self, resource: R) -> R:
        self.by_id[resource.id] = resource
        self.by_name[resource.name] = resource
        self.by_name = dict(sorted(self.by_name.items()))
        return resource

    def get(self, reference: str) -> R | None:
        """
        A text of 24 hex digits is an id and nothing else, as in Komodo.
        """
        return self.by_id.get(reference) if is_object_id(reference) else self.by_name.get(reference)

    def find(self, reference: str) -> R:
        found = self.get(reference)
        if found is None:
            raise not_found(self.kind, reference)
        return found

    def __iter__(self) -> Iterator[R]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_id)
