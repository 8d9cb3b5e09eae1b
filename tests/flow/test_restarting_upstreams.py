"""Deadlines, breaker, waiting and failover over real sockets: what each side saw."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from gateway.proxy.streams import YOUNG_SECONDS
from tests.observe.scraping import reads, scraped, value
from tests.support.calls import ask, get, request
from tests.support.flaky import EAGER, OK, SILENCE, Flaky
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.route_files import by_route_file
from tests.support.sockets import ASK, echoing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.peers import Message
    from tests.support.route_files import RouteFileStart
    from tests.support.worlds import Start

FIELD = "X-Envoy-Expected-Rq-Timeout-Ms"


@pytest.fixture
def routed(start: Start, tmp_path: Path) -> RouteFileStart:
    """Start a gateway with a route file."""
    return by_route_file(start, tmp_path)


# -- the whole deadline --------------------------------------------------------------------------------------------


async def test_the_whole_deadline_bounds_all_attempts_and_is_504(start: Start, upstream: Upstream) -> None:
    upstream.script = flaky = Flaky(SILENCE)
    gateway = await start(
        upstream={
            "deadline_seconds": 2,
            "retry_try_timeout_seconds": 0.3,
            "retry_attempts": 10,
            **EAGER,
        }
    )
    assert (await ask(gateway, get("/"))).status == 504
    assert len(flaky.seen) < 10
    page = await scraped(gateway)
    assert value(page, "gateway_upstream_retries_total", cause="timeout") >= 1
    # The last attempt's own time may end first behind a pause of this process, and no other one begins then.
    reasons = ("upstream_deadline", "upstream_timeout")
    assert sum(value(page, "gateway_faults_total", reason=one) for one in reasons) == 1
    assert value(page, "gateway_upstream_active") == 0


async def test_an_answer_that_has_begun_is_not_broken_off_by_the_deadline(
    start: Start, upstream: Upstream
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe")
        await writer.drain()
        await asyncio.sleep(1)
        writer.write(b"en")

    upstream.script = script
    gateway = await start(upstream={"deadline_seconds": 0.5})
    assert (await ask(gateway, get("/"))).body == b"been"


async def test_the_upstream_is_sent_what_is_left_of_the_deadline_in_each_attempt(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = flaky = Flaky(SILENCE, OK)
    policy = {"deadline_seconds": 9, "retry_try_timeout_seconds": 0.3, "retry_attempts": 10, **EAGER}
    gateway = await start(upstream=policy)
    assert (await ask(gateway, get("/", f"{FIELD}: 99999999"))).status == 200
    first, second, *_ = (int(message.one(FIELD) or 0) for message in flaky.seen)
    assert 9000 >= first > second > 0


async def test_a_client_that_is_late_with_its_body_is_408_and_nobodys_failure(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start(upstream={"deadline_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 9\r\n\r\nhi")
        assert (await client.response()).status == 408
    page = await scraped(gateway)
    assert value(page, "gateway_failures_total") == 0
    assert value(page, "gateway_upstream_failures_total") == 0


async def test_an_upstream_that_does_not_ask_for_the_body_is_late_itself(
    start: Start, upstream: Upstream
) -> None:
    upstream.script = Gate()
    gateway = await start(upstream={"deadline_seconds": 0.3})
    async with Client(gateway.address) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.response()).status == 504


# -- the breaker -----------------------------------------------------------------------------------------------------


class Gate:
    """An upstream's script that answers nobody until it is opened.

    Attributes:
        starts: The start lines that came, in order.
    """

    def __init__(self) -> None:
        self.starts: list[bytes] = []
        self.open = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.starts.append((await read_head(reader)).start)
            await self.open.wait()
            writer.write(OK)
            await writer.drain()

    async def has(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.starts) < number:
                await asyncio.sleep(0.01)


async def test_past_the_breakers_requests_the_next_is_503_at_once(start: Start, upstream: Upstream) -> None:
    upstream.script = gate = Gate()
    gateway = await start(upstream={"breaker_requests": 2})
    held = [asyncio.create_task(ask(gateway, get("/"))) for _ in range(2)]
    await gate.has(2)
    assert value(await scraped(gateway), "gateway_upstream_breaker_open", bound="requests") == 1
    refused = await ask(gateway, get("/"))
    assert (refused.status, refused.one("Retry-After")) == (503, "1")
    assert len(gate.starts) == 2
    gate.open.set()
    assert [answer.status for answer in await asyncio.gather(*held)] == [200, 200]
    assert (await ask(gateway, get("/"))).status == 200
    page = await scraped(gateway)
    assert value(page, "gateway_upstream_breaker_refused_total", bound="requests") == 1
    assert value(page, "gateway_upstream_breaker_open", bound="requests") == 0
    assert value(page, "gateway_faults_total", reason="upstream_breaker") == 1


async def test_a_client_that_leaves_is_counted_out(start: Start, upstream: Upstream) -> None:
    upstream.script = gate = Gate()
    gateway = await start(upstream={"breaker_requests": 1})
    async with Client(gateway.address) as client:
        await client.send(get("/"))
        await gate.has(1)
    gate.open.set()
    async with asyncio.timeout(PATIENCE):
        while (await ask(gateway, get("/"))).status != 200:
            await asyncio.sleep(0.01)


async def test_retries_have_a_bound_of_their_own(start: Start, upstream: Upstream) -> None:
    busy = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"
    upstream.script = flaky = Flaky(busy, busy, OK)
    gateway = await start(upstream={"retry_when": "503", "breaker_retries": 1, **EAGER})
    first = asyncio.create_task(ask(gateway, get("/")))
    await reads(gateway, "gateway_upstream_retrying", 1)
    assert (await ask(gateway, get("/"))).status == 503
    assert (await first).status == 200
    assert len(flaky.seen) == 3
    assert value(await scraped(gateway), "gateway_upstream_retries_denied_total", bound="retries") == 1


# -- waiting through a restart --------------------------------------------------------------------------------------


@asynccontextmanager
async def away(upstream: Upstream) -> AsyncIterator[Upstream]:
    """Stop an upstream; it comes back, at the same port, by entering what is returned."""
    await upstream.__aexit__(None, None, None)
    yield Upstream(port=upstream.port)


async def test_requests_wait_through_a_restart_and_then_go_in_order(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"wait_seconds": 30, "connections": 1})
    async with away(upstream) as returned:
        returned.script = gate = Gate()
        gate.open.set()
        answers = []
        for number in range(5):
            raw = request("POST", f"/{number}", body=b"") if number % 2 else get(f"/{number}")
            answers.append(asyncio.create_task(ask(gateway, raw)))
            await reads(gateway, "gateway_upstream_awaiting", number + 1)
        async with returned:
            done = await asyncio.wait_for(asyncio.gather(*answers), PATIENCE)
        assert [answer.status for answer in done] == [200] * 5
        assert [start.split(b" ")[1] for start in gate.starts] == [b"/0", b"/1", b"/2", b"/3", b"/4"]
    page = await scraped(gateway)
    assert value(page, "gateway_upstream_awaiting") == 0
    assert value(page, "gateway_upstream_awaited_total") == 5


async def test_an_upstream_that_does_not_come_back_in_time_is_502(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"wait_seconds": 0.3})
    async with away(upstream):
        assert (await ask(gateway, get("/"))).status == 502
    assert value(await scraped(gateway), "gateway_upstream_awaiting") == 0


async def test_the_wait_ends_while_the_first_in_line_is_connecting(start: Start) -> None:
    silent = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(8)]
    try:
        for filler in fillers:  # its queue is full, so that a connection to it neither succeeds nor fails
            filler.setblocking(False)
            filler.connect_ex(silent.getsockname())
        port = silent.getsockname()[1]
        gateway = await start(
            upstream={
                "url": f"http://127.0.0.1:{port}",
                "wait_seconds": 0.5,
                "connect_timeout_seconds": 0.3,
            }
        )
        for _ in range(3):
            assert (await ask(gateway, get("/"))).status == 502
        assert value(await scraped(gateway), "gateway_upstream_awaiting") == 0
    finally:
        for one in (silent, *fillers):
            one.close()


async def test_the_deadline_ends_the_wait(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"wait_seconds": 30, "deadline_seconds": 0.3})
    async with away(upstream):
        assert (await ask(gateway, get("/"))).status == 504
    assert value(await scraped(gateway), "gateway_upstream_awaiting") == 0


async def test_past_its_bound_the_wait_is_503(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"wait_seconds": 30, "wait_requests": 1})
    async with away(upstream) as returned:
        first = asyncio.create_task(ask(gateway, get("/")))
        await reads(gateway, "gateway_upstream_awaiting", 1)
        refused = await ask(gateway, get("/"))
        assert (refused.status, refused.one("Retry-After")) == (503, "1")
        async with returned:
            assert (await asyncio.wait_for(first, PATIENCE)).status == 200
    assert value(await scraped(gateway), "gateway_faults_total", reason="upstream_waiting") == 1


async def test_the_first_in_line_may_leave(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"wait_seconds": 30})
    async with away(upstream) as returned:
        async with Client(gateway.address) as client:
            await client.send(get("/gone"))
            await reads(gateway, "gateway_upstream_awaiting", 1)
            second = asyncio.create_task(ask(gateway, get("/second")))
            await reads(gateway, "gateway_upstream_awaiting", 2)
        async with returned:
            assert (await asyncio.wait_for(second, PATIENCE)).status == 200
            assert [message.start for message in returned.requests] == [b"GET /second HTTP/1.1"]


async def test_a_body_is_not_read_while_its_request_waits(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"wait_seconds": 2})
    size = 64 << 20
    async with away(upstream), Client(gateway.address) as client:
        client.writer.transport.set_write_buffer_limits(0)
        await client.send(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n" % size)
        await reads(gateway, "gateway_upstream_awaiting", 1)
        written = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while written < size:
                    await client.send(b"x" * 65_536)
                    written += 65_536
        assert written < size // 2


async def test_a_websocket_waits_too_and_is_opened_once(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"wait_seconds": 30}, public_paths=("/*",))
    async with away(upstream) as returned, Client(gateway.address) as client:
        returned.script = echoing()
        await client.send(ASK)
        await reads(gateway, "gateway_upstream_awaiting", 1)
        async with returned:
            assert (await client.response(interim=True)).status == 101
            await client.send(b"bytes")
            assert await asyncio.wait_for(client.reader.readexactly(5), PATIENCE) == b"bytes"
            client.writer.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"])
async def test_a_handshake_that_was_sent_is_not_sent_again(
    start: Start, upstream: Upstream, answer: bytes
) -> None:
    upstream.script = flaky = Flaky(answer, OK)
    gateway = await start(upstream={"retry_when": ("reset", "503"), **EAGER})
    assert (await ask(gateway, ASK)).status == (503 if answer else 502)
    assert len(flaky.seen) == 1


@pytest.mark.parametrize("after", [("/b/*", "up", "/new/*"), ("/a/*", "other", "/other/*")])
async def test_a_request_that_waits_keeps_its_route_through_a_reload(
    routed: RouteFileStart, upstream: Upstream, tmp_path: Path, after: tuple[str, str, str]
) -> None:
    def written(path: str, leads_to: str, rewrite: str) -> str:
        return f"""
            upstreams:
              up: {{url: "http://127.0.0.1:{gone.port}", wait_seconds: 30}}
              other: {{url: "http://127.0.0.1:{upstream.port}"}}
            routes:
              - name: one
                match: {{path: {path}}}
                auth: public
                upstream: {leads_to}
                rewrite: {rewrite}
            """

    async with Upstream() as gone:
        pass
    gateway = await routed(written("/a/*", "up", "/old/*"), upstream={"url": None})
    waiting = asyncio.create_task(ask(gateway, get("/a/x")))
    await reads(gateway, "gateway_upstream_awaiting", 1)
    (tmp_path / "routes.yaml").write_text(dedent(written(*after)), encoding="utf-8")
    assert await gateway.routing.reload("test")
    await asyncio.sleep(2 * YOUNG_SECONDS)
    async with Upstream(port=gone.port) as back:
        assert (await asyncio.wait_for(waiting, PATIENCE)).status == 200
        assert [one.start for one in back.requests] == [b"GET /old/x HTTP/1.1"]
    assert upstream.requests == []


# -- failover ----------------------------------------------------------------------------------------------------------

TWO = """
upstreams:
  first: {url: "http://127.0.0.1:%d", failover: second}
  second: {url: "http://127.0.0.1:%d"}
routes:
  - {name: all, auth: public, match: {path: /*}, upstream: first}
"""
BOUNDED = """
upstreams:
  first: {url: "http://127.0.0.1:%d", failover: second}
  second: {url: "http://127.0.0.1:%d", breaker: {%s: 2}}
routes:
  - {name: all, auth: public, match: {path: /*}, upstream: first}
  - {name: second, auth: public, match: {path: /second/*}, upstream: second}
"""


async def test_a_second_upstream_stands_in_until_the_first_is_back(
    routed: RouteFileStart, upstream: Upstream
) -> None:
    async with Upstream() as second:
        gate = await routed(TWO % (upstream.port, second.port))
        assert (await ask(gate, get("/1"))).status == 200
        async with away(upstream) as returned:
            assert (await ask(gate, request("POST", "/2", body=b"hi"))).status == 200
            assert [message.body for message in second.requests] == [b"hi"]
            page = await scraped(gate)
            assert value(page, "gateway_upstream_away", upstream="first") == 1
            assert value(page, "gateway_upstream_failovers_total", upstream="first", to="second") == 1
            async with returned, asyncio.timeout(PATIENCE):
                while not returned.requests:
                    assert (await ask(gate, get("/3"))).status == 200
                    await asyncio.sleep(0.05)
                before = len(second.requests)
                assert (await ask(gate, get("/4"))).status == 200
                assert len(second.requests) == before
        assert value(await scraped(gate), "gateway_upstream_away", upstream="first") == 0


async def test_a_stand_in_takes_over_from_an_upstream_whose_tls_fails(
    routed: RouteFileStart, upstream: Upstream
) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    upstream.script = plain
    async with Upstream() as second:
        gate = await routed(TWO.replace("http:", "https:", 1) % (upstream.port, second.port))
        assert (await ask(gate, request("POST", "/", body=b"hi"))).status == 200
        assert [message.body for message in second.requests] == [b"hi"]


async def test_an_outage_that_many_requests_meet_counts_once(
    routed: RouteFileStart, upstream: Upstream
) -> None:
    async with Upstream() as second:
        gate = await routed(TWO % (upstream.port, second.port))
        async with away(upstream) as returned:
            answers = await asyncio.gather(*(ask(gate, get("/")) for _ in range(10)))
            assert [answer.status for answer in answers] == [200] * 10
            async with returned, asyncio.timeout(PATIENCE):  # after one wait of a second, and not of a minute
                while not returned.requests:
                    assert (await ask(gate, get("/"))).status == 200
                    await asyncio.sleep(0.05)


@pytest.mark.parametrize("bound", ["requests", "endpoint_requests", "endpoint_connections"])
async def test_a_stand_in_keeps_its_own_bounds(
    routed: RouteFileStart, upstream: Upstream, bound: str
) -> None:
    gate = Gate()
    async with Upstream(script=gate) as second:
        gateway = await routed(BOUNDED % (upstream.port, second.port, bound))
        async with away(upstream):
            held = [asyncio.create_task(ask(gateway, get(path))) for path in ("/1", "/second/2")]
            await gate.has(2)
            answers = [await ask(gateway, get(path)) for path in ("/3", "/second/4")]
            assert [(answer.status, answer.one("Retry-After")) for answer in answers] == [(503, "1")] * 2
            gate.open.set()
            assert {answer.status for answer in await asyncio.gather(*held)} == {200}
            assert (await ask(gateway, get("/5"))).status == 200
        assert value(await scraped(gateway), "gateway_upstream_active", upstream="second") == 0


async def test_a_failure_of_a_stand_in_is_counted_as_its_own(
    routed: RouteFileStart, upstream: Upstream
) -> None:
    async with Upstream(script=Flaky(b"SSH-2.0-x\r\n")) as second:
        gate = await routed(TWO % (upstream.port, second.port))
        async with away(upstream):
            assert (await ask(gate, get("/"))).status == 502
        page = await scraped(gate)
        failed = {
            name: value(page, "gateway_upstream_failures_total", upstream=name, reason="upstream_malformed")
            for name in ("first", "second")
        }
        assert failed == {"first": 0, "second": 1}


async def test_without_any_upstream_the_answer_is_502(routed: RouteFileStart, upstream: Upstream) -> None:
    async with Upstream() as second:
        gate = await routed(TWO % (upstream.port, second.port))
    async with away(upstream):
        for _ in range(2):
            assert (await ask(gate, get("/"))).status == 502


# -- the route file ------------------------------------------------------------------------------------------------

OWN = """
upstreams:
  only:
    url: "http://127.0.0.1:%d"
    retry: {when: [503], backoff_seconds: 0.001}
    breaker: {requests: %d}
routes:
  - {name: all, auth: public, match: {path: /*}, upstream: only}
  - {name: never, auth: public, match: {path: /never}, upstream: only, retry: {when: off}}
  - {name: often, auth: public, match: {path: /often}, upstream: only, retry: {attempts: 5}, deadline_seconds: 9}
"""


async def test_a_route_has_its_own_policy_key_by_key(routed: RouteFileStart, upstream: Upstream) -> None:
    gate = await routed(OWN % (upstream.port, 9))
    upstream.script = flaky = Flaky(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    for target, times in (("/", 3), ("/never", 1), ("/often", 5)):
        flaky.seen.clear()
        assert (await ask(gate, get(target))).status == 503
        assert len(flaky.seen) == times
        assert all((message.one(FIELD) is not None) == (target == "/often") for message in flaky.seen)


async def test_a_route_with_retries_off_repeats_nothing_despite_its_upstreams_time_for_attempts(
    routed: RouteFileStart, upstream: Upstream
) -> None:
    retry = "when: [503], repeat: idempotency-key, try_timeout_seconds: 0.3, backoff_seconds: 0.001"
    gate = await routed((OWN % (upstream.port, 9)).replace("when: [503], backoff_seconds: 0.001", retry))
    upstream.script = flaky = Flaky(SILENCE)
    for target, times in (("/", 3), ("/never", 1)):
        flaky.seen.clear()
        raw = request("POST", target, "Idempotency-Key: 7", body=b"pay")
        assert (await ask(gate, raw)).status == 504
        await flaky.has(times)
        assert len(flaky.seen) == times


async def test_a_reload_keeps_the_counts_and_takes_the_new_bounds(
    routed: RouteFileStart, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script = gate = Gate()
    gateway = await routed(OWN % (upstream.port, 9))
    held = [asyncio.create_task(ask(gateway, get("/"))) for _ in range(2)]
    await gate.has(2)
    (tmp_path / "routes.yaml").write_text(OWN % (upstream.port, 2))
    assert await gateway.routing.reload("test")
    assert value(await scraped(gateway), "gateway_upstream_active", upstream="only") == 2
    assert (await ask(gateway, get("/"))).status == 503
    gate.open.set()
    assert [answer.status for answer in await asyncio.gather(*held)] == [200, 200]
    assert (await ask(gateway, get("/"))).status == 200


async def test_a_refused_reload_changes_no_bound(
    routed: RouteFileStart, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script = gate = Gate()
    gateway = await routed(OWN % (upstream.port, 1))
    held = asyncio.create_task(ask(gateway, get("/")))
    await gate.has(1)
    hosted = "\n  - {name: x, auth: public, match: {path: /api/auth/login}, upstream: only}\n"
    (tmp_path / "routes.yaml").write_text((OWN % (upstream.port, 9)).rstrip() + hosted)
    assert not await gateway.routing.reload("test")
    assert (await ask(gateway, get("/"))).status == 503
    gate.open.set()
    assert (await held).status == 200


async def test_explain_and_status_show_the_policy(routed: RouteFileStart, upstream: Upstream) -> None:
    gate = await routed(OWN % (upstream.port, 9))
    async with Client(gate.admin_address) as admin:
        raw = json.dumps({"method": "GET", "path": "/often"}).encode()
        explained = (
            await admin.exchange(request("POST", "/explain", "Content-Type: application/json", body=raw))
        ).json()
        policy = explained["upstream"]["policy"]
        assert (policy["retry"]["when"], policy["retry"]["attempts"]) == (["503"], 5)
        assert (policy["deadline_seconds"], policy["breaker_requests"]) == (9, 9)
        status: Message = await admin.exchange(get("/status.json"))
    assert status.json()["upstreams"]["only"]["retrying"] == 0
