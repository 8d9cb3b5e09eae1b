"""Upstreams that fail in turn: each request of a test gets the next answer, or none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.peers import PATIENCE, read_body, read_head

if TYPE_CHECKING:
    from tests.support.peers import Message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
CUT = b""
"""In place of an answer: the connection is closed."""
SILENCE = b"-"
"""In place of an answer: nothing, and the connection stays open."""
PARTIAL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"
EAGER = {"retry_backoff_seconds": 0.001, "retry_budget_floor": 100}


class Flaky:
    """An upstream's script: the answer of each request in turn, the last one for all further ones.

    Attributes:
        seen: The requests with their bodies, in the order in which they came whole.
        came: When each came, by the loop's clock.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.seen: list[Message] = []
        self.came: list[float] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await read_head(reader)
            message.body = await read_body(reader, message, until_close=False)
            self.seen.append(message)
            self.came.append(asyncio.get_running_loop().time())
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer == SILENCE:
                await reader.read()
            if answer in {CUT, SILENCE}:
                return
            writer.write(answer)
            await writer.drain()
            if answer == PARTIAL:
                return

    async def has(self, number: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < number:
                await asyncio.sleep(0.01)

    @property
    def methods(self) -> list[bytes]:
        return [message.start.split(b" ")[0] for message in self.seen]
