"""
The load generator: HTTP/1.1 over kept-alive raw sockets, in a process of its own, so that the measured program and not its client is the limit.

Requests are bytes from the start; only `X-GitHub-Delivery`, which nobody signs, is filled in per request. A closed loop sends on each connection
as soon as the answer is there. An open loop has a time for each request and counts from that time, whether a connection was free by then or not,
so a stall shows in every request that it delayed.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from uuid import uuid4

import orjson
import uvloop

from bench.figures import Sample

ROOT = Path(__file__).resolve().parent.parent
LAST_ANSWER_SECONDS = 30.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_MARK = b"\r\nX-GitHub-Delivery: "


class LoadFailed(Exception):
    """The load could not be made, or was not answered as it should; the message says how."""


@dataclass(frozen=True)
class Request:
    """A request without its delivery id: `head` from the request line on, without the empty line; both are ASCII or UTF-8."""

    head: str
    body: str


@dataclass(frozen=True)
class Load:
    """
    What to send, in turn, until `seconds` have passed or `count` requests were sent.

    Without a `rate` it is a closed loop; with one, in requests per second, an open one of `count` requests.
    """

    port: int
    requests: tuple[Request, ...]
    connections: int
    seconds: float
    count: int | None = None
    rate: float | None = None


async def send(load: Load) -> list[Sample]:
    """Make the load from a process of its own; raises `LoadFailed` when that fails or anything but 202 comes back."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        answer, error = await process.communicate(orjson.dumps(load))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise LoadFailed(f"the load generator failed: {error.decode(errors='replace')[-500:]}")
    samples = [Sample(**sample) for sample in orjson.loads(answer)]
    if wrong := Counter(sample.status for sample in samples if sample.status != 202):
        raise LoadFailed(f"answers other than 202: {dict(wrong)}")
    return samples


class _Clock:
    """Unix seconds that never go backwards."""

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() + self._offset


class _Plan:
    """Which request comes next, and whether there is one."""

    def __init__(self, load: Load, clock: _Clock) -> None:
        self.clock = clock
        self.samples: list[Sample] = []
        self.waiting: deque[tuple[float, int]] = deque()
        self.idle: deque[_Connection] = deque()
        self.done = asyncio.Event()
        self.failure: str | None = None
        self.planned = load.count if load.rate is not None else None
        self._is_open = load.rate is not None
        self._parts = [_parts(request) for request in load.requests]
        self._left = load.count if load.count is not None else sys.maxsize
        self._end = clock.now() + load.seconds
        self._open_requests = 0
        self._sent = 0
        self._id = str(uuid4())[8:]

    def bytes_of(self, number: int) -> bytes:
        before, after = self._parts[number % len(self._parts)]
        return b"%b%08x%b%b" % (before, number, self._id.encode(), after)

    def next(self) -> tuple[float, int] | None:
        """The next request's time and number; in an open loop only what is due already."""
        if self._is_open:
            if not self.waiting:
                return None
            self._open_requests += 1
            return self.waiting.popleft()
        now = self.clock.now()
        if self._left <= 0 or now >= self._end:
            return None
        self._left -= 1
        number, self._sent = self._sent, self._sent + 1
        self._open_requests += 1
        return now, number

    def answered(self, at: float, number: int, status: int) -> None:
        seconds = self.clock.now() - at
        self.samples.append(Sample(number % len(self._parts), at, seconds, status))
        self._open_requests -= 1

    def look_whether_done(self) -> None:
        if self._is_open:
            if len(self.samples) == self.planned:
                self.done.set()
        elif not self._open_requests:
            self.done.set()

    def fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.done.set()


class _Connection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._current: tuple[float, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, error: Exception | None) -> None:
        if self._current is not None:
            self._plan.fail(f"a connection was closed before its answer: {error}")
        elif self in self._plan.idle:
            self._plan.idle.remove(self)

    def go_on(self) -> None:
        """Send the next request, if there is one."""
        self._current = self._plan.next()
        if self._current is None:
            self._plan.idle.append(self)
            self._plan.look_whether_done()
            return
        assert self._transport is not None
        self._transport.write(self._plan.bytes_of(self._current[1]))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._current is None:
            return
        length = _LENGTH.search(self._buffer, 0, end + 2)
        if length is None:
            self._plan.fail("an answer says nothing about its length")
            return
        if len(self._buffer) < end + 4 + int(length[1]):
            return
        at, number = self._current
        self._plan.answered(at, number, int(self._buffer[9:12]))
        self._buffer = b""
        self.go_on()

    def close(self) -> None:
        self._current = None
        if self._transport is not None:
            self._transport.close()


def _parts(request: Request) -> tuple[bytes, bytes]:
    return request.head.encode() + _MARK, b"\r\n\r\n" + request.body.encode()


async def _make(load: Load) -> list[Sample]:
    loop = asyncio.get_running_loop()
    plan = _Plan(load, _Clock())
    connections: list[_Connection] = []
    for _ in range(load.connections):
        _, connection = await loop.create_connection(lambda: _Connection(plan), "127.0.0.1", load.port)
        connections.append(connection)
    try:
        async with asyncio.timeout(load.seconds + LAST_ANSWER_SECONDS):
            for connection in connections:
                connection.go_on()
            if load.rate is not None:
                await _release(load, plan, plan.clock.now() + 0.05)
            await plan.done.wait()
    except TimeoutError:
        plan.fail(f"no answer within {LAST_ANSWER_SECONDS:.0f} s of the last request")
    finally:
        for connection in connections:
            connection.close()
    if plan.failure:
        raise LoadFailed(plan.failure)
    return plan.samples


async def _release(load: Load, plan: _Plan, begin: float) -> None:
    """Let each request of an open loop go at its time."""
    assert load.rate is not None
    assert load.count is not None
    number = 0
    while number < load.count and not plan.failure:
        now = plan.clock.now()
        while number < load.count and (due := begin + number / load.rate) <= now:
            plan.waiting.append((due, number))
            number += 1
            if plan.idle:
                # The one that has rested longest: a server closes connections that stay silent for seconds.
                plan.idle.popleft().go_on()
        if number < load.count:
            await asyncio.sleep(max(0.0, begin + number / load.rate - plan.clock.now()))


def _read(raw: bytes) -> Load:
    values = orjson.loads(raw)
    requests: Sequence[dict[str, str]] = values.pop("requests")
    return Load(**values, requests=tuple(Request(**request) for request in requests))


def main() -> None:
    """Read a `Load` as JSON from standard input, make it, write the samples to standard output."""
    samples = uvloop.run(_make(_read(sys.stdin.buffer.read())))
    sys.stdout.buffer.write(orjson.dumps([asdict(sample) for sample in samples]))


if __name__ == "__main__":
    main()
