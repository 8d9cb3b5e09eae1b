"""DNS client: answers with their time to live, resolv.conf as it is written, and every failure in finite time."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.assembly.names import name_doubts
from gateway.wire.dns_client import Answer, DnsClient, LookupFailed, LookupTimedOut, NameAbsent
from tests.config.loading import load
from tests.support.name_server import AAAA, A, NameServer, name_server
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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


async def test_names_of_upstreams_are_tried_by_check_config(names: NameServer) -> None:
    names.zone |= {"here.test": ["127.0.0.1"], "good.test": ["10.0.0.1"]}
    names.silent.add("lost.test")
    environment = {
        "GATEWAY_LISTEN": "127.0.0.1:8080",
        "GATEWAY_RESOLVER_SERVERS": names.address,
        "GATEWAY_RESOLVER_TIMEOUT_SECONDS": "0.05",
    }

    async def doubts(name: str) -> list[str]:
        settings = load({**environment, "GATEWAY_UPSTREAM_URL": f"http://{name}.test:8080"})
        return await name_doubts(settings, None)

    assert await doubts("good") == []
    assert await doubts("gone") == [
        "GATEWAY_UPSTREAM_URL: the name gone.test has no address; its requests would be answered 502 or 504"
    ]
    assert await doubts("lost") == [
        "GATEWAY_UPSTREAM_URL: no name server answered for lost.test in time; its requests would be answered 502 or 504"
    ]
    (doubt,) = await doubts("here")
    assert doubt.startswith("GATEWAY_UPSTREAM_URL: http://127.0.0.1:8080 is the gateway itself")


async def test_localhost_needs_no_name_server(names: NameServer) -> None:
    names.silent.add("localhost")
    found = await client_of(names).look_up("localhost")
    assert isinstance(found, Answer)
    assert "127.0.0.1" in found.addresses
    assert names.queries("localhost") == 0


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".test", "y." * 200])
async def test_a_name_that_cannot_be_asked_about_has_no_address(names: NameServer, name: str) -> None:
    with pytest.raises(LookupFailed):
        await client_of(names).look_up(name)
