"""Callers for ``bench.revocation``: users in a database, their credentials, persistent connections; and an upstream."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from authcore.credentials import PasswordLogin
from bench.domain import PASSWORD, domain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


@dataclass(frozen=True)
class Site:
    """Database of the benchmark, and the credential line of each caller."""

    url: str
    lines: dict[str, str]
    unknown_callers: Iterator[str]
    """Endless credential lines, each of which was never used before."""


class Line:
    """Persistent connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Line:
        """Open a connection."""
        return cls(*await asyncio.open_connection(*address))

    async def ask(self, path: str, credential: str) -> int:
        """Send a request, and return the status of its answer."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n{credential}\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))
        return int(head[9:12])

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection as the upstream."""
    with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    writer.close()


async def people(url: str, secret: str) -> Site:
    """Fill the database: an administrator with a key, and a guest with a membership in another organization."""
    async with domain(url, secret) as (accounts, tokens):
        home, elsewhere = [
            await accounts.administration.create_organization(name) for name in ("Home", "Elsewhere")
        ]
        admin, guest = [
            await accounts.administration.create_user(
                email=f"{name}@example.com",
                password=PASSWORD,
                full_name=name,
                organization_id=home,
                role="admin",
            )
            for name in ("admin", "guest")
        ]
        await accounts.administration.add_member(guest, elsewhere, "agent")
        _, key = await accounts.administration.create_api_key(admin, home, "bench")
        signed_in = await accounts.login(PasswordLogin("admin@example.com", PASSWORD), time.time())

    def bearer(user: UUID, organization: UUID, ago: int = 0) -> str:
        token = tokens.issue_access(
            user_id=user,
            organization_id=organization,
            email="",
            role_id=None,
            is_super_admin=False,
            now=time.time() - ago,
        )
        return f"Authorization: Bearer {token}"

    lines = {"key": f"X-API-Key: {key}", "admin": bearer(admin, home), "guest": bearer(guest, elsewhere)}
    lines["session"] = f"Authorization: Bearer {signed_in.tokens.access_token}"
    return Site(url, lines, (bearer(admin, home, ago) for ago in count(1)))
