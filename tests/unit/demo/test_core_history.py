"""
What the simulated Core remembers of the requests that it was sent.
"""

from __future__ import annotations

from tests.unit.demo.conftest import Komodo


async def test_a_request_is_remembered_with_its_stack_and_when_it_arrived(komodo: Komodo) -> None:
    before = komodo.core.state.now_ms()

    await komodo.write("RefreshStackCache", stack="cache")
    await komodo.http.post("/write", json={"type": "RefreshStackCache", "params": {"stack": "web"}})

    first, second = komodo.core.history.requests
    assert [(request.variant, request.resource) for request in (first, second)] == [
        ("RefreshStackCache", "cache"),
        ("RefreshStackCache", "web"),
    ]
    assert before <= first.at_ms <= second.at_ms <= komodo.core.state.now_ms()


async def test_a_request_about_no_stack_is_remembered_without_one(komodo: Komodo) -> None:
    await komodo.read("ListTags", query=None)

    (request,) = komodo.core.history.requests
    assert request.resource == ""
