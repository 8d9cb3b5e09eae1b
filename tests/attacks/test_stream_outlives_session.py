"""A stream that somebody would go on reading, or an upload they would finish, though what let them in has ended."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from authcore.crypto.pem import generate_pem
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, request
from tests.support.issuers import two_keys
from tests.support.peers import PATIENCE, Client, read_body, read_head
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.issuers import Provider
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World

    End = Callable[[Gateway, World, dict[str, Any]], Awaitable[None]]

OFTEN = 0.02
HEADS = {
    "events": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    "encoded": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 1000000\r\n\r\n",
    "length of events": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000000\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\n\r\n",
    "close of events": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
}


class Far:
    """An upstream that sends `piece` again and again behind `head`, until nobody takes it."""

    def __init__(self, upstream: Upstream) -> None:
        self.head, self.first, self.piece = HEADS["events"], b"", b"data: 1\n\n"
        self.gone = asyncio.Event()
        self.received = b""
        self.written = 0
        upstream.script = self.script

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await self.flows(reader, writer)

    async def flows(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.head)
        framed = b"chunked" in self.head
        with suppress(ConnectionError):
            piece = self.first or self.piece
            while not (writer.is_closing() or reader.at_eof()):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if framed else piece)
                await writer.drain()
                self.written += len(piece)
                with suppress(TimeoutError):
                    if not await asyncio.wait_for(reader.read(1), OFTEN):
                        break
                piece = self.piece
        self.gone.set()

    async def takes_a_body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer when the body has ended, which it may not do."""
        await read_head(reader)
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                self.received += piece
                if self.received.endswith(b"0\r\n\r\n"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.gone.set()


@pytest.fixture
def far(upstream: Upstream) -> Far:
    return Far(upstream)


async def sign_in(gateway: Gateway) -> dict[str, Any]:
    return await granted(
        gateway, post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
    )


async def rest_of(client: Client) -> tuple[bytes, bool]:
    """All that still comes, and whether it ends by a reset."""
    rest = b""
    async with asyncio.timeout(PATIENCE):
        try:
            while piece := await client.reader.read(65536):
                rest += piece
        except ConnectionResetError:
            return rest, True
    return rest, False


async def watched(gateway: Gateway, *, name: str = "gateway_streams", number: int = 1) -> None:
    """Wait until a metric is `number`."""
    async with asyncio.timeout(PATIENCE):
        while (await metrics(gateway))[name] != number:
            await asyncio.sleep(OFTEN)


async def metrics(gateway: Gateway) -> dict[str, float]:
    async with Client(gateway.admin_address) as client:
        page = (await client.exchange(get("/metrics"))).body.decode()
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def switched_off(statement: str, of: str) -> End:
    async def end(_: Gateway, world: World, __: dict[str, Any]) -> None:
        await world.sql(statement, getattr(world, of))

    return end


async def logout_all(gateway: Gateway, _: World, tokens: dict[str, Any]) -> None:
    await granted(gateway, request("POST", "/api/auth/logout-all", bearer(tokens["access_token"])))


async def logout(gateway: Gateway, _: World, tokens: dict[str, Any]) -> None:
    await granted(gateway, post("/api/auth/logout", {"refresh_token": tokens["refresh_token"]}))


async def one_session(gateway: Gateway, _: World, tokens: dict[str, Any]) -> None:
    mine = bearer(tokens["access_token"])
    (row,) = (await granted(gateway, get("/api/auth/sessions", mine)))["sessions"]
    await granted(gateway, request("DELETE", f"/api/auth/sessions/{row['id']}", mine))


ENDS: dict[str, tuple[End, bool, str]] = {
    "logout-all": (logout_all, False, "session ended"),
    "logout": (logout, False, "session ended"),
    "one session": (one_session, False, "session ended"),
    "user off": (
        switched_off("UPDATE users SET is_active = false WHERE id = $1", "agent"),
        False,
        "account disabled",
    ),
    "membership gone": (
        switched_off("UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1", "agent"),
        False,
        "no longer a member of the organization",
    ),
    "key off": (
        switched_off("UPDATE api_keys SET is_active = false WHERE id = $1", "api_key_id"),
        True,
        "key revoked",
    ),
    "key cut short": (
        switched_off("UPDATE api_keys SET expires_at = now() WHERE id = $1", "api_key_id"),
        True,
        "key revoked",
    ),
    "another key in its row": (
        switched_off("UPDATE api_keys SET key_hash = 'another' WHERE id = $1", "api_key_id"),
        True,
        "key revoked",
    ),
    "key deleted": (
        switched_off("UPDATE api_keys SET deleted_at = now() WHERE id = $1", "api_key_id"),
        True,
        "key revoked",
    ),
}


async def open_stream(client: Client, line: str, version: str = "1.1") -> Message:
    await client.send(get("/api/stream", line).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
    return await read_head(client.reader)


@pytest.mark.parametrize("how", ENDS)
async def test_an_event_stream_ends_with_what_let_it_in(
    world: World, start: Start, far: Far, how: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    end, by_key, text = ENDS[how]
    gate = await start(world.url, log={"access": True})
    tokens = await sign_in(gate)
    line = f"X-API-Key: {world.api_key}" if by_key else bearer(tokens["access_token"])
    async with Client(gate.address) as client:
        head = await open_stream(client, line)
        await watched(gate)
        await end(gate, world, tokens)
        message = head
        message.body = await asyncio.wait_for(read_body(client.reader, message, until_close=True), PATIENCE)
        assert await client.closed() == b""
    assert message.body.replace(b"data: 1\n\n", b"") == b""
    await asyncio.wait_for(far.gone.wait(), PATIENCE)
    is_refusal(await ask(gate, get("/api/x", line)), 401)
    figures = await metrics(gate)
    assert (figures["gateway_streams"], figures["gateway_streams_revoked_total"]) == (0, 1)
    assert figures["gateway_sockets_revoked_total"] == 0
    assert not any(figures[name] for name in figures if name.startswith("gateway_upstream_failures_total"))
    assert not any(figures[name] for name in figures if name.startswith("gateway_upstream_failing"))
    await gate.stop()
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines() if b"/api/stream" in line]
    (record,) = [line for line in lines if line["path"] == "/api/stream"]
    assert (record["status"], record["reason"], record["detail"]) == (200, "revoked", f"Broken off: {text}")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind not in ("events", "close of events")])
async def test_a_download_that_was_broken_off_is_reset_and_never_looks_whole(
    world: World, start: Start, far: Far, kind: str, version: str
) -> None:
    far.head = HEADS[kind]
    gate = await start(world.url)
    tokens = await sign_in(gate)
    async with Client(gate.address) as client:
        await open_stream(client, bearer(tokens["access_token"]), version)
        await watched(gate)
        await logout_all(gate, world, tokens)
        rest, reset = await rest_of(client)
        assert reset
        assert not rest.endswith(b"0\r\n\r\n")
    await asyncio.wait_for(far.gone.wait(), PATIENCE)


@pytest.mark.parametrize("kind", ["events", "close of events"])
async def test_a_client_of_http_1_0_gets_the_end_of_its_connection_between_two_events(
    world: World, start: Start, far: Far, kind: str
) -> None:
    far.head, far.first, far.piece = HEADS[kind], b"data: 1\r\n\r\nda", b"ta: 1\r\n\r\nda"
    gate = await start(world.url)
    tokens = await sign_in(gate)
    async with Client(gate.address) as client:
        assert (await open_stream(client, bearer(tokens["access_token"]), "1.0")).one(
            "Transfer-Encoding"
        ) is None
        await watched(gate)
        await logout_all(gate, world, tokens)
        rest, reset = await rest_of(client)
        assert not reset
        assert rest.replace(b"data: 1\r\n\r\n", b"") == b""


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
async def test_an_event_in_its_midst_gets_to_its_end_and_no_other_begins(
    world: World, start: Start, far: Far, line_end: bytes
) -> None:
    event = b"data: 1" + line_end * 2
    far.first, far.piece = event + b"data", event[4:] + b"data"
    gate = await start(world.url)
    tokens = await sign_in(gate)
    async with Client(gate.address) as client:
        message = await open_stream(client, bearer(tokens["access_token"]))
        await watched(gate)
        await logout_all(gate, world, tokens)
        body = await read_body(client.reader, message, until_close=True)
        assert body.replace(event, b"") == b""
        assert await client.closed() == b""


async def test_an_event_that_never_ends_is_cut_off_by_a_reset(world: World, start: Start, far: Far) -> None:
    far.piece = b"data: and on\n"
    gate = await start(world.url)
    tokens = await sign_in(gate)
    async with Client(gate.address) as client:
        await open_stream(client, bearer(tokens["access_token"]))
        await watched(gate)
        await logout_all(gate, world, tokens)
        rest, reset = await rest_of(client)
        assert reset
        assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("how", ["logout-all", "user off", "key off"])
@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 1000000"])
async def test_an_upload_is_refused_and_the_upstream_never_sees_it_whole(
    world: World, start: Start, upstream: Upstream, far: Far, how: str, framing: str
) -> None:
    end, by_key, text = ENDS[how]
    upstream.script = far.takes_a_body
    gate = await start(world.url)
    tokens = await sign_in(gate)
    line = f"X-API-Key: {world.api_key}" if by_key else bearer(tokens["access_token"])
    async with Client(gate.address) as client:
        await client.send(request("POST", "/api/upload", line, framing) + b"4\r\nabcd\r\n")
        await watched(gate)
        await client.send(b"4\r\nabcd\r\n")
        await end(gate, world, tokens)
        answer = await client.response()
        is_refusal(answer, 401, f"Broken off: {text}")
        assert answer.one("Connection") == "close"
        with suppress(ConnectionError):
            await client.send(b"4\r\nlast\r\n0\r\n\r\n")
        await asyncio.wait_for(far.gone.wait(), PATIENCE)
        await client.closed()
    assert far.received == b"4\r\nabcd\r\n4\r\nabcd\r\n"
    figures = await metrics(gate)
    assert figures["gateway_streams_revoked_total"] == 1
    assert not any(figures[name] for name in figures if name.startswith("gateway_upstream_failures_total"))


EMAIL_CHANGES = {
    "changed": "UPDATE users SET email = 'another@example.com' WHERE id = $1",
    "proved no more": "DELETE FROM gateway_account_origins WHERE user_id = $1",
}


@pytest.mark.parametrize("how", EMAIL_CHANGES)
async def test_a_foreign_issuers_stream_ends_when_its_email_no_longer_leads_to_the_account(
    world: World, start: Start, far: Far, provider: Provider, how: str
) -> None:
    gate = await start(world.url, issuer=provider.settings())
    line = bearer(provider.token())
    async with Client(gate.address) as client:
        message = await open_stream(client, line)
        await watched(gate)
        await world.sql(EMAIL_CHANGES[how], world.agent)
        if how != "changed":  # which is notified with the next change of the user
            await world.sql("UPDATE users SET full_name = 'Agent A' WHERE id = $1", world.agent)
        await read_body(client.reader, message, until_close=True)
    is_refusal(await ask(gate, get("/api/x", line)), 401)


async def test_a_foreign_issuers_removed_key_ends_its_streams_and_no_others(
    world: World, start: Start, far: Far, provider: Provider
) -> None:
    provider.keys["second"] = generate_pem("ES256")
    gate = await start(world.url, issuer=provider.settings())
    first, second = (bearer(provider.token(kid)) for kid in ("first", "second"))
    async with Client(gate.address) as client, Client(gate.address) as other:
        message = await open_stream(client, first)
        going_on = await open_stream(other, second)
        await watched(gate, number=2)
        provider.keys = {"second": provider.keys["second"], "third": generate_pem("ES256")}
        line = bearer(provider.token("third"))  # has the set fetched again
        async with asyncio.timeout(PATIENCE):
            while (await ask(gate, get("/api/auth/whoami", line))).status != 200:
                await asyncio.sleep(OFTEN)
        await read_body(client.reader, message, until_close=True)
        far.piece = b"data: last\n\n"
        async with asyncio.timeout(PATIENCE):
            await other.reader.readuntil(far.piece)
        assert going_on.status == 200
    is_refusal(await ask(gate, get("/api/x", first)), 401)


async def test_a_slow_body_founds_nothing_after_its_caller_has_ended(world: World, start: Start) -> None:
    """The gateway's own endpoints are no exception: half a request, and the rest when nobody may ask it any more."""
    gate = await start(world.url)
    body = b'{"name": "late"}'
    raw = request("POST", "/api/api-keys", bearer(world.token(world.admin)), body=body)
    async with Client(gate.address) as client:
        await client.send(raw[:-4])
        await watched(gate)
        await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.admin)
        is_refusal(await client.response(), 401, "Broken off: account disabled")
    assert await world.sql("SELECT 1 FROM api_keys WHERE name = 'late'") == []


async def test_the_expiry_of_its_token_ends_a_stream(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url)
    token = world.token(world.agent, now=time.time() - 3600 + 4)  # four seconds are left
    async with Client(gate.address) as client:
        message = await open_stream(client, bearer(token))
        await read_body(client.reader, message, until_close=True)
    await watched(gate, name="gateway_streams_expired_total")


@pytest.mark.parametrize("of", ["the key", "the key before it"])
async def test_an_end_that_a_key_is_given_later_ends_a_stream(
    world: World, start: Start, far: Far, of: str
) -> None:
    gate = await start(world.url, keys={"mint_keys": True})
    line = f"X-API-Key: {world.api_key}"
    if of == "the key before it":
        line = f"X-API-Key: {(await granted(gate, post('/api/api-keys', {'name': 'child'}, line)))['key']}"
    async with Client(gate.address) as client:
        await open_stream(client, line)
        await watched(gate)
        await world.sql(
            "UPDATE api_keys SET expires_at = now() + interval '1 second' WHERE id = $1", world.api_key_id
        )
        await rest_of(client)
    assert (await metrics(gate))["gateway_streams_expired_total"] == 1
    is_refusal(await ask(gate, get("/api/x", line)), 401)


async def test_no_stream_is_open_for_longer_than_its_setting(
    world: World, start: Start, upstream: Upstream, far: Far
) -> None:
    gate = await start(world.url, stream={"max_seconds": 0.2})
    line = f"X-API-Key: {world.api_key}"
    async with Client(gate.address) as client, Client(gate.address) as up:
        message = await open_stream(client, line)
        await read_body(client.reader, message, until_close=True)
        upstream.script = far.takes_a_body
        await up.send(request("POST", "/api/upload", line, "Transfer-Encoding: chunked") + b"4\r\nabcd\r\n")
        is_refusal(await up.response(), 408, "Broken off: open for longer than GATEWAY_STREAM_MAX_SECONDS")
    await watched(gate, name="gateway_streams_expired_total", number=2)


async def test_what_ends_before_a_stream_is_watched_is_not_missed(
    world: World, start: Start, far: Far
) -> None:
    gate = await start(world.url)
    tokens = await sign_in(gate)
    async with Client(gate.address) as client:
        message = await open_stream(client, bearer(tokens["access_token"]))
        await logout_all(gate, world, tokens)  # most likely within the first quarter of a second
        await read_body(client.reader, message, until_close=True)


async def upload_and_log_out(gate: Gateway, world: World, client: Client, asked: asyncio.Event) -> None:
    """End a session while the upstream, which has `asked` for all of a request, owes its answer."""
    tokens = await sign_in(gate)
    line = bearer(tokens["access_token"])
    await client.send(request("POST", "/api/upload", line, "Transfer-Encoding: chunked") + b"4\r\nabcd\r\n")
    await watched(gate)
    await client.send(b"0\r\n\r\n")
    await asyncio.wait_for(asked.wait(), PATIENCE)
    await logout_all(gate, world, tokens)
    await watched(gate, name="gateway_streams_revoked_total")


async def test_whoever_ends_their_own_session_is_told_so_however_long_it_takes(
    world: World, start: Start, upstream: Upstream
) -> None:
    """A request that arrived whole is owed its answer, such as that of an upstream which deletes the account."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readuntil(b"0\r\n\r\n")
        asked.set()
        await answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(OFTEN)
        writer.write(b"ok")
        await reader.read()

    upstream.script = script
    gate = await start(world.url)
    async with Client(gate.address) as client:
        await upload_and_log_out(gate, world, client, asked)
        answer.set()
        assert (await client.response()).body == b"ok"


@pytest.mark.parametrize("kind", ["events", "chunked"])
async def test_what_is_owed_is_no_stream(
    world: World, start: Start, upstream: Upstream, far: Far, kind: str
) -> None:
    """An answer that begins after the end of its caller, and would go on for ever."""
    far.head = HEADS[kind]
    asked, answer = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"0\r\n\r\n")
        asked.set()
        await answer.wait()
        await far.flows(reader, writer)

    upstream.script = script
    gate = await start(world.url)
    async with Client(gate.address) as client:
        await upload_and_log_out(gate, world, client, asked)
        answer.set()
        assert (await read_head(client.reader)).status == 200
        rest, reset = await rest_of(client)
        assert (reset, rest.endswith(b"\r\n0\r\n\r\n")) == (kind != "events", kind == "events")


async def test_an_answer_that_began_before_its_request_ended_is_broken_off_both_ways(
    world: World, start: Start, upstream: Upstream, far: Far
) -> None:
    far.head = HEADS["chunked"]
    seen = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(far.head + b"1\r\nx\r\n")
        while piece := await reader.read(65536):
            seen.extend(piece)
        far.gone.set()

    upstream.script = script
    gate = await start(world.url)
    tokens = await sign_in(gate)
    async with Client(gate.address) as client:
        line = bearer(tokens["access_token"])
        await client.send(request("POST", "/api/both", line, "Transfer-Encoding: chunked") + b"4\r\nabcd\r\n")
        await read_head(client.reader)
        await watched(gate)
        await logout_all(gate, world, tokens)
        rest, reset = await rest_of(client)
        assert (rest, reset) in {(b"1\r\nx\r\n", True), (b"", True)}
    await asyncio.wait_for(far.gone.wait(), PATIENCE)
    assert bytes(seen) == b"4\r\nabcd\r\n"


async def test_a_client_that_takes_nothing_holds_no_stream(world: World, start: Start, far: Far) -> None:
    far.piece = b"data: " + b"x" * 100_000 + b"\n\n"
    gate = await start(world.url)
    tokens = await sign_in(gate)
    async with Client(gate.address) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(get("/api/stream", bearer(tokens["access_token"])))
        await watched(gate)
        async with asyncio.timeout(PATIENCE):
            before = -1.0
            while (after := (await metrics(gate))["gateway_streams"]) and far.written != before:
                before = far.written
                await asyncio.sleep(10 * OFTEN)
            assert after == 1
        await logout_all(gate, world, tokens)
        await asyncio.wait_for(far.gone.wait(), PATIENCE)
        await watched(gate, number=0)


async def test_streams_of_nobody_go_on(world: World, start: Start, far: Far) -> None:
    gate = await start(world.url, stream={"max_seconds": 0.1})
    async with Client(gate.address) as client:
        await client.send(get("/public"))
        await read_head(client.reader)
        for _ in range(40):
            await asyncio.wait_for(client.reader.readuntil(b"\n\n\r\n"), PATIENCE)
    assert (await metrics(gate))["gateway_streams_expired_total"] == 0


async def test_a_revoked_key_ends_what_its_tokens_opened_however_young(
    world: World, start: Start, far: Far, tmp_path: Path
) -> None:
    kids = two_keys(tmp_path)
    gate = await start(world.url, jwt={"keys_dir": tmp_path, "keys_poll_seconds": 0.05})
    line = bearer((await sign_in(gate))["access_token"])
    async with Client(gate.address) as old, Client(gate.address) as young:
        opened = [await open_stream(old, line)]
        await watched(gate)
        opened.append(await open_stream(young, line))
        (tmp_path / "signing").write_text(kids[1])
        (tmp_path / "revoked").write_text(kids[0])
        for client, message in zip((old, young), opened, strict=True):
            await read_body(client.reader, message, until_close=True)
