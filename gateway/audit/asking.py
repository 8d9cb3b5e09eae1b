"""HTTP client of the audit: it sends bytes as they are given, one request a connection, within a budget.

Laws:

- It connects to the targets that it was made for and to nothing else: no redirect is followed, no proxy is used.
- There is a greatest number of requests and a greatest rate, and every wait has a bound.
- An answer is read as it comes: what cannot be parsed is an answer with status 0.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from gateway.audit.check import BudgetSpent, Unreachable

MOST_BODY: Final = 65_536
AGENT: Final = "User-Agent: whatomate-gateway-audit"
_HEAD_END: Final = b"\r\n\r\n"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: |\Z)")


@dataclass(frozen=True, slots=True)
class Url:
    """Origin that is asked: scheme, host and port, without a path."""

    secure: bool
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Url:
        """Parse ``http://host[:port]`` or ``https://host[:port]``.

        Raises:
            ValueError: the text has another form.
        """
        parts = urlsplit(text)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        if default is None or not parts.hostname or parts.username is not None:
            raise ValueError(f"{text}: should be http://host:port or https://host")
        if parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise ValueError(f"{text}: should have no path and no query")
        return cls(parts.scheme == "https", parts.hostname, parts.port or default)

    @property
    def authority(self) -> str:
        """Host and port as a Host field has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Response:
    """Answer to a request.

    Attributes:
        status: Its status; 0 if there was none, or nothing that could be read.
        fields: Its field lines, names in lower case.
        body: At most ``MOST_BODY`` bytes of its body, as it came.
        closed: The connection was closed after it, within the time that was waited.
        seconds: From the request to the head of the answer.
    """

    status: int
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    closed: bool = True
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """True if the status is 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 -- HTTP's classes

    def all(self, name: str) -> list[str]:
        """Return the values of a field."""
        return [value for key, value in self.fields if key == name]

    def one(self, name: str) -> str:
        """Return the first value of a field; empty if there is none."""
        return next(iter(self.all(name)), "")


@dataclass
class Asker:
    """HTTP client with a budget.

    Attributes:
        most: Requests at most.
        rate: Requests a second at most.
        timeout: Seconds until an answer is given up.
        sent: Requests so far.
        next_turn: Monotonic seconds before which there is no further request.
    """

    most: int
    rate: float
    timeout: float
    sent: int = 0
    next_turn: float = field(default=0.0, repr=False)

    async def ask(self, url: Url, raw: bytes) -> Response:
        """Send `raw` on a connection of its own, and return the answer.

        Raises:
            BudgetSpent: there have been as many requests as there may be.
            Unreachable: no connection can be opened.
        """
        await self._turn()
        try:
            async with asyncio.timeout(self.timeout):
                reader, writer = await asyncio.open_connection(
                    url.host, url.port, ssl=unverified() if url.secure else None, limit=MOST_BODY
                )
        except (OSError, TimeoutError, ssl.SSLError) as error:
            raise Unreachable(f"{url} cannot be reached: {str(error) or type(error).__name__}") from error
        try:
            return await self._answer(reader, writer, raw)
        finally:
            writer.close()
            with suppress(OSError, TimeoutError, ssl.SSLError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _turn(self) -> None:
        if self.sent >= self.most:
            raise BudgetSpent(f"{self.most} requests have been made; allow more with --requests")
        self.sent += 1
        wait = self.next_turn - time.monotonic()
        self.next_turn = max(self.next_turn, time.monotonic()) + 1 / self.rate
        if wait > 0:
            await asyncio.sleep(wait)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes
    ) -> Response:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout):
                writer.write(raw)
                with suppress(OSError):
                    await writer.drain()
                head = await reader.readuntil(_HEAD_END)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return Response(0, seconds=time.monotonic() - began)
        seconds = time.monotonic() - began
        start, *lines = head.removesuffix(_HEAD_END).split(b"\r\n")
        match = _STATUS.match(start)
        if match is None:
            return Response(0, body=head, seconds=seconds)
        pairs = (line.decode("latin-1").partition(":") for line in lines)
        fields = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
        body, closed = await self._body(reader, dict(fields))
        return Response(int(match[1]), fields, body, closed, seconds)

    async def _body(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> tuple[bytes, bool]:
        """Return what comes after a head, and whether the connection was closed then."""
        body, length = b"", fields.get("content-length", "")
        wait = self.timeout if length.isdecimal() and len(length) < 10 else 1  # noqa: PLR2004 -- as a number has
        want = int(length) if wait == self.timeout else MOST_BODY
        try:
            while len(body) < min(want, MOST_BODY):
                async with asyncio.timeout(wait):
                    piece = await reader.read(MOST_BODY)
                if not piece:
                    return body, True
                body += piece
                if body.endswith(b"0\r\n\r\n") and "chunked" in fields.get("transfer-encoding", "").lower():
                    break
            async with asyncio.timeout(1):
                more = await reader.read(MOST_BODY)
        except (OSError, TimeoutError):
            return body, False
        return body + more, not more


def unverified() -> ssl.SSLContext:
    """Return a TLS context that takes any certificate: the check ``tls`` looks at the certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
