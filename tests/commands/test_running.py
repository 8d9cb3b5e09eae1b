"""The client of a running gateway's admin listener: whom it asks, and whom it gives the admin token."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.commands import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.commands import Run

TOKEN: Final = "an-admin-token-of-the-tests"
LIST: Final = ("limits", "list", "--json", "--gateway")


@asynccontextmanager
async def answering(head: str, body: str = "") -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run a server that answers each request with `head` and `body`; yield its URL, and the heads that came."""
    came: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))
        more = f"Content-Length: {len(body)}\r\nConnection: close"
        writer.write(f"HTTP/1.1 {head}\r\n{more}\r\n\r\n{body}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", came


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
async def test_the_admin_token_goes_to_no_proxy_of_the_environment(run: Run, name: str) -> None:
    async with AsyncExitStack() as servers:
        gateway, asked = await servers.enter_async_context(answering("200 OK", '{"limits": {}}'))
        proxy, passed = await servers.enter_async_context(answering("200 OK", "{}"))
        around = {name: proxy, "no_proxy": "", "GATEWAY_ADMIN_TOKEN": TOKEN}
        result = await asyncio.to_thread(run, *LIST, gateway, **around)
    assert result.exit_code == 0, result.output
    assert passed == []
    (head,) = asked
    assert f"Authorization: Bearer {TOKEN}".encode() in head


async def test_the_admin_token_goes_to_nobody_whom_a_redirect_names(run: Run) -> None:
    async with AsyncExitStack() as servers:
        other, asked = await servers.enter_async_context(answering("200 OK", "{}"))
        moved = f"302 Found\r\nLocation: {other}/status.json"
        gateway, _ = await servers.enter_async_context(answering(moved))
        result = await asyncio.to_thread(run, *LIST, gateway, GATEWAY_ADMIN_TOKEN=TOKEN)
    refused(result, 1, f"{gateway} answers 302: is it the admin listener of a gateway?")
    assert asked == []


async def test_a_gateway_none_of_whose_workers_answers_is_an_error(run: Run) -> None:
    async with answering("200 OK", '{"workers": {"0": {"ready": false}}, "together": {}}') as (gateway, _):
        result = await asyncio.to_thread(run, *LIST, gateway)
    refused(result, 1, f"no worker of the gateway at {gateway} answers")
