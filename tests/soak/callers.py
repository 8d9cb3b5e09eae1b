"""Callers of a soak: the known, the revoked, those who sign in, those on sockets. Each goes on until cancelled."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError, ClientSession, ClientTimeout, WSMsgType, WSServerHandshakeError

from tests.soak.site import EVENT_SECONDS, STREAM_PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from random import Random
    from uuid import UUID

    from tests.soak.promises import Ledger
    from tests.soak.site import Person, Site

PATH = "/api/contacts"
SOCKET_PATH = "/api/stream"
PAUSE = 0.15
RETRIES = 200
CLOSED = {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR}


async def known(site: Site, ledger: Ledger, load: str, credential: str) -> None:
    """Call as somebody who may; be known before anything is done to the database."""
    while True:
        asked = time.monotonic()
        status, content = await site.ask("GET", PATH, credential)
        ledger.known(load, status, time.monotonic() - asked)
        if status == 200 and not content["user"]:
            ledger.breaks("whoever is forwarded is named", load)
        await asyncio.sleep(PAUSE)


# -- the revoked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A way to take something away, and to give it back; of the person or the key with an id."""

    take: str
    give: str


USER = Kind(
    "UPDATE users SET is_active = false WHERE id = $1", "UPDATE users SET is_active = true WHERE id = $1"
)
MEMBERSHIP = Kind(
    "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1 AND NOT is_default",
    "UPDATE user_organizations SET deleted_at = NULL WHERE user_id = $1 AND NOT is_default",
)
KEY = Kind(
    "UPDATE api_keys SET is_active = false WHERE id = $1",
    "UPDATE api_keys SET is_active = true WHERE id = $1",
)
SESSION = "UPDATE gateway_sessions SET revoked_at = now() WHERE user_id = $1 AND revoked_at IS NULL"


async def revoked(
    site: Site, ledger: Ledger, random: Random, load: str, kind: Kind, row: UUID, credential: str
) -> None:
    """Be served, be revoked behind the gateway's back, be refused; and be let in again."""
    while True:
        while (await site.ask("GET", PATH, credential))[0] != 200:
            await asyncio.sleep(PAUSE)
        await asyncio.sleep(random.uniform(0, 1))
        await site.insist(kind.take, row)
        await until_refused(site, ledger, load, credential, time.monotonic())
        await site.insist(kind.give, row)


async def session_revoked(site: Site, ledger: Ledger, random: Random, person: Person) -> None:
    """Sign in, have the session ended behind the gateway's back, and be refused."""
    while True:
        pair = await begun(site, ledger, person)
        await asyncio.sleep(random.uniform(0, 1))
        await site.insist(SESSION, person.id)
        await until_refused(site, ledger, "session ended", pair["access_token"], time.monotonic())


async def until_refused(site: Site, ledger: Ledger, load: str, credential: str, revoked: float) -> None:
    """Ask until three refusals have come in a row; note how late the last answer was that should not have been."""
    refused, late = 0, 0.0
    while refused < 3:
        asked = time.monotonic()
        status, _ = await site.ask("GET", PATH, credential)
        ledger.revoked(load, status, revoked, asked)
        if status == 200:
            late, refused = asked - revoked, 0
        elif status in {401, 403}:
            refused += 1
        await asyncio.sleep(0.02)
    ledger.late[ledger.fault].append(late)


# -- sessions -------------------------------------------------------------------------------------------------------


async def signing_in(site: Site, ledger: Ledger, random: Random, person: Person) -> None:
    """Sign in, refresh as a browser with two tabs does, and in the end sign out, or steal an old token."""
    while True:
        pair = await begun(site, ledger, person)
        first = second = pair["refresh_token"]
        for _ in range(random.randint(1, 4)):
            await asyncio.sleep(random.uniform(0.1, 0.6))
            first, second = second, await refreshed(site, ledger, second)
            if not second:
                break
        else:
            if first != second and random.random() < 0.5:
                await stolen(site, ledger, first, second)
            else:
                await ended(site, ledger, person)


async def begun(site: Site, ledger: Ledger, person: Person) -> Any:
    """Sign in, and be served with what that gave."""
    while True:
        status, pair = await site.sign_in(person)
        ledger.newcomer("sign-in", status, pair)
        if status == 200:
            break
        await asyncio.sleep(PAUSE)
    ledger.newcomer("new session", (await site.ask("GET", PATH, pair["access_token"]))[0])
    return pair


async def refreshed(site: Site, ledger: Ledger, token: str) -> str:
    """Refresh twice at once until it is answered; return what follows the token, nothing where it was refused."""
    followed: set[str] = set()
    for _ in range(RETRIES):
        body = {"refresh_token": token}
        answers = await asyncio.gather(*(site.ask("POST", "/api/auth/refresh", body=body) for _ in range(2)))
        for status, pair in answers:
            ledger.newcomer("refresh", status, pair)
            if status == 200:
                followed.add(pair["refresh_token"])
        if len(followed) > 1:
            ledger.breaks("a refresh token is spent once", f"{len(followed)} followed one")
        if 401 in {status for status, _ in answers}:
            return ""
        if followed:
            return followed.pop()
        await asyncio.sleep(PAUSE)
    ledger.breaks("an outage ends", f"no refresh was answered in {RETRIES} attempts")
    return ""


async def stolen(site: Site, ledger: Ledger, old: str, last: str) -> None:
    """Use a token whose successor was used, after the grace; nobody may get anything out of it, nor go on after it."""
    await refreshed(site, ledger, last)
    await asyncio.sleep(2.5)
    for token in (old, last):
        for _ in range(RETRIES):
            status, _ = await site.ask("POST", "/api/auth/refresh", body={"refresh_token": token})
            ledger.statuses["stolen", status] += 1
            if status == 200:
                ledger.breaks(
                    "a refresh token is spent once", "one was good again after its successor was used"
                )
            if status in {200, 401}:
                break
            await asyncio.sleep(PAUSE)


async def ended(site: Site, ledger: Ledger, person: Person) -> None:
    """Sign in twice, and out everywhere by one; both are out as soon as that is answered."""
    pairs = [await begun(site, ledger, person) for _ in range(2)]
    for _ in range(RETRIES):
        status, _ = await site.ask("POST", "/api/auth/logout-all", pairs[0]["access_token"])
        ledger.statuses["logout-all", status] += 1
        if status in {200, 401}:
            break
        await asyncio.sleep(PAUSE)
    for pair in pairs:
        status, _ = await site.ask("GET", PATH, pair["access_token"])
        ledger.statuses["logged out", status] += 1
        if status not in {401, 503}:
            ledger.breaks("whoever signed out is out", f"answered {status}")
        status, _ = await site.ask("POST", "/api/auth/refresh", body={"refresh_token": pair["refresh_token"]})
        if status not in {401, 503}:
            ledger.breaks("whoever signed out is out", f"a refresh was answered {status}")


# -- sockets --------------------------------------------------------------------------------------------------------


async def on_a_socket(site: Site, ledger: Ledger, person: Person) -> None:
    """Be on a socket for as long as the gateway runs: nothing that is done to the database ends it."""
    host, port = site.gateway
    headers = {"Authorization": f"Bearer {person.token}"}
    while True:
        async with site.http.ws_connect(f"http://{host}:{port}{SOCKET_PATH}", headers=headers) as socket:
            while True:
                await socket.send_str("there?")
                message = await socket.receive(20)
                ledger.statuses["socket", 200] += 1
                if message.type in CLOSED:
                    ledger.breaks(
                        "nobody known is refused", f"a socket ended: {message.data} {message.extra}"
                    )
                    break
                await asyncio.sleep(PAUSE)


async def on_a_revoked_socket(site: Site, ledger: Ledger, random: Random, person: Person) -> None:
    """Be on a socket, be switched off, and be cut off."""
    host, port = site.gateway
    headers = {"Authorization": f"Bearer {person.token}"}
    while True:
        with suppress(ClientError, WSServerHandshakeError, TimeoutError):
            async with site.http.ws_connect(f"http://{host}:{port}{SOCKET_PATH}", headers=headers) as socket:
                await asyncio.sleep(random.uniform(0, 1))
                await site.insist(USER.take, person.id)
                revoked = time.monotonic()
                while True:
                    asked = time.monotonic()
                    await socket.send_str("there?")
                    message = await socket.receive(20)
                    if message.type in CLOSED:
                        break
                    ledger.revoked("socket of the revoked", 101, revoked, asked)
                    await asyncio.sleep(0.05)
                ledger.statuses["socket of the revoked", 401] += 1
        await site.insist(USER.give, person.id)
        await asyncio.sleep(PAUSE)


# -- event streams --------------------------------------------------------------------------------------------------


async def on_a_stream(site: Site, ledger: Ledger, person: Person) -> None:
    """Read events for as long as the gateway runs: nothing that is done to the database ends them."""
    while True:
        with suppress(ClientError, TimeoutError):
            async for _ in stream(site, person):
                ledger.statuses["event stream", 200] += 1
        ledger.breaks("nobody known is refused", "an event stream ended")
        await asyncio.sleep(PAUSE)


async def on_a_revoked_stream(site: Site, ledger: Ledger, random: Random, person: Person) -> None:
    """Read events, be switched off, and be given no more."""
    while True:
        revoked = 0.0
        ends = asyncio.get_running_loop().time() + random.uniform(0, 1)
        with suppress(ClientError, TimeoutError):
            async for _ in stream(site, person):
                if revoked:
                    ledger.revoked("event stream of the revoked", 200, revoked, time.monotonic())
                elif asyncio.get_running_loop().time() > ends:
                    await site.insist(USER.take, person.id)
                    revoked = time.monotonic() + 2 * EVENT_SECONDS  # what came meanwhile is read first
        ledger.statuses["event stream of the revoked", 401] += bool(revoked)
        await site.insist(USER.give, person.id)
        await asyncio.sleep(PAUSE)


async def stream(site: Site, person: Person) -> AsyncIterator[bytes]:
    host, port = site.gateway
    headers = {"Authorization": f"Bearer {person.token}"}
    url = f"http://{host}:{port}{STREAM_PATH}"
    timeout = ClientTimeout(total=None, sock_read=20)
    # On a connection of its own: the gateway closes it behind a stream that it ended, whoever else would use it next.
    async with ClientSession() as http, http.get(url, headers=headers, timeout=timeout) as answer:
        if answer.status == 200:
            async for piece in answer.content.iter_any():
                yield piece
