"""Site of a soak: primary and standby, the address that leads to one of them, a gateway, an upstream, and people."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from aiohttp import ClientError, ClientSession, ClientTimeout, WSMsgType, web

from bench.domain import PASSWORD, domain
from tests.database.disks import Disk, can_mount, unmount
from tests.database.servers import Forwarder, Server, servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from uuid import UUID

ROOT = Path(__file__).parents[2]
SECRET = "a-secret-of-the-soak-and-of-nobody-else"
CACHE_SECONDS, STALE_SECONDS, GRACE_SECONDS, POOL_MAX = 20, 60, 1, 8
START_SECONDS = 60
CONFIGURATION = "wal_keep_size = 256MB\nwal_retrieve_retry_interval = 200ms\nmax_wal_size = 256MB\n"
STREAM_PATH = "/api/events"
EVENT_SECONDS = 0.1
LARGE_PATH = "/api/large"
LARGE_BYTES = 1 << 18
PATIENCE = ClientTimeout(total=20)


@dataclass(frozen=True)
class Person:
    id: UUID
    email: str
    token: str
    """An access token without a session, of the organization they are at home in."""
    guest: str
    """The same, of the organization they are a guest in."""
    key: str
    key_id: UUID


@dataclass
class Site:
    primary: Server
    standby: Server
    address: Forwarder
    http: ClientSession
    people: list[Person] = field(default_factory=list)
    disks: dict[Server, Disk] = field(default_factory=dict)
    gateway: tuple[str, int] = ("", 0)
    admin: tuple[str, int] = ("", 0)
    pid: int = 0
    log: Path = Path()

    async def ask(
        self,
        method: str,
        path: str,
        credential: str = "",
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        admin: bool = False,
    ) -> tuple[int, Any]:
        """Return status and content of an answer; 0, and why, where there was none."""
        host, port = self.admin if admin else self.gateway
        sent = dict(headers or {})
        if credential:
            sent |= (
                {"X-API-Key": credential}
                if credential.startswith("whm_")
                else {"Authorization": f"Bearer {credential}"}
            )
        asked = time.monotonic()
        try:
            async with self.http.request(
                method, f"http://{host}:{port}{path}", headers=sent, json=body, timeout=PATIENCE
            ) as answer:
                content = await answer.json(content_type=None)
                return answer.status, content.get("data", content) if isinstance(content, dict) else content
        except (ClientError, TimeoutError) as error:
            return 0, f"{path}: {error!r} after {time.monotonic() - asked:.2f} s"

    async def sign_in(self, person: Person) -> tuple[int, Any]:
        return await self.ask("POST", "/api/auth/login", body={"email": person.email, "password": PASSWORD})

    async def sql(self, statement: str, *arguments: object) -> list[Any]:
        """Run a statement on the primary, whatever is done to the gateway's way there."""
        url = self.primary.url()
        connection = await asyncpg.connect(
            url, timeout=5, command_timeout=5, server_settings={"default_transaction_read_only": "off"}
        )
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            connection.terminate()

    async def insist(self, statement: str, *arguments: object) -> None:
        """Run a statement on the primary again and again until it is committed."""
        while True:
            with suppress(
                OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
            ):
                await self.sql(statement, *arguments)
                return
            await asyncio.sleep(0.1)


async def answer(request: web.Request) -> web.StreamResponse:
    """Be the upstream: say who it was, send events without end, or repeat what comes over a socket."""
    if request.path == STREAM_PATH:
        events = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await events.prepare(request)
        with suppress(ConnectionError):
            while True:
                await events.write(b"data: there\n\n")
                await asyncio.sleep(EVENT_SECONDS)
    if request.path == LARGE_PATH:
        return web.Response(body=bytes(LARGE_BYTES))
    if request.headers.get("Upgrade", "").lower() != "websocket":
        length = len(await request.read())
        return web.json_response({"user": request.headers.get("X-User-ID"), "bytes": length})
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    application = web.Application(client_max_size=1 << 20)
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def people(url: str, count: int) -> list[Person]:
    """Fill the database with members of one organization, who are guests in another."""
    found = []
    async with domain(url, SECRET) as (accounts, tokens):
        home, elsewhere = [
            await accounts.administration.create_organization(name) for name in ("Home", "Elsewhere")
        ]
        for number in range(count):
            email = f"person{number}@example.com"
            user = await accounts.administration.create_user(
                email=email,
                password=PASSWORD,
                full_name=f"Person {number}",
                organization_id=home,
                role="admin",
            )
            await accounts.administration.add_member(user, elsewhere, "agent")
            row, key = await accounts.administration.create_api_key(user, home, "soak")

            def issue(organization: UUID, user: UUID = user) -> str:
                return tokens.issue_access(
                    user_id=user,
                    organization_id=organization,
                    email="",
                    role_id=None,
                    is_super_admin=False,
                    now=time.time(),
                )

            found.append(Person(user, email, issue(home), issue(elsewhere), key, row.id))
    return found


def environment(url: str, upstream: int) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    settings = {
        "LISTEN": "127.0.0.1:0",
        "ADMIN_LISTEN": "127.0.0.1:0",
        "DATABASE_URL": url,
        "DATABASE_POOL_MAX": str(POOL_MAX),
        "DATABASE_RENEW_SECONDS": "5",
        "IDENTITY_CACHE_SECONDS": str(CACHE_SECONDS),
        "IDENTITY_STALE_SECONDS": str(STALE_SECONDS),
        "IDENTITY_REFUSED_SECONDS": "1",
        "IDENTITY_CACHE_ENTRIES": "1000",  # so that what is remembered does not pass for a leak
        "IDENTITY_REFUSED_ENTRIES": "1000",
        "TOKEN_GRACE_SECONDS": str(GRACE_SECONDS),
        "JWT_SECRET": SECRET,
        "PASSWORD_COST": "4",
        "UPSTREAM_URL": f"http://127.0.0.1:{upstream}",
        "LOG_ACCESS": "false",
    }
    path = os.environ.get("PYTHONPATH", str(ROOT))  # of a compiled tree, where that is to be run
    return {**clean, "PYTHONPATH": path, **{f"GATEWAY_{name}": text for name, text in settings.items()}}


@asynccontextmanager
async def serving(site: Site, folder: Path, upstream: int) -> AsyncIterator[None]:
    """Run the gateway as a process of its own; its log is a file."""
    site.log = folder / "gateway.log"
    with site.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve"),
            env=environment(site.address.url(), upstream),
            cwd="/",
            stdout=log,
            stderr=log,
        )
    site.pid = process.pid
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (told := [one for one in events(site.log) if one["event"] == "listening"]):
                assert process.returncode is None, site.log.read_text()
                await asyncio.sleep(0.05)
        site.gateway, site.admin = (tuple(told[0][name]) for name in ("public", "admin"))
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def events(log: Path) -> Iterator[Any]:
    """The events of a log; whatever else stands in it is one called by its text."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            yield {"event": line, "level": "text"}


@asynccontextmanager
async def site(folder: Path, count: int) -> AsyncIterator[Site]:
    """Build everything in `folder`, with `count` people; all of it is stopped in the end."""
    async with AsyncExitStack() as stack:
        disks = []
        for name in ("d0", "d1"):
            (folder / name).mkdir()
            if can_mount(folder / name):
                stack.callback(unmount, folder / name)
                disks.append(Disk(folder / name))
        both = stack.enter_context(servers(folder / "s", 2, [disk.path for disk in disks]))
        primary, standby = both
        await asyncio.to_thread(primary.make)
        with (primary.files / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION)
        await asyncio.to_thread(primary.start)
        found = await people(primary.url(), count)
        await asyncio.to_thread(standby.copy, primary)
        await asyncio.to_thread(standby.start)
        address = await stack.enter_async_context(Forwarder(primary.path))
        http = await stack.enter_async_context(ClientSession())
        one = Site(primary, standby, address, http, found, dict(zip(both, disks, strict=False)))
        port = await stack.enter_async_context(upstream())
        await stack.enter_async_context(serving(one, folder, port))
        yield one
