"""Bitbucket Cloud and Data Center: who gets in, and what their lists of refs become."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.answer import Outcome
from ingress.providers import PROVIDERS, bitbucket, bitbucket_dc
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.hub import NO_EVENT
from ingress.providers.provider import Facts, Request
from ingress.providers.push import DELETION, MAX_CHANGES, MERGE_QUEUE, NO_REF
from ingress.providers.signing import Refused, Tried, Verdict, Verified
from ingress.receive import NOT_AN_OBJECT
from shared import clock
from shared.event import Kind, WebhookEvent
from tests.unit.ingress import senders
from tests.unit.ingress.senders import OLD_SECRET, SECRET, SHA, Ingress, Pairs, basic, hex_hmac

SECRETS = [SECRET.encode(), OLD_SECRET.encode()]
OTHER = "1a" * 20
TAG = "4d" * 20
ZEROS = "0" * 40
FLAVOURS = ["bitbucket", "bitbucket-dc"]
PING = b'{"test":true}'
PING_HEADERS: Pairs = [(b"x-event-key", b"diagnostics:ping"), (b"x-request-id", b"dcdc")]


def read(auth: str, event: str, body: dict[str, Any]) -> tuple[Facts, ...]:
    provider = PROVIDERS[auth]
    return provider.normalize(provider.identify(Headers([(b"x-event-key", event.encode())]), body), body)


def verify(auth: str, headers: Pairs, body: bytes) -> Verdict:
    return PROVIDERS[auth].verify(Request(Headers(headers), Body(body)), SECRETS)


def signed(auth: str, body: bytes, **options: Any) -> Pairs:
    return (senders.bitbucket if auth == "bitbucket" else senders.bitbucket_dc)(body, **options)


def replaced(headers: Pairs, name: bytes, *values: bytes) -> Pairs:
    return [pair for pair in headers if pair[0] != name] + [(name, value) for value in values]


def side(kind: str, name: str, commit: str = SHA) -> dict[str, Any]:
    return {"type": kind, "name": name, "target": {"type": "commit", "hash": commit, "message": "m"}}


def cloud(*changes: Any) -> dict[str, Any]:
    return {"repository": {"full_name": "Acme/App"}, "push": {"changes": list(changes)}}


def center(*changes: Any, **more: Any) -> dict[str, Any]:
    repository = {"id": 1, "slug": "app", "project": {"key": "ACME"}}
    return {"repository": repository, "changes": list(changes), **more}


def ref_change(ref: str, old: str = OTHER, new: str = SHA, kind: str = "UPDATE") -> dict[str, Any]:
    return {"ref": {"id": ref}, "refId": ref, "fromHash": old, "toHash": new, "type": kind}


def pushed(auth: str, *refs: str) -> tuple[Facts, ...]:
    """The facts of a push to these full refs."""
    if auth == "bitbucket-dc":
        return read(auth, "repo:refs_changed", center(*map(ref_change, refs)))
    kinds = {"heads": "branch", "tags": "tag"}
    sides = [side(kinds[space], name) for space, name in (ref.split("/", 2)[1:] for ref in refs)]
    return read(auth, "repo:push", cloud(*({"new": new, "old": new} for new in sides)))


def test_bitbuckets_published_example_verifies() -> None:
    """The example of https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/."""
    signature = b"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    request = Request(Headers([(b"x-hub-signature", signature)]), Body(b"Hello World!"))

    assert bitbucket.check_signature(request, [b"It's a Secret to Everybody"]) == Verified(0)


@pytest.mark.parametrize("auth", FLAVOURS)
@pytest.mark.parametrize(("secret", "index"), [(SECRET, 0), (OLD_SECRET, 1)])
def test_the_secret_that_signed_is_reported_by_its_position(auth: str, secret: str, index: int) -> None:
    assert verify(auth, signed(auth, b"{}", secret=secret), b"{}") == Verified(index)


GOOD = hex_hmac(b"{}")
MALFORMED = {
    "absent": (),
    "empty": (b"",),
    "prefix alone": (b"sha256=",),
    "no prefix": (GOOD,),
    "prefix twice": (b"sha256=sha256=" + GOOD,),
    "other prefix": (b"sha1=" + GOOD,),
    "upper-case prefix": (b"SHA256=" + GOOD,),
    "too short": (b"sha256=" + GOOD[:-1],),
    "too long": (b"sha256=" + GOOD + b"0",),
    "no hex": (b"sha256=" + b"z" * 64,),
    "not ascii": (b"sha256=" + "é".encode() * 32,),
    "outer blank": (b" sha256=" + GOOD,),
    "inner blank": (b"sha256= " + GOOD,),
    "sent twice": (b"sha256=" + GOOD, b"sha256=" + GOOD),
}


@pytest.mark.parametrize("auth", FLAVOURS)
@pytest.mark.parametrize("values", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_signature_is_refused(auth: str, values: tuple[bytes, ...]) -> None:
    assert isinstance(verify(auth, replaced(signed(auth, b"{}"), b"x-hub-signature", *values), b"{}"), Refused)


@pytest.mark.parametrize("auth", FLAVOURS)
def test_the_case_of_the_digits_is_free(auth: str) -> None:
    headers = replaced(signed(auth, b"{}"), b"x-hub-signature", b"sha256=" + GOOD.upper())

    assert verify(auth, headers, b"{}") == Verified(0)


@pytest.mark.parametrize("auth", FLAVOURS)
@given(body=st.binary(min_size=1, max_size=200), position=st.integers(min_value=0))
def test_a_body_with_a_flipped_bit_is_never_accepted(auth: str, body: bytes, position: int) -> None:
    changed = bytearray(body)
    changed[position // 8 % len(body)] ^= 1 << position % 8

    assert verify(auth, signed(auth, body), body) == Verified(0)
    assert isinstance(verify(auth, signed(auth, body), bytes(changed)), Refused)


@pytest.mark.parametrize(("password", "index"), [(SECRET, 0), (OLD_SECRET, 1)])
@pytest.mark.parametrize("user", ["", "anyone", "größe"])
def test_data_center_may_send_the_secret_as_a_password_instead(user: str, password: str, index: int) -> None:
    headers = [(b"x-event-key", b"repo:refs_changed"), (b"authorization", basic(user, password))]

    assert verify("bitbucket-dc", headers, b"{}") == Verified(index)
    assert isinstance(verify("bitbucket", headers, b"{}"), Refused)


def test_a_password_does_not_make_good_for_a_wrong_signature() -> None:
    headers = [*signed("bitbucket-dc", b"another body"), (b"authorization", basic("anyone", SECRET))]

    assert isinstance(verify("bitbucket-dc", headers, b"{}"), Refused)


def test_a_signature_is_enough_beside_the_password_of_a_proxy() -> None:
    headers = [*signed("bitbucket-dc", b"{}"), (b"authorization", basic("proxy", "another"))]

    assert verify("bitbucket-dc", headers, b"{}") == Verified(0)


@pytest.mark.parametrize("body", [PING, b' {"test" : true}\n'])
def test_data_centers_test_connection_is_tried_though_nothing_signs_it(body: bytes) -> None:
    assert verify("bitbucket-dc", PING_HEADERS, body) == Tried()


NO_PINGS: dict[str, tuple[Pairs, bytes]] = {
    "another key": ([(b"x-event-key", b"repo:refs_changed")], PING),
    "key in another case": ([(b"x-event-key", b"Diagnostics:Ping")], PING),
    "key with more": ([(b"x-event-key", b"diagnostics:ping2")], PING),
    "key twice": ([*PING_HEADERS, (b"x-event-key", b"diagnostics:ping")], PING),
    "no key": ([], PING),
    "false": (PING_HEADERS, b'{"test":false}'),
    "one": (PING_HEADERS, b'{"test":1}'),
    "more in it": (PING_HEADERS, b'{"test":true,"changes":[]}'),
    "empty object": (PING_HEADERS, b"{}"),
    "a list": (PING_HEADERS, b'[{"test":true}]'),
    "no json": (PING_HEADERS, b"test"),
    "empty": (PING_HEADERS, b""),
    "too large": (PING_HEADERS, PING + b" " * (bitbucket_dc.MAX_PING_BYTES + 1 - len(PING))),
    "wrongly signed": ([*PING_HEADERS, (b"x-hub-signature", b"sha256=" + b"0" * 64)], PING),
    "empty signature": ([*PING_HEADERS, (b"x-hub-signature", b"")], PING),
    "wrong password": ([*PING_HEADERS, (b"authorization", basic("anyone", "wrong"))], PING),
}


@pytest.mark.parametrize(("headers", "body"), NO_PINGS.values(), ids=NO_PINGS.keys())
def test_nothing_else_comes_through_unsigned(headers: Pairs, body: bytes) -> None:
    assert isinstance(verify("bitbucket-dc", headers, body), Refused)


def test_a_ping_of_the_largest_size_is_still_one() -> None:
    body = PING + b" " * (bitbucket_dc.MAX_PING_BYTES - len(PING))

    assert verify("bitbucket-dc", PING_HEADERS, body) == Tried()


def test_cloud_has_no_unsigned_call() -> None:
    assert isinstance(verify("bitbucket", PING_HEADERS, PING), Refused)


def test_a_signed_ping_is_a_ping() -> None:
    assert verify("bitbucket-dc", signed("bitbucket-dc", PING, event="diagnostics:ping"), PING) == Verified(0)
    assert [facts["kind"] for facts in read("bitbucket-dc", "diagnostics:ping", {"test": True})] == [Kind.PING]


async def test_an_unsigned_ping_is_answered_and_leaves_nothing_behind() -> None:
    ingress = Ingress()

    answered = await ingress.post(
        "/listener/bitbucket-dc/global", PING, [*PING_HEADERS, (b"content-type", b"application/json; charset=utf-8")]
    )

    assert answered.status == 200
    assert answered.json()["status"] == "pong"
    assert ingress.events == []


@pytest.mark.parametrize(
    ("auth", "body"),
    [
        (
            "bitbucket",
            cloud(
                {"new": side("branch", "main"), "old": side("branch", "main", OTHER)},
                {"new": side("tag", "v1"), "old": None},
                {"new": None, "old": side("branch", "old")},
            ),
        ),
        (
            "bitbucket-dc",
            center(
                ref_change("refs/heads/main"),
                ref_change("refs/tags/v1", ZEROS, SHA, "ADD"),
                ref_change("refs/heads/old", OTHER, ZEROS, "DELETE"),
            ),
        ),
    ],
    ids=FLAVOURS,
)
async def test_three_refs_in_one_delivery_are_three_events_in_order_and_the_deletion_is_ignored(
    auth: str, body: dict[str, Any]
) -> None:
    ingress, raw = Ingress(), orjson.dumps(body)

    first = await ingress.post(f"/listener/{auth}/global", raw, signed(auth, raw))
    again = await ingress.post(f"/listener/{auth}/global", raw, signed(auth, raw))

    assert first.status == again.status == 202
    events = ingress.events[:3]
    assert [(event.kind, event.branch or event.tag, event.ignored) for event in events] == [
        (Kind.PUSH, "main", None),
        (Kind.TAG, "v1", None),
        (Kind.PUSH, "old", DELETION),
    ]
    assert [event.created for event in events] == [False, True, False]
    assert [event.id for event in ingress.events[3:]] == [event.id for event in events]


@pytest.mark.parametrize(
    "change",
    [
        {"new": None, "old": side("branch", "main"), "closed": True},
        {"new": None, "old": side("branch", "main"), "closed": False},
        {"old": side("branch", "main")},
        {"new": side("branch", "main"), "old": side("branch", "main"), "closed": True},
        {"new": 7, "old": side("branch", "main")},
    ],
)
def test_a_deletion_at_cloud_never_deploys(change: dict[str, Any]) -> None:
    (facts,) = read("bitbucket", "repo:push", cloud(change))

    assert (facts["deleted"], facts["ignored"], facts["branch"]) == (True, DELETION, "main")


@pytest.mark.parametrize(("new", "kind"), [(ZEROS, "DELETE"), (ZEROS, "UPDATE"), ("0" * 64, ""), (SHA, "DELETE")])
def test_a_deletion_at_data_center_never_deploys(new: str, kind: str) -> None:
    (facts,) = read("bitbucket-dc", "repo:refs_changed", center(ref_change("refs/tags/v1", OTHER, new, kind)))

    assert (facts["deleted"], facts["ignored"], facts["tag"]) == (True, DELETION, "v1")


async def test_a_delivery_of_deletions_alone_is_ignored_with_the_reason() -> None:
    ingress, raw = Ingress(), orjson.dumps(cloud({"new": None, "old": side("branch", "main")}))

    answered = await ingress.post("/listener/bitbucket/global", raw, signed("bitbucket", raw))

    assert (answered.status, answered.json()["reason"]) == (200, DELETION)
    assert ingress.receipts[0].outcome is Outcome.IGNORED


@pytest.mark.parametrize("auth", FLAVOURS)
@pytest.mark.parametrize(
    ("ref", "kind", "branch", "tag"),
    [
        ("refs/heads/main", Kind.PUSH, "main", None),
        ("refs/tags/main", Kind.TAG, None, "main"),
        ("refs/heads/refs/tags/x", Kind.PUSH, "refs/tags/x", None),
        ("refs/heads/refs/heads/main", Kind.PUSH, "refs/heads/main", None),
        ("refs/heads/Feature/ÜBER-100%-🚀", Kind.PUSH, "Feature/ÜBER-100%-🚀", None),
        ("refs/heads/$(touch${IFS}x);`id`", Kind.PUSH, "$(touch${IFS}x);`id`", None),
    ],
)
def test_branch_and_tag_are_told_apart_by_the_prefix_alone(
    auth: str, ref: str, kind: Kind, branch: str | None, tag: str | None
) -> None:
    (facts,) = pushed(auth, ref)

    assert (facts["kind"], facts["ref"], facts.get("branch"), facts.get("tag")) == (kind, ref, branch, tag)
    assert facts["ignored"] is None


def test_a_merge_queues_branch_is_ignored() -> None:
    for auth in FLAVOURS:
        (facts,) = pushed(auth, "refs/heads/gh-readonly-queue/main/pr-1")
        assert facts["ignored"] == MERGE_QUEUE


def test_of_an_annotated_tag_cloud_sends_the_commit_and_not_the_tag_object() -> None:
    change = {"new": side("annotated_tag", "v2"), "old": side("annotated_tag", "v2", OTHER)}

    (facts,) = read("bitbucket", "repo:push", cloud(change))

    assert (facts["kind"], facts["tag"], facts["commit"]) == (Kind.TAG, "v2", SHA)
    assert (facts["after"], facts["before"]) == (None, None)


def test_of_an_annotated_tag_data_center_sends_both_ids() -> None:
    body = center(ref_change("refs/tags/v2", ZEROS, TAG, "ADD"), toCommit={"id": SHA, "message": "Move it\n\nbody"})

    (facts,) = read("bitbucket-dc", "repo:refs_changed", body)

    assert (facts["tag"], facts["after"], facts["commit"], facts["message"]) == ("v2", TAG, SHA, "Move it")


def test_what_a_tag_points_to_is_not_guessed() -> None:
    (facts,) = pushed("bitbucket-dc", "refs/tags/v2")

    assert (facts["after"], facts["commit"]) == (SHA, None)


@pytest.mark.parametrize("auth", FLAVOURS)
def test_no_list_of_files_is_ever_made_or_called_complete(auth: str) -> None:
    listed = [{"hash": SHA, "id": SHA, "message": "m", "added": ["a"], "modified": [], "removed": []}]
    change = {"new": side("branch", "main"), "old": side("branch", "main"), "commits": listed}
    bodies = {
        "bitbucket": ("repo:push", cloud(change)),
        "bitbucket-dc": ("repo:refs_changed", center(ref_change("refs/heads/main"), commits=listed)),
    }

    (facts,) = read(auth, *bodies[auth])

    assert len(facts["commits"]) == 1
    assert facts["changed_paths"] is None
    assert facts["changed_paths_complete"] is None


@pytest.mark.parametrize("forced", [True, False, None, "yes"])
def test_cloud_says_whether_a_push_was_forced(forced: object) -> None:
    change = {"new": side("branch", "main"), "old": side("branch", "main"), "forced": forced}

    (facts,) = read("bitbucket", "repo:push", cloud(change))

    assert facts["forced"] is (forced if isinstance(forced, bool) else None)


def test_the_commits_of_a_push_to_several_refs_belong_to_none_of_them_but_the_heads() -> None:
    commits = [{"id": identifier, "message": identifier[:2]} for identifier in (SHA, "3c" * 20)]
    changes = [ref_change("refs/heads/a", new=SHA), ref_change("refs/heads/b", new=TAG)]

    first, second = read("bitbucket-dc", "repo:refs_changed", center(*changes, commits=commits, toCommit=commits[0]))

    assert ([commit.id for commit in first["commits"]], first["message"]) == ([SHA], SHA[:2])
    assert (second["commits"], second["message"]) == ((), None)


def test_the_head_that_is_also_in_the_list_counts_once() -> None:
    commits = [{"id": "3c" * 20, "message": "older"}, {"id": SHA, "message": "head"}]

    (facts,) = read(
        "bitbucket-dc",
        "repo:refs_changed",
        center(ref_change("refs/heads/main"), commits=commits, toCommit=commits[1]),
    )

    assert [commit.message for commit in facts["commits"]] == ["head", "older"]
    assert facts["message"] == "head"


def test_data_center_without_links_has_a_name_and_no_key() -> None:
    (facts,) = pushed("bitbucket-dc", "refs/heads/main")

    assert facts["repository"] is not None
    assert (facts["repository"].full_name, facts["repository"].key, facts["repository"].urls) == ("ACME/app", None, ())
    assert facts["repository"].provider_id == "1"


@pytest.mark.parametrize("order", [1, -1])
def test_the_key_comes_from_the_http_url_whatever_the_order(order: int) -> None:
    links = [
        {"name": "ssh", "href": "ssh://git@ssh.example:7999/acme/app.git"},
        {"name": "http", "href": "https://nora:hunter2@git.example/scm/ACME/app.git"},
    ][::order]
    body = center(ref_change("refs/heads/main"))
    body["repository"]["links"] = {
        "clone": links,
        "self": [{"href": "https://git.example/projects/ACME/repos/app/browse"}],
    }

    (facts,) = read("bitbucket-dc", "repo:refs_changed", body)

    assert facts["repository"] is not None
    assert facts["repository"].key == "git.example/acme/app"
    assert facts["repository"].urls[:2] == (
        "https://git.example/scm/ACME/app.git",
        "ssh://git@ssh.example:7999/acme/app.git",
    )


@pytest.mark.parametrize("name", ["acme", "../evil", "acme/../evil", "acme/a b", "acme/x?y", ""])
def test_a_name_that_makes_no_url_makes_no_key_of_another_host(name: str) -> None:
    (facts,) = read(
        "bitbucket", "repo:push", {**cloud({"new": side("branch", "main")}), "repository": {"full_name": name}}
    )

    repository = facts["repository"]
    assert repository is None or repository.key is None or repository.key.startswith("bitbucket.org/")


@pytest.mark.parametrize(
    ("state", "kind"), [("MERGED", Kind.MERGE), (None, Kind.MERGE), ("OPEN", Kind.CUSTOM), ("DECLINED", Kind.CUSTOM)]
)
@pytest.mark.parametrize("auth", FLAVOURS)
def test_a_pull_request_counts_when_it_was_merged(auth: str, state: str | None, kind: Kind) -> None:
    found = {"state": state, "title": "Move it"}
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "bitbucket": (
            "pullrequest:fulfilled",
            {"pullrequest": {**found, "destination": {"branch": {"name": "main"}}, "merge_commit": {"hash": SHA}}},
        ),
        "bitbucket-dc": (
            "pr:merged",
            {
                "pullRequest": {
                    **found,
                    "toRef": {"id": "refs/heads/main"},
                    "properties": {"mergeCommit": {"id": SHA}},
                }
            },
        ),
    }

    (facts,) = read(auth, *bodies[auth])

    assert facts["kind"] is kind
    assert (facts.get("branch"), facts.get("commit")) == (("main", SHA) if kind is Kind.MERGE else (None, None))


def test_a_short_merge_commit_is_no_commit() -> None:
    found = {"destination": {"branch": {"name": "main"}}, "merge_commit": {"hash": "764413d85e29"}}

    (facts,) = read("bitbucket", "pullrequest:fulfilled", {"pullrequest": found})

    assert (facts["kind"], facts["commit"]) == (Kind.MERGE, None)


def test_a_pull_request_from_a_fork_counts_for_the_repository_that_it_was_merged_into() -> None:
    fork = {"id": "refs/heads/main", "repository": {"slug": "app", "project": {"key": "~OLE"}}}
    base = {"id": "refs/heads/main", "repository": {"slug": "app", "project": {"key": "ACME"}}}

    (facts,) = read("bitbucket-dc", "pr:merged", {"pullRequest": {"fromRef": fork, "toRef": base}})

    assert facts["repository"] is not None
    assert facts["repository"].full_name == "ACME/app"


@pytest.mark.parametrize("event", ["repo:commit_status_updated", "repo:commit_status_created"])
@pytest.mark.parametrize(
    ("state", "kind"),
    [("SUCCESSFUL", Kind.CI), ("FAILED", Kind.CUSTOM), ("INPROGRESS", Kind.CUSTOM), ("STOPPED", Kind.CUSTOM)],
)
def test_only_a_successful_build_is_done(event: str, state: str, kind: Kind) -> None:
    (facts,) = read("bitbucket", event, {"commit_status": {"state": state, "refname": "main", "commit": {"hash": SHA}}})

    assert facts["kind"] is kind
    assert facts.get("ignored") is None


@pytest.mark.parametrize(
    ("refname", "branch", "tag"),
    [
        ("main", "main", None),
        ("refs/heads/main", "main", None),
        ("refs/tags/main", None, "main"),
        (None, None, None),
        (7, None, None),
        ("a b", None, None),
    ],
)
def test_a_build_is_of_the_branch_that_it_names(refname: object, branch: str | None, tag: str | None) -> None:
    (facts,) = read(
        "bitbucket", "repo:commit_status_updated", {"commit_status": {"state": "SUCCESSFUL", "refname": refname}}
    )

    assert (facts["kind"], facts["branch"], facts["tag"]) == (Kind.CI, branch, tag)


def test_addresses_stay_outside() -> None:
    author = {"name": "nora@fields.example", "displayName": "nora@fields.example"}
    commits = [{"id": SHA, "message": "by nora@fields.example", "author": author}]
    body = center(
        ref_change("refs/heads/main"), commits=commits, actor=author | {"emailAddress": "nora@fields.example"}
    )
    raw = {"hash": SHA, "author": {"raw": "Nora <nora@fields.example>"}, "message": "m"}
    change = {"new": side("branch", "main"), "commits": [raw]}

    (of_center,) = read("bitbucket-dc", "repo:refs_changed", body)
    (of_cloud,) = read("bitbucket", "repo:push", cloud(change))

    assert "@fields" not in str(of_center) + str(of_cloud)
    assert of_center["sender"] is None
    assert of_cloud["commits"][0].author == "Nora"


@pytest.mark.parametrize(
    ("auth", "event", "reason"),
    [
        ("bitbucket", "repo:refs_changed", bitbucket.OF_DATA_CENTER),
        ("bitbucket", "pr:merged", bitbucket.OF_DATA_CENTER),
        ("bitbucket-dc", "repo:push", bitbucket_dc.OF_CLOUD),
        ("bitbucket-dc", "pullrequest:fulfilled", bitbucket_dc.OF_CLOUD),
        ("bitbucket", "\x00", NO_EVENT),
        ("bitbucket-dc", "\x00", NO_EVENT),
    ],
)
def test_an_event_that_can_not_be_read_here_says_why(auth: str, event: str, reason: str) -> None:
    (facts,) = read(auth, event, {})

    assert (facts["kind"], facts["ignored"]) == (Kind.CUSTOM, reason)


WRONG: list[object] = [None, 7, True, "x", [], [7], {}, [[]]]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize(
    ("auth", "event", "key"),
    [
        ("bitbucket", "repo:push", "push"),
        ("bitbucket", "pullrequest:fulfilled", "pullrequest"),
        ("bitbucket", "repo:commit_status_updated", "commit_status"),
        ("bitbucket-dc", "repo:refs_changed", "changes"),
        ("bitbucket-dc", "pr:merged", "pullRequest"),
    ],
)
def test_wrong_types_give_an_ignored_custom_event(auth: str, event: str, key: str, wrong: object) -> None:
    (facts,) = read(auth, event, {key: wrong, "repository": wrong, "actor": wrong})

    assert facts["kind"] is Kind.CUSTOM
    assert facts["ignored"]
    assert (facts["repository"], facts.get("sender")) == (None, None)


@pytest.mark.parametrize("auth", FLAVOURS)
@pytest.mark.parametrize(
    "wrong", [None, 7, "x", [], {}, {"new": {"type": ["branch"], "name": "main"}}, {"ref": {"id": 7}}]
)
def test_a_change_that_can_not_be_read_leaves_the_others_alone(auth: str, wrong: object) -> None:
    good = {"new": side("branch", "main"), "old": side("branch", "main")} | ref_change("refs/heads/main")
    event = {"bitbucket": "repo:push", "bitbucket-dc": "repo:refs_changed"}[auth]

    first, second, third = read(auth, event, (cloud if auth == "bitbucket" else center)(good, wrong, good))

    assert (first["branch"], third["branch"]) == ("main", "main")
    assert (second["kind"], second["ignored"]) == (Kind.CUSTOM, NO_REF)


@pytest.mark.parametrize("auth", FLAVOURS)
@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"7"])
async def test_a_body_that_is_no_object_is_ignored(auth: str, body: bytes) -> None:
    ingress = Ingress()

    answered = await ingress.post(f"/listener/{auth}/global", body, signed(auth, body))

    assert answered.status == 200
    assert [event.ignored for event in ingress.events] == [NOT_AN_OBJECT]


def test_a_repository_that_was_renamed_keeps_its_id() -> None:
    uuid = "{673a6070-3421-46c9-9d48-90745f7bfe8e}"
    bodies = [
        cloud({"new": side("branch", "main")}) | {"repository": {"full_name": name, "uuid": uuid}}
        for name in ("a/b", "a/c")
    ]

    ((first,), (second,)) = (read("bitbucket", "repo:push", body) for body in bodies)

    assert first["repository"] is not None
    assert second["repository"] is not None
    assert first["repository"].key != second["repository"].key
    assert first["repository"].provider_id == second["repository"].provider_id == uuid


@pytest.mark.parametrize("auth", FLAVOURS)
def test_refs_beyond_the_cap_are_told_of(auth: str) -> None:
    facts = pushed(auth, *(f"refs/heads/b{position}" for position in range(MAX_CHANGES + 3)))

    assert len(facts) == MAX_CHANGES + 1
    assert facts[-2]["branch"] == f"b{MAX_CHANGES - 1}"
    assert facts[-1]["ignored"] == "the push changes 3 refs more than 1000"


def test_the_id_of_the_delivery_is_the_one_that_a_retry_repeats() -> None:
    headers = Headers(
        [
            (b"x-request-uuid", b"cloud"),
            (b"x-request-id", b"center"),
            (b"x-attempt-number", b"2"),
            (b"x-hook-uuid", b"hook"),
        ]
    )

    assert PROVIDERS["bitbucket"].identify(headers, {}).delivery_id == "cloud"
    assert PROVIDERS["bitbucket-dc"].identify(headers, {}).delivery_id == "center"


KEYS = [
    "actor",
    "author",
    "branch",
    "changes",
    "closed",
    "commit",
    "commit_status",
    "commits",
    "created",
    "destination",
    "displayName",
    "fromHash",
    "full_name",
    "hash",
    "href",
    "id",
    "key",
    "links",
    "clone",
    "mainbranch",
    "merge_commit",
    "mergeCommit",
    "message",
    "name",
    "new",
    "nickname",
    "old",
    "project",
    "properties",
    "pullRequest",
    "pullrequest",
    "push",
    "raw",
    "ref",
    "refId",
    "refname",
    "repository",
    "self",
    "slug",
    "state",
    "target",
    "title",
    "toCommit",
    "toHash",
    "toRef",
    "type",
    "user",
    "uuid",
]
TEXTS = [
    "",
    "main",
    "refs/heads/main",
    "refs/tags/v1",
    SHA,
    ZEROS,
    "branch",
    "annotated_tag",
    "SUCCESSFUL",
    "MERGED",
    "\x00é🚀",
    "a@b.example",
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**70),
    st.floats(allow_nan=False),
    st.sampled_from(TEXTS),
    st.text(max_size=5),
)
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=3)), inner, max_size=5),
    ),
    max_leaves=25,
)
objects = st.dictionaries(st.sampled_from(KEYS), documents, max_size=8)
changes = st.lists(st.one_of(documents, objects), max_size=4)
EVENTS = [
    b"repo:push",
    b"repo:refs_changed",
    b"pullrequest:fulfilled",
    b"pr:merged",
    b"repo:commit_status_updated",
    b"diagnostics:ping",
    b"repo:fork",
    b"",
    b"\xff",
]


@given(st.sampled_from(FLAVOURS), objects, changes, st.sampled_from(EVENTS))
def test_any_json_object_becomes_valid_facts(
    auth: str, body: dict[str, Any], listed: list[object], event: bytes
) -> None:
    provider, body = PROVIDERS[auth], {"push": {"changes": listed}, "changes": listed, **body}

    identity = provider.identify(Headers([(b"x-event-key", event)]), body)
    facts = provider.normalize(identity, body)

    assert facts
    for fact in facts:
        found = WebhookEvent(id="i", delivery_id="d", receipt_id="r", provider=auth, received_at=clock.now(), **fact)
        assert WebhookEvent.from_bytes(found.to_bytes()) == found
        assert found.changed_paths is None
        assert not found.changed_paths_complete
        assert found.kind is Kind.CUSTOM or not found.deleted or found.ignored


HEADER_NAMES = [b"x-event-key", b"x-hub-signature", b"authorization", b"x-request-uuid", b"x-request-id"]
header_values = st.one_of(
    st.binary(max_size=100),
    st.from_regex(rb"sha256=[0-9a-fA-F]{60,66}", fullmatch=True),
    st.from_regex(rb"Basic [0-9a-zA-Z+/]{0,12}={0,2}", fullmatch=True),
    st.sampled_from(EVENTS),
)


@given(
    st.sampled_from(FLAVOURS),
    st.lists(st.tuples(st.sampled_from(HEADER_NAMES), header_values), max_size=8),
    st.one_of(st.binary(max_size=200), st.just(PING)),
)
def test_any_request_of_a_stranger_is_refused_but_for_the_ping(auth: str, headers: Pairs, body: bytes) -> None:
    verdict = verify(auth, headers, body)

    is_ping = auth == "bitbucket-dc" and body == PING and (b"x-event-key", b"diagnostics:ping") in headers
    assert isinstance(verdict, Refused) or (is_ping and verdict == Tried())
