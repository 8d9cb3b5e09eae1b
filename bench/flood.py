"""Flood of one client network: connections that each ask for work that costs, again and again, as fast as they can.

``python -m bench.flood HOST PORT SOURCE KIND CONNECTIONS TOKEN ORGANIZATION`` begins at once and ends with its standard
input; then it prints how often each status came, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Ask = Callable[[int], bytes]

AGAIN_SECONDS: Final = 0.1
"""How long a connection that was refused waits before it is tried again."""


def post(path: str, content: object, *lines: str) -> bytes:
    """Return a request whose body is `content` as JSON."""
    body = json.dumps(content)
    head = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode()


def login(email: str, password: str) -> bytes:
    """Return a sign-in."""
    return post("/api/auth/login", {"email": email, "password": password})


def register(email: str, password: str, organization: str) -> bytes:
    """Return a registration."""
    fields = {"email": email, "password": password, "full_name": "Bench", "organization_id": organization}
    return post("/api/auth/register", fields)


def create_key(name: str, token: str) -> bytes:
    """Return the making of an API key, by the owner of an access token."""
    return post("/api/api-keys", {"name": name}, f"Authorization: Bearer {token}")


def asks(source: str, token: str, organization: str) -> dict[str, Ask]:
    """Return what a flood may ask for, by kind: its request of a number."""
    return {
        "login": lambda number: login(f"guess{number}@{source}.example", "a wrong password"),
        "register": lambda number: register(
            f"new{number}@{source}.example", "a password of a flood", organization
        ),
        "keys": lambda number: create_key(f"flood {number}", token),
    }


class Flooding(asyncio.Protocol):
    """One connection of a flood."""

    def __init__(self, ask: Callable[[], bytes], statuses: Counter[int], again: Callable[[], None]) -> None:
        """`again` opens another connection in place of this one when it is lost."""
        self._ask = ask
        self._statuses = statuses
        self._again = again
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        self._transport.write(self._ask())

    def data_received(self, data: bytes) -> None:
        """Send the next request when an answer is complete."""
        self._received += data
        head, ends, rest = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if ends and len(rest) >= int(length or 0):
            self._statuses[int(head[9:12])] += 1
            self._received = b""
            if self._transport is not None:
                self._transport.write(self._ask())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Open another."""
        self._again()


class Flood:
    """Flood of one client network against one gateway."""

    def __init__(self, address: tuple[str, int], source: str, ask: Ask) -> None:
        self._address, self._source = address, source
        self._numbers = count()
        self._ask = ask
        self._opening: set[asyncio.Task[None]] = set()
        self.statuses: Counter[int] = Counter()

    def open(self, delay: float = 0) -> None:
        """Open a connection, after `delay` seconds."""
        task = asyncio.get_running_loop().create_task(self._open(delay))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, delay: float) -> None:
        await asyncio.sleep(delay)

        def made() -> Flooding:
            return Flooding(
                lambda: self._ask(next(self._numbers)), self.statuses, lambda: self.open(AGAIN_SECONDS)
            )

        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(made, *self._address, local_addr=(self._source, 0))
        except OSError:
            self.open(AGAIN_SECONDS)


async def main(arguments: Sequence[str]) -> None:
    """Flood until standard input ends."""
    host, port, source, kind, connections, token, organization = arguments
    flood = Flood((host, int(port)), source, asks(source, token, organization)[kind])
    for _ in range(int(connections)):
        flood.open()
    with suppress(asyncio.CancelledError):
        await asyncio.to_thread(sys.stdin.read)
    sys.stdout.write(json.dumps(flood.statuses) + "\n")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
