"""Micro-benchmark of the warm path: the cost of the gateway's own code per request, without sockets, in microseconds.

``python -m bench.hotpath`` runs the real connection, pipeline and pool over transports that only store what is written.
The best of many rounds is the cost of the code; the others include what the machine was doing meanwhile.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import time
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from uuid import uuid4

import click
import uvloop

from authcore.credentials import BearerToken
from authcore.store.rows import Subject
from bench.field_sets import CALLERS, varied
from config.settings import Settings
from gateway.app import Gateway
from gateway.wire.known_heads import KnownHeads
from gateway.wire.upstream import UpstreamConnection
from gateway.wire.write_buffer import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    Exchange = Callable[[list[bytes], list[bytes]], None]

ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 470\r\nConnection: keep-alive\r\n\r\n" + b"x" * 470
)
TERSE: Final = b"GET /api/things HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer %b\r\n\r\n"
BROWSER: Final = (
    b"GET /api/things?page=%d HTTP/1.1\r\nHost: app.example.com\r\nConnection: keep-alive\r\n"
    b"Authorization: Bearer %b\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b'Chrome/131.0.0.0 Safari/537.36\r\nAccept: application/json, text/plain, */*\r\nsec-ch-ua: "Chromium";v="131"\r\n'
    b"sec-ch-ua-mobile: ?0\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
    b"Referer: https://app.example.com/contacts\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\nCookie: theme=dark; sidebar=open\r\n\r\n"
)


class Wire(asyncio.Transport):
    """Transport that stores what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 4711)})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        """Store the bytes."""
        self.written.append(data)

    def is_closing(self) -> bool:
        """Return False."""
        return False

    def pause_reading(self) -> None:
        """Do nothing: nothing is read here."""

    def resume_reading(self) -> None:
        """Do nothing: nothing is read here."""

    def abort(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@click.command()
@click.option("--requests", default=20_000, show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--profile", is_flag=True, help="Where the time goes, by function, instead.")
def main(requests: int, rounds: int, profile: bool) -> None:  # noqa: FBT001 -- click's way
    """Measure both kinds of client."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(requests, rounds, profile=profile))


async def _main(requests: int, rounds: int, *, profile: bool) -> None:
    exchange, tokens = await stage()
    for load in LOADS:
        messages = [load.make(number, tokens) for number in range(requests)]
        exchange(messages[:500], load.answers)
        if profile:
            profiler = cProfile.Profile()
            cast("Any", profiler).runcall(exchange, messages, load.answers)
            click.echo(load.name)
            pstats.Stats(profiler).sort_stats("tottime").print_stats(32)
            continue
        best = min(_timed(exchange, messages, load.answers) for _ in range(rounds))
        click.echo(f"{load.name:28} {1e6 * best / requests:6.2f} us a request")


def _terse(_: int, tokens: list[bytes]) -> bytes:
    return TERSE % tokens[0]


def _browser(number: int, tokens: list[bytes]) -> bytes:
    return BROWSER % (number, tokens[0])


def _varied(number: int, tokens: list[bytes]) -> bytes:
    """Return a request with a head that the one before did not have: field set, path and caller differ."""
    credential = f"Authorization: Bearer {tokens[number % len(tokens)].decode()}"
    return varied(number, "/api/varied/%d", [credential]).encode()


def _answer(number: int) -> bytes:
    """Return an answer with a head that no other answer has, as a busy upstream sends them."""
    return (
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 00:%02d:%02d GMT\r\nContent-Type: text/plain\r\n"
        b'Content-Length: %d\r\nLast-Modified: Mon, 23 Nov 2026 00:00:00 GMT\r\nETag: "%d"\r\n'
        b"Connection: keep-alive\r\nAccept-Ranges: bytes\r\n\r\n"
        % (number // 60 % 60, number % 60, 100 + number, number)
    ) + b"x" * (100 + number)


class Load(NamedTuple):
    """Load: requests of one kind of client, and the upstream's answers in turn.

    Attributes:
        name: Its name in tables.
        make: Returns the request of a number, with one of the callers' tokens.
        answers: The upstream's answers.
    """

    name: str
    make: Callable[[int, list[bytes]], bytes]
    answers: list[bytes]


LOADS: Final = (
    Load("terse client", _terse, [ANSWER]),
    Load("browser", _browser, [ANSWER]),
    Load("browser, answers that vary", _browser, [_answer(number) for number in range(1000)]),
    Load("every head differs", _varied, [_answer(number) for number in range(1000)]),
)


def _timed(exchange: Exchange, messages: list[bytes], answers: list[bytes]) -> float:
    began = time.perf_counter()
    exchange(messages, answers)
    return time.perf_counter() - began


async def stage(**groups: Any) -> tuple[Exchange, list[bytes]]:
    """Build a gateway whose upstream is a list of bytes; return the exchange, and a token of each caller.

    Its store knows every user. `groups` are settings.
    """
    gateway = await Gateway.start(
        Settings.model_validate(
            {
                "listen": "127.0.0.1:0",
                "admin": {"listen": "127.0.0.1:0"},
                "database": {"url": "postgresql://nobody@127.0.0.1:1/none"},
                "jwt": {"secret": "s" * 32},
                "upstream": {"url": "http://127.0.0.1:1"},
                "log": {"access": False},
                **groups,
            }
        )
    )
    cast("Any", gateway._domain.identity.authenticator._principals)._store = Known()  # noqa: SLF001 -- the gateway is ours
    now = time.time()
    clock = gateway._domain.clock  # noqa: SLF001 -- as it is where a database has answered once
    clock.epoch, clock.measured = now - clock.steady(), True
    tokens = [
        gateway._domain.tokens.issue_access(  # noqa: SLF001
            user_id=uuid4(), organization_id=uuid4(), email="", role_id=None, is_super_admin=False, now=now
        ).encode()
        for _ in range(CALLERS)
    ]
    for token in tokens:
        await gateway._domain.identity.authenticator.authenticate(BearerToken(token), None, now)  # noqa: SLF001
    near, far = Wire(), Wire()
    write_batch = gateway._listener.write_batch = WriteBatch(lambda _: None)  # noqa: SLF001 -- flushed by hand: no turn of the loop ends
    connection = gateway._listener.protocol()  # noqa: SLF001 -- the gateway is ours
    connection.connection_made(near)
    pool = gateway._upstreams.now["upstream"].pool  # noqa: SLF001 -- the gateway is ours
    upstream = UpstreamConnection(gateway._listener.deadlines, write_batch, KnownHeads(), lambda _: None)  # noqa: SLF001 -- likewise
    upstream.connection_made(far)
    pool.unused.add(upstream)
    pool.open += 1

    def pass_through(message: bytes, answer: bytes) -> None:
        connection.data_received(message)
        write_batch.flush()
        upstream.data_received(answer)
        write_batch.flush()

    def exchange(messages: list[bytes], answers: list[bytes]) -> None:
        for message, answer in zip(messages, cycle(answers), strict=False):
            pass_through(message, answer)
            near.written.clear()
            far.written.clear()

    pass_through(TERSE % tokens[0], ANSWER)
    if b"200 OK" not in b"".join(near.written):
        raise RuntimeError(f"the stage does not stand: {near.written!r}")
    return exchange, tokens


class Known:
    """Store that knows every user, all of them alike."""

    async def subject(
        self,
        user_id: UUID,
        organization_id: UUID,
        session_id: UUID | None = None,  # noqa: ARG002 -- no session ends here
        founded_at: datetime | None = None,  # noqa: ARG002 -- nobody signs out here
    ) -> Subject:
        """Return the user."""
        return Subject(
            user_id=user_id,
            organization_id=organization_id,
            email="someone@example.com",
            full_name="Some One",
            is_active=True,
            is_super_admin=False,
            is_member=True,
            organization_exists=True,
            role_id=user_id,
            role="agent",
            permissions=("chat:read", "chat:write", "contacts:read", "tags:read"),
        )


if __name__ == "__main__":
    main()
