"""The tests' PostgreSQL by a port, for a gateway in another root, which has no way to its Unix socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def over_tcp(url: str) -> AsyncIterator[str]:
    """The tests' PostgreSQL, which listens on a unix socket outside of the image, by a port."""
    parts = urlsplit(url)
    socket = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(str(socket))
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield f"postgresql://gateway@127.0.0.1:{server.sockets[0].getsockname()[1]}{parts.path}"
    finally:
        server.close()
