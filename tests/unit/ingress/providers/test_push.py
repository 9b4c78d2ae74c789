"""What a push says of refs and files, and when its list of files may be believed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers import PROVIDERS, fields
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts
from ingress.providers.push import MAX_COMMITS, MAX_PATH, by_hand, changed_paths
from shared.event import MAX_PATHS, Kind, WebhookEvent
from tests.unit.ingress.senders import SHA

RECEIVED_AT = datetime(2026, 11, 2, tzinfo=UTC)
EVENT_HEADERS = {"github": b"push", "gitlab": b"Push Hook", "gitea": b"push", "forgejo": b"push", "gogs": b"push"}


def read(auth: str, body: dict[str, Any], event: bytes | None = None) -> Facts:
    provider = PROVIDERS[auth]
    identity = provider.identify(Headers([(f"x-{auth}-event".encode(), event or EVENT_HEADERS[auth])]), {})
    (facts,) = provider.normalize(identity, body)
    return facts


def commits(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"{index + 1:040x}", "message": "m", "added": [f"f{index}"], "modified": [], "removed": []}
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("ref", "kind", "branch", "tag"),
    [
        ("refs/heads/main", Kind.PUSH, "main", None),
        ("refs/tags/main", Kind.TAG, None, "main"),
        ("refs/heads/refs/tags/x", Kind.PUSH, "refs/tags/x", None),
        ("refs/heads/refs/heads/main", Kind.PUSH, "refs/heads/main", None),
        ("refs/heads/Feature/ÜBER-100%-🚀", Kind.PUSH, "Feature/ÜBER-100%-🚀", None),
        ("refs/heads/$(touch x);`id`", Kind.PUSH, "$(touch x);`id`".replace(" ", ""), None),
        ("refs/pull/1/head", Kind.CUSTOM, None, None),
        ("refs/notes/commits", Kind.CUSTOM, None, None),
    ],
)
def test_the_refs_prefix_is_taken_off_exactly_once(ref: str, kind: Kind, branch: str | None, tag: str | None) -> None:
    facts = read("github", {"ref": ref.replace(" ", ""), "after": SHA})

    assert (facts["kind"], facts.get("branch"), facts.get("tag")) == (kind, branch, tag)


@pytest.mark.parametrize(
    "ref",
    [
        None,
        7,
        True,
        ["refs/heads/main"],
        "",
        "main",
        "refs",
        "refs/heads/",
        "refs/heads/a b",
        "refs/heads/ma\x00in",
        "refs/heads/main\n",
        "refs/heads/a\x85b",
        "refs/heads/a..b",
        "refs/heads/a//b",
        "refs/heads/.a",
        "refs/heads/a/.b",
        "refs/heads/a.lock",
        "refs/heads/a.lock/b",
        "refs/heads/a.",
        "refs/heads/a/",
        "refs/heads/a@{1}",
        "refs/heads/*",
        "refs/heads/a\\b",
        "refs/heads/" + "a" * 1_000,
    ],
)
@pytest.mark.parametrize("auth", sorted(EVENT_HEADERS))
def test_a_push_without_a_valid_ref_starts_nothing(auth: str, ref: object) -> None:
    facts = read(auth, {"object_kind": "push", "ref": ref, "after": SHA})

    assert facts["kind"] is Kind.CUSTOM
    assert facts["ignored"]
    assert facts.get("branch") is None


@pytest.mark.parametrize("zeros", ["0" * 40, "0" * 64])
@pytest.mark.parametrize("auth", sorted(EVENT_HEADERS))
def test_the_id_of_nothing_means_created_or_deleted_and_is_not_kept(auth: str, zeros: str) -> None:
    body = {"object_kind": "push", "ref": "refs/heads/main"}

    deleted = read(auth, {**body, "before": SHA, "after": zeros})
    created = read(auth, {**body, "before": zeros, "after": SHA})

    assert (deleted["deleted"], deleted["after"], deleted["before"]) == (True, None, SHA)
    assert (created["created"], created["before"], created["deleted"]) == (True, None, False)
    assert deleted["ignored"] is not None
    assert created["ignored"] is None


def test_githubs_own_word_for_a_deletion_counts_even_beside_an_id() -> None:
    facts = read("github", {"ref": "refs/heads/main", "before": SHA, "after": SHA, "deleted": True})

    assert facts["deleted"]
    assert facts["ignored"]


@pytest.mark.parametrize(
    ("auth", "changes", "complete"),
    [
        ("github", {"commits": commits(2047)}, True),
        ("github", {"commits": commits(2048)}, False),
        ("github", {"commits": commits(1), "forced": True}, False),
        ("github", {"commits": commits(1), "created": True}, False),
        ("github", {"commits": []}, False),
        ("gitlab", {"commits": commits(20), "total_commits_count": 20}, True),
        ("gitlab", {"commits": commits(20), "total_commits_count": 25}, False),
        ("gitlab", {"commits": commits(2)}, False),
        ("gitlab", {"commits": [], "total_commits_count": 0}, False),
        ("gitea", {"commits": commits(15), "total_commits": 15}, True),
        ("gitea", {"commits": commits(15), "total_commits": 30}, False),
        ("gitea", {"commits": commits(5)}, False),
        ("gitea", {"commits": commits(4)}, True),
        ("gitea", {"commits": commits(4), "total_commits": True}, True),
        ("gogs", {"commits": commits(4)}, True),
        ("gogs", {"commits": commits(5)}, False),
        ("gogs", {"commits": [{"id": SHA}]}, None),
        ("github", {}, None),
        ("github", {"commits": "all of them"}, None),
        ("github", {"commits": [*commits(1), {"id": SHA}]}, False),
        ("github", {"commits": [*commits(1), "not an object"]}, False),
        ("github", {"commits": [{"id": SHA, "added": "a"}]}, False),
        ("github", {"commits": [{"id": SHA, "added": ["a", 7, ""]}]}, False),
    ],
)
def test_a_list_of_files_is_complete_only_when_nothing_speaks_against_it(
    auth: str, changes: dict[str, Any], complete: bool | None
) -> None:
    body = {"object_kind": "push", "ref": "refs/heads/main", "before": "1a" * 20, "after": SHA, **changes}

    facts = read(auth, body)

    assert facts["changed_paths_complete"] is complete
    assert (facts["changed_paths"] is None) is (complete is None)


def test_a_file_that_was_added_and_removed_again_counts_as_changed() -> None:
    first = {"id": SHA, "added": ["a"], "modified": [], "removed": []}
    second = {"id": SHA, "added": [], "modified": ["b"], "removed": ["a"]}

    assert changed_paths([first, second]) == (("a", "b"), True)


def test_paths_beyond_the_cap_make_the_list_incomplete() -> None:
    full = {"added": [f"f{index}" for index in range(MAX_PATHS)]}

    assert changed_paths([full]) == (tuple(full["added"]), True)
    assert changed_paths([full, {"added": ["one more"]}]) == (tuple(full["added"]), False)
    assert changed_paths([full, {"added": ["f0"]}]) == (tuple(full["added"]), True)


def test_a_path_that_can_not_be_kept_as_it_is_makes_the_list_incomplete() -> None:
    assert changed_paths([{"added": ["a\x1b[31mb"]}]) == (("a[31mb",), False)
    assert changed_paths([{"added": ["x" * (MAX_PATH + 1), "b"]}]) == (("b",), False)


@pytest.mark.parametrize("order", [1, -1])
def test_the_head_is_found_by_its_id_whatever_the_order(order: int) -> None:
    listed = [{"id": SHA, "message": "head\n\nbody"}, {"id": "1a" * 20, "message": "older"}][::order]

    facts = read("gogs", {"ref": "refs/heads/main", "before": "3c" * 20, "after": SHA, "commits": listed})

    assert facts["message"] == "head"


def test_only_so_many_commits_travel_but_all_files_do() -> None:
    facts = read("github", {"ref": "refs/heads/main", "after": SHA, "commits": commits(MAX_COMMITS + 5)})

    assert len(facts["commits"]) == MAX_COMMITS
    assert len(facts["changed_paths"] or ()) == MAX_COMMITS + 5


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("Fix it\n\nSigned-off-by: A <a@b.example>", "Fix it"),
        ("\n\nFix it\r\nmore", "Fix it"),
        ("From a.b+c@d-e.example: fix", "From …: fix"),
        ("\x1b[31mred\x07", "[31mred"),
        ("x" * 5_000, "x" * 1_000),
        ("", None),
        (None, None),
        (["a"], None),
    ],
)
def test_of_a_message_the_first_line_is_kept_without_addresses_and_control_characters(
    value: object, line: str | None
) -> None:
    assert fields.first_line(value) == line


def test_an_address_is_no_name() -> None:
    assert fields.name(None, 7, "nora@fields.example", "Nora") == "Nora"
    assert fields.name("nora@fields.example") is None


def test_a_request_by_hand_needs_only_a_ref() -> None:
    facts = by_hand({"ref": "refs/heads/main"})

    assert (facts["kind"], facts["branch"], facts["repository"], facts["ignored"]) == (Kind.PUSH, "main", None, None)
    assert facts["changed_paths"] is None
    assert by_hand({"ref": "refs/tags/v1"})["tag"] == "v1"
    assert by_hand({"ref": 5})["ignored"]
    assert by_hand({})["kind"] is Kind.CUSTOM


@pytest.mark.parametrize(
    ("ref_type", "ref"), [("branch", "refs/heads/"), ("planet", "x"), (None, "x"), ("branch", 5), (["branch"], "x")]
)
@pytest.mark.parametrize("auth", ["github", "gitea"])
def test_a_deletion_of_something_unknown_is_still_a_deletion(auth: str, ref_type: object, ref: object) -> None:
    facts = read(auth, {"ref_type": ref_type, "ref": ref}, b"delete")

    assert (facts["kind"], facts["deleted"]) == (Kind.CUSTOM, True)


KEYS = [
    "ref",
    "ref_type",
    "before",
    "after",
    "commits",
    "head_commit",
    "repository",
    "project",
    "sender",
    "pusher",
    "user",
    "action",
    "release",
    "pull_request",
    "object_kind",
    "event_name",
    "object_attributes",
    "total_commits",
    "total_commits_count",
    "forced",
    "created",
    "deleted",
    "checkout_sha",
    "tag",
    "commit",
    "id",
    "full_name",
    "path_with_namespace",
    "clone_url",
    "git_http_url",
    "login",
    "message",
    "added",
    "modified",
    "tag_name",
    "target_branch",
    "merged",
    "state",
    "base",
]
TEXTS = [
    "",
    "refs/heads/main",
    "main",
    SHA,
    "0" * 40,
    "closed",
    "published",
    "merge",
    "merged",
    "create",
    "https://h.example/a/b",
    "\x00é🚀",
]
scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 2**70), st.sampled_from(TEXTS))
inner = st.one_of(scalars, st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from(KEYS), scalars, max_size=4))
outer = st.one_of(inner, st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4))
objects = st.dictionaries(st.sampled_from(KEYS), outer, max_size=10)
EVENTS = [b"push", b"ping", b"delete", b"create", b"release", b"pull_request", b"issues", b"", b"\xff"]


@given(
    st.sampled_from(sorted(EVENT_HEADERS)),
    objects,
    st.sampled_from(EVENTS),
    st.sampled_from(["push", "tag_push", "merge_request", "release", None]),
)
def test_any_json_object_becomes_valid_facts(auth: str, body: dict[str, Any], event: bytes, kind: str | None) -> None:
    facts = read(auth, body if kind is None else {**body, "object_kind": kind}, event or b" ")

    event_of = WebhookEvent(id="i", delivery_id="d", receipt_id="r", provider=auth, received_at=RECEIVED_AT, **facts)
    assert WebhookEvent.from_bytes(event_of.to_bytes()) == event_of
