"""A server on fasthttp, as Whatomate's is: which heads fit its defaults, and which paths its hooks read."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pytest
from structlog.testing import capture_logs

from tests.support.calls import ask, bearer, get, request
from tests.support.fasthttp import fasthttp_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


LIMIT = 4096
SERVER = """
package main

import (
	"fmt"
	"net"

	"github.com/valyala/fasthttp"
)

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	fasthttp.Serve(listener, func(ctx *fasthttp.RequestCtx) { ctx.SetBody(ctx.Path()) })
}
"""
SIGNED: dict[str, Any] = {"identity": "HS256", "key": "a-secret-of-the-identities-and-of-nobody-else"}
CHROME = (
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="146", "Google Chrome";v="146", "Not?A_Brand";v="24"',
    "sec-ch-ua-mobile: ?0",
    (
        "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 "
        "Safari/537.36"
    ),
    "Accept: application/json, text/plain, */*",
    'sec-ch-ua-platform: "Windows"',
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: empty",
    "Referer: https://whatomate.example.com/chat/0b1f3a52-7d1e-4a52-9a53-0d3bd5e2b8a1",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7",
)
FEW_COOKIES, MANY_COOKIES = 428, 1300
"""Bytes of cookies that are not ours: a consent and a counter; an analytics suite."""
PATH = "/api/contacts?page=1&limit=50&search=anna"


@pytest.fixture(scope="module")
def fasthttp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server of default settings."""
    with fasthttp_server(SERVER, tmp_path_factory.mktemp("fasthttp")) as port:
        yield port


@pytest.fixture
async def pair(
    world: World, start: Start, upstream: Upstream, fasthttp: int
) -> Callable[..., Awaitable[tuple[Gateway, Gateway]]]:
    """Two gateways of the same settings: before fasthttp, and before a server that keeps what it receives."""

    async def begin(identity: str | None, *, signed: bool) -> tuple[Gateway, Gateway]:
        words = {} if identity is None else {"identity": identity}
        groups = {"preset": "whatomate", "cookies": True, **({"signed": SIGNED} if signed else {})}
        before = await start(
            world.url,
            upstream={"url": f"http://127.0.0.1:{fasthttp}", **words},
            log={"access": True},
            **groups,
        )
        return before, await start(world.url, upstream=words, **groups)

    return begin


def asked(token: str, *, by_cookie: bool, others: int) -> bytes:
    cookies = ["_ga=GA1.1.", "consent=yes"]
    rest = "x" * (others - len("; ".join(cookies)))
    jar = f"Cookie: {cookies[0]}{rest}; {cookies[1]}"
    if by_cookie:
        return get(PATH, *CHROME, f"{jar}; whm_access={token}; whm_csrf={'c' * 64}")
    return get(PATH, *CHROME, bearer(token), jar)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("identity", [None, "all"])
async def test_what_fits_is_answered_and_the_rest_is_431_with_its_growth(
    world: World,
    upstream: Upstream,
    pair: Any,
    capfdbinary: pytest.CaptureFixture[bytes],
    identity: str | None,
    signed: bool,
) -> None:
    before, twin = await pair(identity, signed=signed)
    with capture_logs() as logged:
        statuses, refused = await answers(world, upstream, before, twin)
    for who in {who for who, _ in statuses}:
        # Whatomate's servers take what the preset sends, whoever asks in whatever browser.
        if identity is None or not signed or "admin" not in who:
            assert statuses[who, FEW_COOKIES] == {200}
        if identity is None:
            assert statuses[who, MANY_COOKIES] == {200}
    if identity == "all":  # 81 permissions and an analytics suite are too much
        assert statuses["admin", MANY_COOKIES] == statuses["super admin", MANY_COOKIES] == {431}
    await before.stop()
    lines = (json.loads(line) for line in capfdbinary.readouterr().out.splitlines() if line.startswith(b"{"))
    records = [one for one in lines if one.get("status") == 431]
    assert [(one["head_bytes_in"], one["head_bytes_out"]) for one in records] == refused
    reports = [one for one in logged if one["event"] == "upstream_refused_head"]
    assert len(reports) == (1 if refused else 0)
    for report in reports:
        assert "GATEWAY_UPSTREAM_IDENTITY" in report["advice"]
        assert report["identity_bytes"] > 1404


async def answers(
    world: World, upstream: Upstream, before: Gateway, twin: Gateway
) -> tuple[dict[tuple[str, int], set[int]], list[tuple[int, int]]]:
    """The statuses by caller and bytes of cookies, and the sizes of the heads that were refused."""
    callers = {
        "agent": world.token(world.agent),
        "manager": world.token(world.both, world.other),
        "admin": world.token(world.admin),
        "super admin": world.token(world.root),
    }
    statuses: dict[tuple[str, int], set[int]] = {}
    refused: list[tuple[int, int]] = []
    for who, token in callers.items():
        for others in (FEW_COOKIES, MANY_COOKIES):
            for by_cookie in (False, True):
                raw = asked(token, by_cookie=by_cookie, others=others)
                assert (await ask(twin, raw)).status == 200
                # What it is sent: our cookies are not among it, the token is.
                size = len(upstream.requests[-1].start) + 4
                size += sum(len(name) + len(value) + 4 for name, value in upstream.requests[-1].lines)
                answer = await ask(before, raw)
                assert answer.status == (200 if size <= LIMIT else 431), (who, size)
                statuses.setdefault((who, others), set()).add(answer.status)
                if answer.status == 431:
                    refused.append((len(raw), size))
    return statuses, refused


async def test_a_hook_that_reads_the_normalized_path_sees_the_tag_of_every_name_that_is_let_in(
    world: World, pair: Any
) -> None:
    """Whatomate's authentication looks at ``Path()``, which fasthttp decodes and then normalizes."""
    gate, _ = await pair(None, signed=False)
    root = bearer(world.token(world.root))
    pieces = ("..", ".", "a", "%2F", "%2f", "%5C", "%2e", "%252F", "%252e", "%3B", "%3F", "%23", "%25", "%09")
    let_in = 0
    for name in ("".join(some) for size in (1, 2, 3) for some in product(pieces, repeat=size)):
        answer = await ask(gate, request("PUT", f"/api/tags/{name}", root))
        if answer.status == 200:
            let_in += 1
            assert answer.body == b"/api/tags/" + unquote_to_bytes(name), name
        else:
            assert answer.status == 400, name
    assert let_in > 1000
