"""Azure DevOps: who gets in, which deliveries are the same, and what a notification becomes."""

from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.providers import PROVIDERS, azure
from ingress.providers.body import Body
from ingress.providers.headers import Headers
from ingress.providers.provider import Facts, Identity, Request
from ingress.providers.push import DELETION, MAX_CHANGES, MERGE_QUEUE, NO_REF, NOT_A_BRANCH
from ingress.providers.signing import Refused, Verdict, Verified, check_basic
from ingress.receive import NOT_AN_OBJECT
from shared import clock
from shared.event import Kind, WebhookEvent
from tests.unit.ingress import senders
from tests.unit.ingress.senders import OLD_SECRET, SECRET, SHA, Ingress, Pairs, basic

SECRETS = [SECRET.encode(), OLD_SECRET.encode()]
OTHER = "1a" * 20
TAG = "4d" * 20
ZEROS = "0" * 40
EVENT_ID = "03c164c2-8912-4d5e-8009-3707d5f83734"
SUBSCRIPTION = "4f6e6328-0251-4814-a009-c01dfa368e3f"
NIL = "00000000-0000-0000-0000-000000000000"
REPOSITORY = {
    "id": "278d5cd2-584d-4b63-824a-2ba458937249",
    "name": "app",
    "project": {"name": "Home"},
    "remoteUrl": "https://dev.azure.com/acme/Home/_git/app",
    "defaultBranch": "refs/heads/main",
}


def identify(body: dict[str, Any]) -> Identity:
    return PROVIDERS["azure"].identify(Headers([]), body)


def read(event: object, resource: object) -> tuple[Facts, ...]:
    body = {"eventType": event, "resource": resource}
    return PROVIDERS["azure"].normalize(identify(body), body)


def verify(headers: Pairs) -> Verdict:
    return PROVIDERS["azure"].verify(Request(Headers(headers), Body(b"{}")), SECRETS)


def update(ref: object, old: object = OTHER, new: object = SHA) -> dict[str, Any]:
    return {"name": ref, "oldObjectId": old, "newObjectId": new}


def pushed(*updates: Any, **more: Any) -> dict[str, Any]:
    return {"repository": REPOSITORY, "refUpdates": list(updates), **more}


@pytest.mark.parametrize(("password", "index"), [(SECRET, 0), (OLD_SECRET, 1)])
@pytest.mark.parametrize("user", ["", "anyone", "größe"])
def test_the_password_is_the_secret_and_the_user_may_be_anyone(user: str, password: str, index: int) -> None:
    assert verify([(b"authorization", basic(user, password))]) == Verified(index)


def test_a_secret_may_hold_colons() -> None:
    assert check_basic(basic("anyone", "a:b:c"), [b"a:b:c"]) == Verified(0)


def test_the_name_of_the_scheme_may_be_in_either_case() -> None:
    assert verify([(b"authorization", basic("anyone", SECRET).replace(b"Basic", b"bAsIc"))]) == Verified(0)


GOOD = basic("anyone", SECRET)
MALFORMED = {
    "absent": (),
    "empty": (b"",),
    "scheme alone": (b"Basic",),
    "nothing in it": (b"Basic ",),
    "no scheme": (GOOD.removeprefix(b"Basic "),),
    "other scheme": (b"Bearer " + SECRET.encode(),),
    "the secret itself": (b"Basic " + SECRET.encode(),),
    "no colon": (b"Basic " + b64encode(SECRET.encode()),),
    "no password": (basic("anyone", ""),),
    "the secret as the user": (basic(SECRET, ""),),
    "blank behind the password": (basic("anyone", SECRET + " "),),
    "half of it": (basic("anyone", SECRET[:-1]),),
    "cut off": (GOOD[:-3],),
    "no base64": (b"Basic \xff\xfe=",),
    "more behind it": (GOOD + b", Basic x",),
    "sent twice": (GOOD, GOOD),
    "one good of two": (basic("anyone", "wrong"), GOOD),
}


@pytest.mark.parametrize("values", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_credentials_are_refused(values: tuple[bytes, ...]) -> None:
    assert isinstance(verify([(b"authorization", value) for value in values]), Refused)


def test_a_hook_without_a_secret_lets_nobody_in() -> None:
    for secrets in ([], [b""]):
        assert isinstance(check_basic(basic("anyone", ""), secrets), Refused)


def test_a_signature_that_is_not_microsofts_opens_nothing() -> None:
    """Some pages tell of an X-AzureDevOps-Signature; Microsoft's do not."""
    headers = [(b"x-azuredevops-signature", b"sha256=" + senders.hex_hmac(b"{}"))]

    assert isinstance(verify(headers), Refused)


@given(st.binary(min_size=1, max_size=60).filter(lambda secret: secret != b""), st.integers(min_value=0))
def test_a_password_with_a_flipped_bit_is_never_accepted(secret: bytes, position: int) -> None:
    changed = bytearray(secret)
    changed[position // 8 % len(secret)] ^= 1 << position % 8

    assert check_basic(b"Basic " + b64encode(b"u:" + secret), [secret]) == Verified(0)
    assert isinstance(check_basic(b"Basic " + b64encode(b"u:" + bytes(changed)), [secret]), Refused)


@given(st.lists(st.tuples(st.just(b"authorization"), st.binary(max_size=80).map(b"Basic ".__add__)), max_size=2))
def test_any_request_of_a_stranger_is_refused_without_an_exception(headers: Pairs) -> None:
    assert isinstance(verify(headers), Refused)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"id": EVENT_ID}, EVENT_ID),
        ({"id": EVENT_ID, "subscriptionId": SUBSCRIPTION, "notificationId": 7}, f"{SUBSCRIPTION}:7"),
        ({"subscriptionId": SUBSCRIPTION, "notificationId": 7}, f"{SUBSCRIPTION}:7"),
        ({"id": EVENT_ID, "subscriptionId": SUBSCRIPTION}, EVENT_ID),
        ({"id": EVENT_ID, "subscriptionId": SUBSCRIPTION, "notificationId": "7"}, EVENT_ID),
        ({"id": EVENT_ID, "subscriptionId": SUBSCRIPTION, "notificationId": True}, EVENT_ID),
        ({"id": EVENT_ID, "subscriptionId": NIL, "notificationId": 1}, EVENT_ID),
        ({"id": NIL}, None),
        ({"id": "nora@fields.example"}, None),
        ({"id": 7}, None),
        ({"id": [EVENT_ID]}, None),
        ({"notificationId": 7}, None),
        ({}, None),
    ],
)
def test_the_id_is_the_notifications_and_else_the_events(body: dict[str, Any], expected: str | None) -> None:
    assert identify(body).delivery_id == expected


async def test_a_retry_is_the_same_delivery_and_a_second_subscription_another() -> None:
    ingress = Ingress()
    body = {"id": EVENT_ID, "eventType": "git.push", "resource": pushed(update("refs/heads/main"))}
    sent = [body | {"subscriptionId": SUBSCRIPTION, "notificationId": number} for number in (1, 1, 2)]

    for one in sent:
        await ingress.post("/listener/azure/global", orjson.dumps(one), senders.azure())

    first, again, other = ingress.events
    assert first.id == again.id
    assert first.receipt_id != again.receipt_id
    assert other.id != first.id


def test_before_the_sender_is_believed_nothing_is_read_from_the_body() -> None:
    assert identify({}) == Identity("azure", None, None)


async def test_three_refs_in_one_delivery_are_three_events_in_order_and_the_deletion_is_ignored() -> None:
    ingress = Ingress()
    updates = [update("refs/heads/main"), update("refs/tags/v1", ZEROS), update("refs/heads/old", OTHER, ZEROS)]
    body = orjson.dumps({"id": EVENT_ID, "eventType": "git.push", "resource": pushed(*updates)})

    answered = await ingress.post("/listener/azure/global", body, senders.azure())

    assert answered.status == 202
    assert [(event.kind, event.branch or event.tag, event.created, event.ignored) for event in ingress.events] == [
        (Kind.PUSH, "main", False, None),
        (Kind.TAG, "v1", True, None),
        (Kind.PUSH, "old", False, DELETION),
    ]


@pytest.mark.parametrize("zeros", [ZEROS, "0" * 64])
def test_a_deletion_never_deploys(zeros: str) -> None:
    (facts,) = read("git.push", pushed(update("refs/heads/main", OTHER, zeros)))

    assert (facts["deleted"], facts["ignored"], facts["after"]) == (True, DELETION, None)


@pytest.mark.parametrize(
    ("ref", "kind", "branch", "tag", "ignored"),
    [
        ("refs/heads/main", Kind.PUSH, "main", None, None),
        ("refs/tags/main", Kind.TAG, None, "main", None),
        ("refs/heads/refs/tags/x", Kind.PUSH, "refs/tags/x", None, None),
        ("refs/heads/Feature/ÜBER-100%-🚀", Kind.PUSH, "Feature/ÜBER-100%-🚀", None, None),
        ("refs/heads/gh-readonly-queue/main/1", Kind.PUSH, "gh-readonly-queue/main/1", None, MERGE_QUEUE),
        ("refs/pull/1/merge", Kind.CUSTOM, None, None, NOT_A_BRANCH),
        ("main", Kind.CUSTOM, None, None, NO_REF),
    ],
)
def test_branch_and_tag_are_told_apart_by_the_prefix_alone(
    ref: str, kind: Kind, branch: str | None, tag: str | None, ignored: str | None
) -> None:
    (facts,) = read("git.push", pushed(update(ref)))

    assert (facts["kind"], facts.get("branch"), facts.get("tag"), facts["ignored"]) == (kind, branch, tag, ignored)


def test_what_a_tag_points_to_is_not_guessed() -> None:
    (facts,) = read("git.push", pushed(update("refs/tags/v1", ZEROS, TAG)))

    assert (facts["after"], facts["commit"]) == (TAG, None)


def test_no_list_of_files_is_ever_made_or_called_complete() -> None:
    commits = [{"commitId": SHA, "comment": "m", "added": ["a"], "modified": [], "removed": []}]

    (facts,) = read("git.push", pushed(update("refs/heads/main"), commits=commits))

    assert len(facts["commits"]) == 1
    assert (facts["changed_paths"], facts["changed_paths_complete"], facts["forced"]) == (None, None, None)


def test_the_message_is_the_heads_whatever_the_order() -> None:
    commits = [{"commitId": OTHER, "comment": "older"}, {"commitId": SHA, "comment": "head\n\nbody"}]

    (facts,) = read("git.push", pushed(update("refs/heads/main"), commits=commits))

    assert facts["message"] == "head"


def test_the_commits_of_a_push_to_several_refs_belong_to_none_of_them_but_the_heads() -> None:
    commits = [{"commitId": SHA, "comment": "head"}, {"commitId": OTHER, "comment": "older"}]
    updates = [update("refs/heads/a"), update("refs/heads/b", new=TAG)]

    first, second = read("git.push", pushed(*updates, commits=commits))

    assert ([commit.id for commit in first["commits"]], first["message"]) == ([SHA], "head")
    assert (second["commits"], second["message"]) == ((), None)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://acme@dev.azure.com/acme/Home/_git/App", "dev.azure.com/acme/home/app"),
        ("https://dev.azure.com/acme/Home%20Lab/_git/App", "dev.azure.com/acme/home lab/app"),
        ("https://dev.azure.com/acme/_git/App", "dev.azure.com/acme/app/app"),
        ("https://acme.visualstudio.com/DefaultCollection/Home/_git/App", "dev.azure.com/acme/home/app"),
        ("https://acme.visualstudio.com/Home/_git/App", "dev.azure.com/acme/home/app"),
        ("https://tfs.example/tfs/Main/Home/_git/App", "tfs.example/tfs/main/home/_git/app"),
        (None, None),
        (7, None),
    ],
)
def test_both_addresses_of_a_repository_have_one_key(url: object, key: str | None) -> None:
    (facts,) = read("git.push", pushed(update("refs/heads/main"), repository=REPOSITORY | {"remoteUrl": url}))

    assert facts["repository"] is not None
    assert (facts["repository"].key, facts["repository"].full_name) == (key, "Home/app")
    assert facts["repository"].default_branch == "main"
    assert facts["repository"].provider_id == REPOSITORY["id"]


@pytest.mark.parametrize("event", ["git.pullrequest.merged", "git.pullrequest.updated"])
@pytest.mark.parametrize(
    ("status", "merge", "kind"),
    [
        ("completed", "succeeded", Kind.MERGE),
        ("completed", None, Kind.MERGE),
        ("completed", "conflicts", Kind.CUSTOM),
        ("active", "succeeded", Kind.CUSTOM),
        ("abandoned", "succeeded", Kind.CUSTOM),
        ("Completed", "succeeded", Kind.CUSTOM),
    ],
)
def test_a_pull_request_counts_when_it_is_completed(event: str, status: str, merge: str | None, kind: Kind) -> None:
    resource = {
        "repository": REPOSITORY,
        "status": status,
        "mergeStatus": merge,
        "sourceRefName": "refs/heads/port",
        "targetRefName": "refs/heads/main",
        "title": "Move it",
        "lastMergeCommit": {"commitId": SHA},
    }

    (facts,) = read(event, resource)

    assert facts["kind"] is kind
    assert (facts.get("branch"), facts.get("commit")) == (("main", SHA) if kind is Kind.MERGE else (None, None))
    assert facts.get("ignored") is None


BUILD = {
    "status": "completed",
    "result": "succeeded",
    "sourceBranch": "refs/heads/main",
    "sourceVersion": SHA,
    "project": {"name": "Home"},
    "definition": {"name": "App CI"},
    "repository": {"type": "TfsGit", "id": REPOSITORY["id"], "name": "app", "url": REPOSITORY["remoteUrl"]},
}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Kind.CI),
        ({"result": "failed"}, Kind.CUSTOM),
        ({"result": "partiallySucceeded"}, Kind.CUSTOM),
        ({"result": "canceled"}, Kind.CUSTOM),
        ({"status": "inProgress"}, Kind.CUSTOM),
    ],
)
def test_only_a_build_that_succeeded_is_done(changes: dict[str, Any], kind: Kind) -> None:
    (facts,) = read("build.complete", BUILD | changes)

    assert (facts["kind"], facts.get("ignored")) == (kind, None)
    assert (facts.get("branch"), facts.get("commit")) == (("main", SHA) if kind is Kind.CI else (None, None))


def test_a_build_of_a_tag_is_of_no_branch() -> None:
    (facts,) = read("build.complete", BUILD | {"sourceBranch": "refs/tags/main"})

    assert (facts["kind"], facts["tag"], facts.get("branch")) == (Kind.CI, "main", None)


def test_a_build_of_a_pull_request_starts_nothing() -> None:
    (facts,) = read("build.complete", BUILD | {"sourceBranch": "refs/pull/1/merge"})

    assert (facts["kind"], facts["ignored"]) == (Kind.CUSTOM, NOT_A_BRANCH)


def test_a_build_names_the_repository_that_it_built() -> None:
    elsewhere = {"type": "GitHub", "id": "Acme/App", "name": "Acme/App", "url": "https://github.com/Acme/App.git"}

    (own,) = read("build.complete", BUILD)
    (other,) = read("build.complete", BUILD | {"repository": elsewhere})

    assert own["repository"] is not None
    assert other["repository"] is not None
    assert (own["repository"].full_name, own["repository"].key) == ("Home/app", "dev.azure.com/acme/home/app")
    assert (other["repository"].full_name, other["repository"].key) == ("Acme/App", "github.com/acme/app")


@pytest.mark.parametrize(
    ("person", "name"),
    [
        ({"uniqueName": "nora@fields.example", "displayName": "Nora"}, "Nora"),
        ({"uniqueName": "Windows Live ID\\nora@fields.example", "displayName": "Nora"}, "Nora"),
        ({"uniqueName": "ACME\\nora", "displayName": "Nora"}, "ACME\\nora"),
        ({"uniqueName": "nora@fields.example", "displayName": "nora@fields.example"}, None),
    ],
)
def test_addresses_stay_outside(person: dict[str, str], name: str | None) -> None:
    commits = [{"commitId": SHA, "comment": "by nora@fields.example", "author": {"name": "n@fields.example"}}]

    (facts,) = read("git.push", pushed(update("refs/heads/main"), commits=commits, pushedBy=person))

    assert facts["sender"] == name
    assert "@fields" not in str(facts)


@pytest.mark.parametrize("event", [None, 7, "", [], {}, "a b", "git.push\n", "nora@fields.example", "x" * 201])
def test_a_body_that_names_no_event_is_ignored(event: object) -> None:
    (facts,) = read(event, pushed(update("refs/heads/main")))

    assert identify({"eventType": event}).source_event is None
    assert (facts["kind"], facts["ignored"]) == (Kind.CUSTOM, azure.NO_EVENT)


def test_a_subscription_without_details_is_told_what_to_change() -> None:
    (facts,) = read("git.push", None)

    assert (facts["kind"], facts["ignored"]) == (Kind.CUSTOM, azure.NO_DETAILS)


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"7"])
async def test_a_body_that_is_no_object_is_ignored(body: bytes) -> None:
    ingress = Ingress()

    answered = await ingress.post("/listener/azure/global", body, senders.azure())

    assert answered.status == 200
    assert [event.ignored for event in ingress.events] == [NOT_AN_OBJECT]


def test_another_event_is_custom() -> None:
    (facts,) = read("workitem.created", {"id": 5})

    assert (facts["kind"], facts.get("ignored")) == (Kind.CUSTOM, None)


WRONG: list[object] = [7, True, "x", [], [7], {}, [[]]]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("event", ["git.push", "git.pullrequest.merged", "git.pullrequest.updated", "build.complete"])
def test_wrong_types_give_an_ignored_custom_event(event: str, wrong: object) -> None:
    inner = dict.fromkeys(["refUpdates", "repository", "pushedBy", "targetRefName", "status", "sourceBranch"], wrong)

    for resource in (wrong, inner):
        for facts in read(event, resource):
            assert facts["kind"] is Kind.CUSTOM
            assert facts["ignored"]
            assert (facts["repository"], facts.get("sender")) == (None, None)


def test_refs_beyond_the_cap_are_told_of() -> None:
    facts = read("git.push", pushed(*(update(f"refs/heads/b{position}") for position in range(MAX_CHANGES + 1))))

    assert len(facts) == MAX_CHANGES + 1
    assert facts[-1]["ignored"] == "the push changes 1 refs more than 1000"


KEYS = [
    "author",
    "branch",
    "comment",
    "commitId",
    "commits",
    "createdBy",
    "definition",
    "defaultBranch",
    "displayName",
    "id",
    "lastMergeCommit",
    "mergeStatus",
    "name",
    "newObjectId",
    "notificationId",
    "oldObjectId",
    "project",
    "pushedBy",
    "refUpdates",
    "remoteUrl",
    "repository",
    "requestedFor",
    "result",
    "sourceBranch",
    "sourceVersion",
    "sshUrl",
    "status",
    "subscriptionId",
    "targetRefName",
    "title",
    "type",
    "uniqueName",
    "url",
]
TEXTS = [
    "",
    "refs/heads/main",
    "refs/tags/v1",
    "refs/pull/1/merge",
    SHA,
    ZEROS,
    EVENT_ID,
    "completed",
    "succeeded",
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
EVENTS = st.one_of(
    st.sampled_from(
        ["git.push", "git.pullrequest.merged", "git.pullrequest.updated", "build.complete", "workitem.created"]
    ),
    documents,
)


@given(EVENTS, st.one_of(documents, objects), objects)
def test_any_json_object_becomes_valid_facts(event: object, resource: object, more: dict[str, Any]) -> None:
    body = {**more, "eventType": event, "resource": resource}

    identity = identify(body)
    facts = PROVIDERS["azure"].normalize(identity, body)

    assert facts
    assert identity.source_event is None or identity.source_event.isascii()
    for fact in facts:
        found = WebhookEvent(
            id="i",
            delivery_id="d",
            receipt_id="r",
            provider="azure",
            source_event=identity.source_event,
            provider_delivery_id=identity.delivery_id,
            received_at=clock.now(),
            **fact,
        )
        assert WebhookEvent.from_bytes(found.to_bytes()) == found
        assert found.changed_paths is None
        assert not found.changed_paths_complete
