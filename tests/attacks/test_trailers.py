"""Field lines after the body: none is read as a header, none is passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, is_refusal, post, request

if TYPE_CHECKING:
    from tests.support.peers import Client, Upstream
    from tests.support.worlds import Start, World


def with_trailers(raw: bytes, *trailers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in trailers).encode()
    return raw + b"4\r\nbody\r\n0\r\n" + lines + b"\r\n"


def chunked(target: str, *lines: str) -> bytes:
    return request("POST", target, "Transfer-Encoding: chunked", "Trailer: X-User-ID, X-Evil", *lines)


TRAILERS = ("X-User-ID: evil", "X-Org-ID: evil", "Host: evil", "Authorization: Bearer evil", "X-Evil: 1")


async def test_no_trailer_is_passed_on(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    for target, lines in (("/health", ()), ("/api/x", (bearer(world.token(world.agent)),))):
        assert (await ask(gate, with_trailers(chunked(target, *lines), *TRAILERS))).status == 200
        assert upstream.requests[-1].body == b"body"
        assert upstream.requests[-1].one("Trailer") is None
    assert b"evil" not in upstream.seen.lower()
    assert upstream.requests[1].one("X-User-ID") == str(world.agent)


async def test_a_trailer_is_no_credential(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    raw = with_trailers(chunked("/api/x"), bearer(world.token(world.agent)), f"X-API-Key: {world.api_key}")
    is_refusal(await ask(gate, raw), 401, "Missing authorization")
    assert upstream.seen == b""


async def test_the_request_after_trailers_is_its_own(client: Client, upstream: Upstream) -> None:
    await client.send(with_trailers(chunked("/health"), *TRAILERS) + post("/after", {}))
    for _ in range(2):
        assert (await client.response()).status == 200
    assert [told.start.split()[1] for told in upstream.requests] == [b"/health", b"/after"]
    assert b"X-Evil" not in upstream.seen


@pytest.mark.parametrize(
    "trailer", ["Connection: close", "Proxy-Connection: close", "Connection: keep-alive"]
)
async def test_a_trailer_does_not_end_the_connection(
    client: Client, upstream: Upstream, trailer: str
) -> None:
    for number in range(3):
        await client.send(with_trailers(chunked("/health"), trailer))
        assert (await client.response()).status == 200
        await client.send(
            request("GET", f"/after{number}", f"X-{number}-{trailer[0]}: of a shape that is new")
        )
        assert (await client.response()).status == 200
    assert len(upstream.requests) == 6


@pytest.mark.parametrize(
    "trailers",
    [
        ("X-A: 1",) * 200,
        (f"X-A: {'x' * 40_000}",),
        (f"{'x' * 40_000}: 1",),
        ("X-A: 1\x00",),
        ("X A: 1",),
        (" fold",),
        ("Content-Length: 4",),
        ("Transfer-Encoding: chunked",),
    ],
)
async def test_trailers_are_bounded_and_held_to_the_laws_of_fields(
    client: Client, upstream: Upstream, trailers: tuple[str, ...]
) -> None:
    await client.send(with_trailers(chunked("/health"), *trailers))
    answer = await client.response()
    assert answer.status in (400, 431)
    is_refusal(answer, answer.status)
    assert await client.closed() == b""
    assert upstream.requests == []  # its last chunk was never sent on
