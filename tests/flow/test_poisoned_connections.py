"""An upstream's response never decides about the next request: fields that look like framing, wherever they stand."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.support.peers import Client, read_body, read_head

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

FIELDS = (
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Proxy-Connection: close",
    b"Proxy-Connection: keep-alive",
    b"Keep-Alive: timeout=5, max=1",
    b"Content-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: five",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: identity",
    b"Trailer: X-Sum",
    b"TE: trailers",
    b"Upgrade: websocket",
    b"Host: elsewhere",
    b"Expect: 100-continue",
)
FRAMING = (b"Content-Length", b"Transfer-Encoding")


def ending(field: bytes, stamp: bytes) -> dict[str, bytes]:
    """Responses of every kind with the field in every place where it is allowed; each but the HEAD's says hello."""
    line = b"X-Now: %b\r\n%b\r\n" % (stamp, field)
    plain = b"X-Now: %b\r\n" % stamp
    known, chunks = b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n"
    chunked = chunks + b"5\r\nhello\r\n0\r\n"
    ok = b"HTTP/1.1 200 OK\r\n"
    found = {
        "trailer": ok + plain + chunked + field + b"\r\n\r\n",
        "trailer among others": ok + plain + chunked + b"X-Sum: 1\r\n" + field + b"\r\nX-Last: 2\r\n\r\n",
    }
    if not field.startswith(FRAMING):
        found |= {
            "length": ok + line + known,
            "chunked": ok + line + chunked + b"\r\n",
            "empty": ok + line + b"Content-Length: 0\r\n\r\n",
            "no content": b"HTTP/1.1 204 No Content\r\n" + line + b"\r\n",
            "not modified": b"HTTP/1.1 304 Not Modified\r\n" + line + b"Content-Length: 5\r\n\r\n",
            "head": ok + line + b"Content-Length: 5\r\n\r\n",
            "head of nothing": ok + line + b"Content-Length: 0\r\n\r\n",
            "HTTP/1.0": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + line + known,
            "interim": b"HTTP/1.1 103 Early Hints\r\n" + line + b"\r\n" + ok + plain + known,
            "two interim": (b"HTTP/1.1 103 Early Hints\r\n" + line + b"\r\n") * 2 + ok + plain + known,
            "interim before chunks": b"HTTP/1.1 100 Continue\r\n"
            + line
            + b"\r\n"
            + ok
            + plain
            + chunked
            + b"\r\n",
        }
    return found


KINDS = list(ending(b"X: 1", b"1"))


class Poisoned:
    """An upstream that keeps its connections, and whose responses to all but POST have the field."""

    def __init__(self, kind: str, step: int) -> None:
        self.field = b""
        self._kind = kind
        self._step = step
        self._stamps = count()
        self.seen: list[tuple[bytes, bytes]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await read_head(reader)
            except (asyncio.IncompleteReadError, TimeoutError):
                return
            request.body = await read_body(reader, request, until_close=False)
            method = request.start.split(b" ")[0]
            self.seen.append((method, request.body))
            stamp = b"%d" % next(self._stamps)
            answer = b"HTTP/1.1 200 OK\r\nX-Now: %b\r\nContent-Length: 2\r\n\r\n" % stamp
            answer += b"" if method == b"HEAD" else b"ok"
            if method != b"POST":
                answer = ending(self.field, stamp)[self._kind]
            for at in range(0, len(answer), self._step):
                writer.write(answer[at : at + self._step])
                await writer.drain()
                if self._step < len(answer):
                    await asyncio.sleep(0)


@pytest.mark.parametrize("step", [1 << 16, 7], ids=["whole", "in pieces"])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_next_request_is_answered_after_a_response_with_any_field_in_any_place(
    start: Start, upstream: Upstream, kind: str, step: int
) -> None:
    gateway = await start(public=("/*",))
    poisoned = upstream.script = Poisoned(kind, step)
    for field in FIELDS:
        if kind not in ending(field, b"1"):
            continue
        poisoned.field = field
        poisoned.seen.clear()
        method = b"HEAD" if kind.startswith("head") else b"GET"
        for turn in range(4):
            async with Client(gateway.address) as one, Client(gateway.address) as other:
                await one.send(method + b" / HTTP/1.1\r\nHost: e\r\n\r\n")
                first = await one.response(head_only=method == b"HEAD")
                assert first.status == {"no content": 204, "not modified": 304}.get(kind, 200), field
                if kind in {"length", "chunked", "HTTP/1.0"} or "trailer" in kind or "interim" in kind:
                    assert first.body == b"hello", field
                body = b"turn %d" % turn
                second = await other.exchange(
                    b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                )
                assert (second.status, second.body) == (200, b"ok"), field
        assert poisoned.seen == [
            pair for turn in range(4) for pair in ((method, b""), (b"POST", b"turn %d" % turn))
        ], field
