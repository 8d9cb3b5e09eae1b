"""DNS client: answers with their time to live, resolv.conf as it is written, and every failure in finite time."""

from __future__ import annotations

import asyncio
import json
import shlex
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.assembly.names import NameEvents
from gateway.wire.dns_client import DnsClient, Lookup, LookupFailed, LookupTimedOut, NameAbsent
from gateway.wire.dns_message import fault_of
from tests.support.name_server import AAAA, A, NameServer, name_server
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATIENCE = 10


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        yield server


def client_of(names: NameServer, timeout_seconds: float = 0.05) -> DnsClient:
    return DnsClient([names.address], timeout_seconds=timeout_seconds)


async def test_an_answer_has_the_addresses_of_both_families_and_their_time_to_live(names: NameServer) -> None:
    names.zone["svc.test"] = ["10.0.0.1", "10.0.0.2", "fd00::1"]
    names.ttl = 17
    found = await client_of(names).look_up("svc.test")
    assert (set(found.addresses), found.ttl) == ({"10.0.0.1", "10.0.0.2", "fd00::1"}, 17)


async def test_each_lookup_asks_the_name_server_though_the_last_answer_is_still_good(
    names: NameServer,
) -> None:
    names.zone["svc.test"] = ["10.0.0.1"]
    names.ttl = 3600
    client = client_of(names)
    for asked in (1, 2, 3):
        await client.look_up("svc.test")
        assert names.asked["svc.test", A] == names.asked["svc.test", AAAA] == asked


@pytest.mark.parametrize(("kind", "lacks"), [(A, 4), (AAAA, 6)])
async def test_an_answer_says_of_which_family_it_may_lack_addresses(
    names: NameServer, kind: int, lacks: int
) -> None:
    names.zone["svc.test"] = ["10.0.0.1", "fd00::1"]
    client = client_of(names, 1)
    assert (await client.look_up("svc.test")).lacks == 0
    names.failing_types.add(("svc.test", kind))
    found = await client.look_up("svc.test")
    assert found.lacks == lacks
    assert found.addresses == (("fd00::1",) if kind == A else ("10.0.0.1",))
    names.zone["svc.test"] = ["fd00::1" if kind == A else "10.0.0.1"]
    names.failing_types.clear()
    assert (await client.look_up("svc.test")).lacks == 0, "the name has none of that family"


async def test_a_name_of_which_one_query_fails_is_not_absent_though_the_other_finds_nothing(
    names: NameServer,
) -> None:
    """However late the other one is answered."""
    names.zone["svc.test"] = ["10.0.0.1"]
    names.failing_types.add(("svc.test", A))
    names.late.add(("svc.test", AAAA))
    with pytest.raises(LookupFailed) as failed:
        await client_of(names, 1).look_up("svc.test")
    assert failed.value.outcome == "failed"


async def test_a_lost_query_is_sent_again(names: NameServer) -> None:
    names.zone["svc.test"] = ["10.0.0.1"]
    names.lost.add("svc.test")
    assert (await client_of(names).look_up("svc.test")).addresses == ("10.0.0.1",)
    assert names.asked["svc.test", A] >= 2


@pytest.mark.parametrize(
    ("trouble", "error"),
    [("silent", LookupTimedOut), ("failing", LookupFailed), ("absent", NameAbsent), ("empty", NameAbsent)],
)
async def test_a_lookup_that_brings_no_address_says_why(
    names: NameServer, trouble: str, error: type[LookupFailed]
) -> None:
    if trouble == "empty":
        names.zone["svc.test"] = []
    elif trouble != "absent":
        getattr(names, trouble).add("svc.test")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LookupFailed, match=r"svc\.test") as raised:
            await client_of(names).look_up("svc.test")
    assert type(raised.value) is error


async def test_a_port_without_a_name_server_is_a_failure(names: NameServer) -> None:
    assert names._transport is not None  # noqa: SLF001 -- the socket of the test's own server
    names._transport.close()  # noqa: SLF001 -- as above
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LookupFailed):
            await client_of(names).look_up("svc.test")


async def test_a_silent_lookup_keeps_no_other_waiting(names: NameServer) -> None:
    names.zone["good.test"] = ["10.0.0.1"]
    names.silent |= {f"lost{number}.test" for number in range(60)}
    client = client_of(names, timeout_seconds=PATIENCE)
    lost = [asyncio.create_task(client.look_up(name)) for name in names.silent]
    while sum(names.queries(name) > 0 for name in names.silent) < len(lost):
        await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE / 2):
        assert (await client.look_up("good.test")).addresses == ("10.0.0.1",)
    assert not any(task.done() for task in lost)
    for task in lost:
        task.cancel()
    await asyncio.gather(*lost, return_exceptions=True)


ELSEWHERE = """
import asyncio, json, sys
from gateway.wire.dns_client import DnsClient, LookupFailed
async def look_up(name):
    try:
        return list((await DnsClient(timeout_seconds=0.05).look_up(name)).addresses)
    except LookupFailed as error:
        return error.words
async def look_all_up():
    return [await look_up(name) for name in sys.argv[1:]]
print(json.dumps(asyncio.run(look_all_up())))
"""


async def looked_up(files: dict[str, str], folder: Path, *names: str) -> list[object]:
    """Look names up in a process of its own, which sees `files` in the place of those in /etc."""
    mounts = []
    for place, text in files.items():
        written = folder / Path(place).name
        written.write_text(text)
        mounts.append(f"mount --bind {shlex.quote(str(written))} {place}")
    script = " && ".join([*mounts, 'exec "$0" "$@"'])
    process = await asyncio.create_subprocess_exec(
        *(program("unshare"), "--map-root-user", "--mount", "sh", "-c", script),
        *(sys.executable, "-c", ELSEWHERE, *names),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode and any(word in errors for word in (b"ermitted", b"denied")):
        pytest.skip("mount namespaces are not allowed here")
    assert process.returncode == 0, errors.decode()
    found: list[object] = json.loads(output)
    return found


async def test_resolv_conf_and_the_hosts_file_are_read_as_they_are(names: NameServer, tmp_path: Path) -> None:
    names.zone |= {"billing.prod.svc.cluster.test": ["10.0.0.1"], "billing.prod": ["10.0.0.9"]}
    server = f"nameserver [127.0.0.1]:{names.port}\n"
    files = {
        "/etc/resolv.conf": f"{server}search svc.cluster.test cluster.test\noptions ndots:5 timeout:30\n",
        "/etc/hosts": "127.0.0.1 localhost\n10.0.0.7 billing.hosts\n",
    }
    found = await looked_up(files, tmp_path, "billing.prod", "billing.prod.", "billing.hosts", "gone.prod")
    assert found == [["10.0.0.1"], ["10.0.0.9"], ["10.0.0.7"], "the name gone.prod has no address"]
    assert names.queries("billing.hosts") == 0
    assert names.queries("gone.prod.svc.cluster.test") > 0
    files["/etc/resolv.conf"] = f"{server}search svc.cluster.test\noptions ndots:1 attempts:2\n"
    names.silent.add("lost.prod")
    found = await looked_up(files, tmp_path, "billing.prod", "lost.prod")
    assert found == [["10.0.0.9"], "no name server answered for lost.prod in time"]
    assert names.asked["lost.prod", A] == 2


async def test_localhost_needs_no_name_server(names: NameServer) -> None:
    names.silent.add("localhost")
    found = await client_of(names).look_up("localhost")
    assert isinstance(found, Lookup)
    assert "127.0.0.1" in found.addresses
    assert names.queries("localhost") == 0


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".test", "y." * 200])
async def test_a_name_that_cannot_be_asked_about_has_no_address(names: NameServer, name: str) -> None:
    with pytest.raises(LookupFailed):
        await client_of(names).look_up(name)


# -- answers that are none -----------------------------------------------------------------------------------------


def reply(query: bytes, records: bytes = b"", *, flags: int = 0x8180, question: bytes = b"") -> bytes:
    """An answer to `query` with one record, or none."""
    head = query[:2] + struct.pack("!HHHHH", flags, 1, 1 if records else 0, 0, 0)
    return head + (question or query[12 : query.index(b"\0", 12) + 5]) + records


def record(owner: bytes, data: bytes, kind: int = A) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


OWNER = b"\xc0\x0c"
EVIL = bytes([192, 0, 2, 66])
OTHER = b"\x04evil\x04test\x00"
JUNK: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a byte": (lambda _: b"\0", "malformed"),
    "noise": (lambda _: b"\xff" * 40, "not a response"),
    "noise under the right id": (lambda query: query[:2] + b"\x81\x80" + b"\xff" * 40, "malformed"),
    "a head alone": (lambda query: reply(query)[:12], "malformed"),
    "half of an address": (lambda query: reply(query, record(OWNER, EVIL))[:-2], "malformed"),
    "an address of five bytes": (lambda query: reply(query, record(OWNER, EVIL + b"\1")), "malformed"),
    "a name that leads to itself": (lambda query: reply(query, record(b"\xc0\x1a", EVIL)), "malformed"),
    "the query": (lambda query: query, "not a response"),
    "another question": (
        lambda query: reply(query, record(OWNER, EVIL), question=OTHER + b"\0\1\0\1"),
        "a response to another question",
    ),
    "an address of another name": (
        lambda query: reply(query, record(OTHER, EVIL)),
        "an address of another name",
    ),
    "an alias that leads elsewhere": (
        lambda query: (
            reply(query, record(OWNER, OTHER, kind=5))[:6]
            + struct.pack("!HHH", 2, 0, 0)
            + reply(query, record(OWNER, OTHER, kind=5) + record(b"\x03all\x04evil\x04test\0", EVIL))[12:]
        ),
        "an address of another name",
    ),
}


@pytest.mark.parametrize("what", JUNK)
async def test_a_datagram_that_is_no_answer_is_ignored_and_the_wait_goes_on(
    names: NameServer, what: str
) -> None:
    forge, why = JUNK[what]
    names.zone["svc.test"] = ["10.0.0.1", "fd00::1"]
    names.forged = [forge] * 4
    names.slow.add("svc.test")
    ignored: list[tuple[str, str]] = []
    client = DnsClient(
        [names.address], timeout_seconds=PATIENCE, ignored=lambda name, why: ignored.append((name, why))
    )
    async with asyncio.timeout(PATIENCE):
        lookup = asyncio.create_task(client.look_up("svc.test"))
        while len(ignored) < 8:
            await asyncio.sleep(0.001)
        names.release()
        assert set((await lookup).addresses) == {"10.0.0.1", "fd00::1"}
    assert set(ignored) == {("svc.test", f"a datagram by a name server: {why}")}
    assert names.queries("svc.test") == 2, "nothing was asked again"


async def test_an_answer_under_another_id_or_from_elsewhere_is_ignored(names: NameServer) -> None:
    names.zone["svc.test"] = ["10.0.0.1"]
    names.forged = [
        lambda query: bytes([query[0] ^ 1, query[1]]) + reply(query, record(OWNER, EVIL))[2:],
    ]
    assert (await client_of(names, PATIENCE).look_up("svc.test")).addresses == ("10.0.0.1",)
    async with name_server() as stranger:
        names.slow.add("svc.test")
        names.forged = []
        lookup = asyncio.create_task(client_of(names, PATIENCE).look_up("svc.test"))
        async with asyncio.timeout(PATIENCE):
            while len(names.held) < 2:
                await asyncio.sleep(0.001)
            for query, client in names.held:
                stranger.send(reply(query, record(OWNER, EVIL)), client)
            await asyncio.sleep(0.02)
            names.release()
            assert (await lookup).addresses == ("10.0.0.1",)


async def test_an_answer_that_leads_by_aliases_is_used(names: NameServer) -> None:
    alias = record(OWNER, b"\x03lb1\x03svc\x04test\0", kind=5)

    def led(query: bytes) -> bytes:
        whole = reply(query, alias + record(b"\x03LB1\x03svc\x04test\0", bytes([10, 0, 0, 7])))
        return whole[:6] + struct.pack("!HHH", 2, 0, 0) + whole[12:]

    names.silent.add("www.test")
    names.forged = [led]
    found = await client_of(names, PATIENCE).look_up("www.test")
    assert found.addresses == ("10.0.0.7",)


async def test_an_answer_cut_short_is_used_where_none_is_to_be_had_by_tcp(names: NameServer) -> None:
    names.zone["svc.test"] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    names.truncated.add("svc.test")
    assert set((await client_of(names).look_up("svc.test")).addresses) == {"10.0.0.1", "10.0.0.2"}


@pytest.mark.parametrize("nobodys", ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"])  # noqa: S104
async def test_an_address_that_nobody_can_be_reached_at_is_left_out(names: NameServer, nobodys: str) -> None:
    ignored: list[tuple[str, str]] = []
    client = DnsClient(
        [names.address], timeout_seconds=PATIENCE, ignored=lambda name, why: ignored.append((name, why))
    )
    names.zone |= {"some.test": ["10.0.0.1", nobodys], "none.test": [nobodys]}
    assert (await client.look_up("some.test")).addresses == ("10.0.0.1",)
    assert ignored == [("some.test", f"nobody can be reached at {nobodys}")]
    with pytest.raises(LookupFailed, match="only addresses that nobody can be reached at"):
        await client.look_up("none.test")


@given(st.binary(max_size=600), st.booleans())
def test_whatever_a_datagram_holds_it_is_judged_in_bounded_time(noise: bytes, like_an_answer: bool) -> None:
    head = struct.pack("!HHHHHH", 7, 0x8180, 1, 9, 9, 9) + b"\3svc\4test\0\0\1\0\1" if like_an_answer else b""
    assert isinstance(fault_of(head + noise, "svc.test"), str)


@given(st.data())
def test_an_answer_is_good_and_no_part_of_it_is(data: st.DataObject) -> None:
    query = b"\0\7\1\0\0\1\0\0\0\0\0\0\3svc\4test\0\0\1\0\1"
    whole = reply(query, record(OWNER, EVIL))
    assert fault_of(whole, "SVC.test.") == fault_of(whole, "svc") == ""
    assert fault_of(whole[: data.draw(st.integers(0, len(whole) - 1))], "svc.test")


async def test_a_file_of_aliases_is_not_followed(
    names: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aliases").write_text("billing real.test\n")
    monkeypatch.setenv("HOSTALIASES", str(tmp_path / "aliases"))
    names.zone |= {"real.test": ["10.0.0.9"], "billing": ["10.0.0.1"]}
    assert (await client_of(names, PATIENCE).look_up("billing")).addresses == ("10.0.0.1",)
    assert names.queries("real.test") == 0


def test_what_is_ignored_is_an_event_once_for_a_name_and_a_reason() -> None:
    events = NameEvents()
    with capture_logs() as lines:
        for _ in range(3):
            events.ignored("svc.test", "nobody can be reached at 0.0.0.0")
        events.ignored("svc.test", "a datagram by a name server: malformed")
    assert [(line["event"], line["name"], line["ignored"]) for line in lines] == [
        ("name_answer_ignored", "svc.test", "nobody can be reached at 0.0.0.0"),
        ("name_answer_ignored", "svc.test", "a datagram by a name server: malformed"),
    ]
