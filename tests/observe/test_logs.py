"""Access log: what it holds, what it never does, and that nobody waits for its reader."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import io
import json
import os
import subprocess
import sys
import termios
import threading
import time
from array import array
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logs import AccessLog, make_turns, redacted_query
from gateway.logs.access import BATCH
from gateway.logs.redaction import masked
from gateway.logs.text import access_line, spelled_out
from gateway.logs.writer import MAX_PENDING, Writer
from tests.observe.recording import Written, records
from tests.observe.scraping import reads, scraped, value
from tests.support.calls import ask, bearer, get, request
from tests.support.flaky import BUSY, CUT, EAGER, OK, Flaky
from tests.support.peers import PATIENCE, Client, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.worlds import Start, World


RECORD: dict[str, object] = {
    "time": 1_800_000_000.25,
    "level": "info",
    "event": "request",
    "request_id": "0" * 32,
    "method": "GET",
    "path": "/api/x",
    "status": 200,
    "duration_ms": 1.23456,
}


class Sink:
    """A file that keeps what it is given, once it is let."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.lines: list[bytes] = []
        self.writes = 0

    def write(self, piece: bytes, /) -> int:
        self.writes += 1
        assert self.opened.wait(PATIENCE)
        self.lines += piece.splitlines()
        return len(piece)


async def test_a_record_tells_who_did_what_and_where_the_time_went(
    world: World, start: Start, written: Written
) -> None:
    gateway = await start(world.url, log={"access": True})
    token = world.token(world.agent)
    await ask(gateway, request("POST", "/api/things?page=2&q=secret", bearer(token), body=b"x" * 10))
    (record,) = await records(gateway, written)
    assert record.keys() == {
        *("time", "level", "event", "request_id", "trace_id", "client", "method", "path", "query", "status"),
        *("duration_ms", "authenticate_ms", "connect_ms", "upstream_ms", "relay_ms", "bytes_in", "bytes_out"),
        *("route", "upstream", "attempts", "credential", "user_id", "organization_id"),
    }
    assert record["path"] == "/api/things"
    assert record["query"] == "page=***&q=***"
    assert (record["method"], record["status"], record["route"]) == ("POST", 200, "protected")
    assert (record["user_id"], record["organization_id"]) == (str(world.agent), str(world.home))
    assert (record["credential"], record["attempts"], record["bytes_in"]) == ("jwt", 1, 10)
    assert record["bytes_out"] > 0
    phases = [record[f"{name}_ms"] for name in ("authenticate", "connect", "upstream", "relay")]
    assert all(phase >= 0 for phase in phases)
    assert sum(phases) == pytest.approx(record["duration_ms"], abs=0.01)
    assert phases[0] > 0
    assert time.time() - 3600 < _posix(record["time"]) <= time.time() + 1


def _posix(text: str) -> float:
    from datetime import datetime  # noqa: PLC0415 - for this alone

    assert text.endswith("Z")
    return datetime.fromisoformat(text).timestamp()


async def test_a_record_tells_what_a_traffic_policy_did(
    start: Start, upstream: Upstream, written: Written
) -> None:
    upstream.script = Flaky(BUSY, CUT, OK)
    policy = {"retry_when": ("503", "reset"), "wait_seconds": 30}
    gateway = await start(upstream={**policy, **EAGER}, log={"access": True})
    await ask(gateway, get("/again"))
    await upstream.__aexit__(None, None, None)
    waiting = asyncio.create_task(ask(gateway, get("/waits")))
    await reads(gateway, "gateway_upstream_awaiting", 1)
    async with Upstream(port=upstream.port):
        await asyncio.wait_for(waiting, PATIENCE)
        await ask(gateway, get("/plain"))
        again, waited, plain = await records(gateway, written)
    assert (again["attempts"], again["retried"], again["status"]) == (3, ["status", "reset"], 200)
    assert waited["waited_ms"] > 0
    assert {"retried", "waited_ms", "failover"}.isdisjoint(plain)


async def test_the_wait_for_an_upstream_is_not_counted_as_the_upstreams_time(
    start: Start, upstream: Upstream, written: Written
) -> None:
    gateway = await start(upstream={"wait_seconds": 30}, log={"access": True})
    await upstream.__aexit__(None, None, None)
    waiting = asyncio.create_task(ask(gateway, get("/")))
    await reads(gateway, "gateway_upstream_awaiting", 1)
    async with Upstream(port=upstream.port):
        await asyncio.wait_for(waiting, PATIENCE)
        page = await scraped(gateway)
        (record,) = await records(gateway, written)
    assert record["connect_ms"] >= record["waited_ms"] > 0
    assert value(page, "gateway_upstream_wait_seconds_sum") * 1000 == pytest.approx(
        record["connect_ms"], abs=0.01
    )
    phases = [record[f"{name}_ms"] for name in ("authenticate", "connect", "upstream", "relay")]
    assert sum(phases) == pytest.approx(record["duration_ms"], abs=0.01)


async def test_the_wait_for_an_unreachable_upstream_is_logged_as_connecting(
    start: Start, upstream: Upstream, written: Written
) -> None:
    await upstream.__aexit__(None, None, None)
    gateway = await start(upstream={"wait_seconds": 0.3}, log={"access": True})
    assert (await ask(gateway, get("/"))).status == 502
    (record,) = await records(gateway, written)
    assert record["connect_ms"] >= record["waited_ms"] > record["upstream_ms"]


async def test_a_refusal_tells_why_and_how_far_it_came(start: Start, world: World, written: Written) -> None:
    gateway = await start(world.url, log={"access": True})
    await ask(gateway, get("/api/x"))
    await ask(gateway, get("/api/api-keys", bearer(world.token(world.agent))))
    await ask(gateway, get("/a//b"))
    missing, forbidden, confused = await records(gateway, written)
    assert (missing["status"], missing["reason"], missing["credential"]) == (401, "missing", "none")
    assert "user_id" not in missing
    assert {"connect_ms", "upstream_ms"}.isdisjoint(missing)
    assert missing["authenticate_ms"] == missing["duration_ms"]
    assert (forbidden["status"], forbidden["reason"], forbidden["credential"]) == (403, "forbidden", "jwt")
    assert confused["status"] == 400
    assert confused["path"] is None
    assert "route" not in confused


async def test_a_client_that_left_is_499_and_the_upstream_is_let_go(
    start: Start, upstream: Upstream, written: Written
) -> None:
    asked, let_go = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        let_go.set()
        writer.close()

    upstream.script = script
    gateway = await start(log={"access": True})
    for raw in (get("/health"), get("/health") * 2):  # alone, and with another behind it
        asked.clear()
        let_go.clear()
        async with Client(gateway.address) as client:
            await client.send(raw)
            await asyncio.wait_for(asked.wait(), PATIENCE)
            client.writer.transport.abort()
            await asyncio.wait_for(let_go.wait(), PATIENCE)
    told = await records(gateway, written)
    assert [(record["status"], record["reason"]) for record in told] == [(499, "client_gone")] * 2


async def test_one_canonical_path_is_matched_permitted_and_logged_and_the_bytes_are_sent_as_they_came(
    start: Start, world: World, upstream: Upstream, written: Written, tmp_path: Path
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        "routes: [{name: read, match: {path: /api/contacts}, auth: required, require: contacts:read},"
        " {name: delete, match: {path: /api/users}, auth: required, require: users:delete}]"
    )
    gateway = await start(world.url, routes=str(file), log={"access": True})
    agent = bearer(world.token(world.agent))
    spelled = "/api/%63ontacts?a=%2e%2E&b"
    assert (await ask(gateway, get(spelled, agent))).status == 200
    assert upstream.requests[-1].start == f"GET {spelled} HTTP/1.1".encode()
    assert (await ask(gateway, get("/api/us%65rs", agent))).status == 403
    assert (await ask(gateway, get("/api/contacts%2f..%2fusers", agent))).status == 400
    assert len(upstream.requests) == 1
    told = await records(gateway, written)
    assert [(record["path"], record.get("route"), record["status"]) for record in told] == [
        ("/api/contacts", "read", 200),
        ("/api/users", "delete", 403),
        (None, None, 400),
    ]


async def test_no_ticket_is_in_the_record_of_its_socket(start: Start, world: World, written: Written) -> None:
    gateway = await start(world.url, log={"access": True})
    await ask(gateway, get("/ws?token=aaaa.bbbb.cccc&lang=en"))
    (record,) = await records(gateway, written)
    assert (record["path"], record["credential"], record["status"]) == ("/ws", "ws", 401)
    assert "bbbb" not in json.dumps(record)


async def test_an_upstream_that_does_not_answer_is_told_with_its_time(
    start: Start, upstream: Upstream, written: Written
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.close()

    upstream.script = silent
    gateway = await start(log={"access": True})
    await ask(gateway, get("/health"))
    (record,) = await records(gateway, written)
    assert (record["status"], record["reason"]) == (502, "upstream_lost")
    assert record["upstream_ms"] >= 45  # a loop may sleep a millisecond less
    assert "relay_ms" not in record


async def test_successes_are_sampled_and_errors_are_not(start: Start, written: Written) -> None:
    gateway = await start(log={"access": True, "sample": 0.25})
    for _ in range(20):
        await ask(gateway, get("/health"))
        await ask(gateway, get("/api/x"))
    found = await records(gateway, written)
    assert [record["status"] for record in found].count(200) == 5
    assert [record["status"] for record in found].count(401) == 20


async def test_no_success_is_written_at_a_share_of_none(start: Start, written: Written) -> None:
    gateway = await start(log={"access": True, "sample": 0})
    for path in ("/health", "/a//b", "/health"):
        await ask(gateway, get(path))
    assert [record["status"] for record in await records(gateway, written)] == [400]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("names", "a=***&token=***&***"), ("values", "a=1&token=***&***"), ("off", None)],
)
async def test_of_a_query_there_is_as_much_as_was_asked_for(
    setting: str, expected: str | None, start: Start, written: Written
) -> None:
    gateway = await start(log={"access": True, "query": setting})
    await ask(gateway, get("/health?a=1&token=abc&bare"))
    (record,) = await records(gateway, written)
    assert record.get("query") == expected


async def test_what_looks_like_a_credential_is_masked_in_a_path(
    start: Start, world: World, written: Written
) -> None:
    gateway = await start(world.url, log={"access": True})
    token = world.token(world.agent)
    await ask(gateway, get(f"/redirect/{token}/{world.api_key}"))
    (record,) = await records(gateway, written)
    assert record["path"] == "/redirect/***/***"


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=80))
def test_no_value_of_a_query_is_in_its_redaction(pairs: list[tuple[bytes, bytes]]) -> None:
    marked = [(name.translate(None, b"&=V"), b"V" + value.translate(None, b"&=")) for name, value in pairs]
    query = b"&".join(name + b"=" + value for name, value in marked)
    assert "V" not in redacted_query(query, values=False)


@given(st.binary(max_size=400), st.booleans())
def test_any_query_can_be_redacted(query: bytes, values: bool) -> None:
    assert redacted_query(query, values=values).isascii() or "�" in redacted_query(query, values=values)


def test_a_name_that_is_as_long_as_a_secret_is_none() -> None:
    assert redacted_query(b"x" * 49 + b"=1&" + b"y" * 48 + b"=", values=True) == "***&" + "y" * 48 + "="
    assert redacted_query(b"&&", values=True) == "&&"
    assert redacted_query(b"&".join([b"a=1"] * 100), values=True).endswith("a=1&…")


def test_masking_leaves_what_is_no_credential() -> None:
    assert masked("/api/x/eyJ/whm_") == "/api/x/eyJ/whm_"
    assert masked("x=whm_0123456789abcdef0123456789abcdef;") == "x=***;"
    assert masked("(eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoxfQ.c2ln)") == "(***)"


# -- the writer -------------------------------------------------------------------------------------------------


def test_a_reader_that_stalls_stalls_nobody_and_is_told_what_it_missed() -> None:
    sink = Sink()
    log = AccessLog(sink)
    log.start()
    began = threading.active_count()
    number = MAX_PENDING + 3 * BATCH
    for _ in range(number):
        log.add(dict(RECORD))  # this thread would hang here, and the test with it
    log.flush()
    assert log.pending <= MAX_PENDING
    assert log.dropped > 0
    assert sink.writes <= 1
    sink.opened.set()
    log.stop()
    assert threading.active_count() < began + 1
    told = [json.loads(line) for line in sink.lines]
    lost = sum(one["records"] for one in told if one["event"] == "log_dropped")
    assert lost == log.dropped
    assert log.written + log.dropped == number
    assert len(told) == log.written + sum(1 for one in told if one["event"] == "log_dropped")


def test_a_reader_that_has_gone_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with io.FileIO(writing, "wb") as out:
        log = AccessLog(out)
        log.start()
        log.add(dict(RECORD))
        log.stop()
    assert (log.written, log.dropped) == (0, 1)


def test_a_write_that_takes_some_is_gone_on_with() -> None:
    taken: list[bytes] = []

    class Narrow:
        def write(self, piece: bytes, /) -> int:
            taken.append(piece[:7])
            return len(taken[-1])

    writer = Writer(Narrow(), lambda _: b"")
    writer.start()
    writer.put(1, lambda: b"0123456789" * 3)
    writer.stop()
    assert b"".join(taken) == b"0123456789" * 3


class Disk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room, self.content = room, b""

    def write(self, piece: bytes, /) -> int:
        taken = piece[: self.room]
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(taken)
        self.content += taken
        return len(taken)


def _put_lines(writer: Writer, *, begin: int, end: int) -> None:
    """Write lines of ten bytes, four in a batch, and wait until they are written or dropped."""
    writer.start()
    for first in range(begin, end, 4):
        batch = b"".join(b"line %04d\n" % number for number in range(first, first + 4))
        writer.put(4, lambda batch=batch: batch)  # type: ignore[misc]
    writer.stop()


@pytest.mark.parametrize("cut", [0, 3, 8, 10, 25, 40])
def test_after_a_full_disk_every_lost_line_is_counted_and_the_next_one_begins_a_line(cut: int) -> None:
    disk = Disk(400 + cut)
    writer = Writer(disk, lambda records: b"dropped %d\n" % records)
    _put_lines(writer, begin=0, end=100)
    assert (writer.written, writer.dropped) == (40 + cut // 10, 60 - cut // 10)
    disk.room = 10_000
    _put_lines(writer, begin=100, end=108)
    lines = disk.content.splitlines()
    assert [int(line.removeprefix(b"dropped ")) for line in lines if b"dropped" in line] == [60 - cut // 10]
    whole = [b"line %04d" % number for number in (*range(40 + cut // 10), *range(100, 108))]
    assert [line for line in lines if line.startswith(b"line") and len(line) == 9] == whole
    assert len(lines) == len(whole) + 1 + bool(cut % 10)
    assert b"" not in lines


def test_a_report_of_dropped_records_that_was_cut_is_written_again() -> None:
    disk = Disk(0)
    writer = Writer(disk, lambda records: b"dropped %d\n" % records)
    _put_lines(writer, begin=0, end=8)
    disk.room = 40 + 5  # the next batch, and half of the report
    _put_lines(writer, begin=8, end=12)
    assert disk.content.endswith(b"line 0011\ndropp")
    disk.room = 10_000
    _put_lines(writer, begin=12, end=16)
    assert disk.content.endswith(b"\ndropp\nline 0012\nline 0013\nline 0014\nline 0015\ndropped 8\n")
    assert (writer.written, writer.dropped) == (8, 8)


def test_the_log_writer_waits_for_a_full_pipe_that_does_not_block() -> None:
    class Counting(io.FileIO):
        tries = 0

        def write(self, piece: Any, /) -> int:
            self.tries += 1
            return super().write(piece)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with io.FileIO(reading) as reader, Counting(writing, "wb") as out:
        filling = bytes(1 << 20)
        filled = os.write(writing, filling)
        writer = Writer(out, lambda _: b"")
        writer.start()
        line = b"x" * 100 + b"\n"
        writer.put(1, lambda: line)
        while not out.tries:
            time.sleep(0.001)
        time.sleep(0.05)
        assert out.tries == 1
        received = bytearray()
        while len(received) < filled + len(line):
            received += reader.read(65_536) or b""
        writer.stop()
    assert received[filled:] == line
    assert (writer.written, writer.dropped) == (1, 0)


def test_records_and_events_of_one_process_do_not_mix(tmp_path: Any) -> None:
    """Many threads log at once, and every line is whole."""
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as out:
        writer = Writer(out, lambda _: b"")
        writer.start()
        line = b"x" * 3000 + b"\n"

        def put() -> None:
            for _ in range(100):
                writer.put(1, lambda: line)

        threads = [threading.Thread(target=put) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.stop()
    assert set(path.read_bytes().splitlines(keepends=True)) == {line}


_WRITES: Final = """
import io, sys
from gateway.logs.turns import SharedTurns
from gateway.logs.writer import Writer
name, turns, batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
writer = Writer(io.FileIO(1, "wb"), lambda records: b"", SharedTurns(turns))
writer.start()
for number in range(batches):
    line = b"%s %06d %s end\\n" % (name.encode(), number, name.encode() * 5000)
    writer.put(20, lambda line=line: line * 20)
while writer.pending:
    pass
"""


@contextmanager
def one_pipe() -> Iterator[tuple[int, Callable[[str, int], subprocess.Popen[bytes]]]]:
    """A pipe; yields its end to read, and what starts a process that writes so many batches of 100,000 bytes to it."""
    reading, writing = os.pipe()
    turns = make_turns()
    with ExitStack() as ending:
        ending.callback(os.close, turns)
        ending.callback(os.close, reading)

        def write(name: str, batches: int) -> subprocess.Popen[bytes]:
            arguments = [sys.executable, "-c", _WRITES, name, str(turns), str(batches)]
            process = subprocess.Popen(arguments, stdout=writing, pass_fds=[turns])
            ending.callback(process.wait)
            ending.callback(process.kill)
            return process

        try:
            yield reading, write
        finally:
            os.close(writing)


def _read(pipe: int, number: int) -> list[bytes]:
    """Read so many lines, in pieces that are smaller than a line."""
    read = b""
    while read.count(b"\n") < number:
        read += os.read(pipe, 4_096)
    return read.splitlines()


def test_lines_of_several_processes_in_one_pipe_are_whole() -> None:
    with one_pipe() as (pipe, write):
        for name in "abc":
            write(name, 10)
        lines = _read(pipe, 600)
    for each in (b"a", b"b", b"c"):
        whole = [b"%b %06d %b end" % (each, number, each * 5000) for number in range(10) for _ in range(20)]
        assert [line for line in lines if line.startswith(each)] == whole
    assert len(lines) == 600


def test_a_process_that_is_killed_while_it_writes_frees_the_log_and_its_line_is_ended() -> None:
    with one_pipe() as (pipe, write):
        killed = write("a", 1)
        full = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
        while array("i", fcntl.ioctl(pipe, termios.FIONREAD, b"    "))[0] < full:
            assert killed.poll() is None
        write("b", 1)
        killed.kill()
        killed.wait()
        whole = full // len(b"a 000000 %b end\n" % (b"a" * 5000))
        lines = _read(pipe, whole + 1 + 20)
    assert lines[:whole] == [b"a 000000 %b end" % (b"a" * 5000)] * whole
    assert lines[whole].startswith(b"a 000000 aaa")
    assert b"b" not in lines[whole]
    assert lines[whole + 1 :] == [b"b 000000 %b end" % (b"b" * 5000)] * 20


# -- for people ---------------------------------------------------------------------------------------------------


def _denied() -> Iterator[dict[str, object]]:
    yield {**RECORD, "time": "2027-01-15T08:00:00.250Z"}
    yield {**RECORD, "time": "2027-01-15T08:00:00.250Z", "status": 401, "reason": "missing", "query": "a=***"}


def test_a_line_of_text_says_what_matters_first() -> None:
    plain, denied = (access_line(record).decode() for record in _denied())
    assert plain.startswith("08:00:00.250 200 GET     /api/x  1.23456ms")
    assert plain.count("\n") == 1
    assert "401 GET     /api/x?a=***" in denied
    assert "reason=missing" in denied
    assert f"id={'0' * 32}" in denied
    assert "id=" not in plain


@given(st.text())
def test_a_terminal_is_told_nothing_by_a_client(text: str) -> None:
    shown = spelled_out(text)
    assert shown.isprintable()


async def test_a_path_cannot_draw_on_the_terminal(start: Start, capfdbinary: Any) -> None:
    gateway = await start(log={"access": True, "format": "text"})
    await ask(gateway, get("/x/%E2%80%AE%1b%5b31m"))
    await ask(gateway, get("/x/%E2%80%AE"))
    await gateway.stop()
    out = capfdbinary.readouterr().out
    assert b"/x/" in out
    assert b"\x1b" not in out
    assert "\u202e".encode() not in out
