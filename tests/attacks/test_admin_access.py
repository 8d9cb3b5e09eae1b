"""The admin listener, reached by a page that rebinds its own name, and by a neighbour without the token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from config.load import load_settings
from gateway.admin_access import Access
from gateway.app import Gateway
from tests.support.admin import count, metrics
from tests.support.calls import get, post
from tests.support.peers import Client
from tests.support.worlds import NOWHERE, SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start


TOKEN = "an-admin-token-of-the-tests"
EVERYTHING = ("/metrics", "/status", "/status.json", "/explain", "/nowhere")
PROBES = ("/livez", "/readyz")


async def asked(gateway: Gateway, host: str | None, path: str, *fields: str) -> Message:
    raw = post(path, {"method": "GET", "path": "/"}, *fields) if path == "/explain" else get(path, *fields)
    line = b"Host: gateway.test\r\n"
    assert line in raw
    raw = raw.replace(
        line, b"" if host is None else b"".join(b"Host: %b\r\n" % one for one in host.encode().split(b"\n"))
    )
    async with Client(gateway.admin_address) as client:
        return await client.exchange(raw)


@pytest.mark.parametrize(
    "host",
    [
        "attacker.test",
        "127.0.0.1.attacker.test",
        "localhost.attacker.test",
        "attacker.test:8081",
        "127.1",
        "a b",
        "@127.0.0.1",
        "",
        "[::1",
    ],
)
async def test_a_page_that_rebinds_its_name_reads_nothing(
    start: Start, upstream: Upstream, host: str
) -> None:
    gateway = await start(admin={"hosts": (), "token": None})
    for path in (*PROBES, *EVERYTHING):
        answer = await asked(gateway, host, path)
        assert answer.status in {400, 421}, (path, answer.body)
        assert b"ready" not in answer.body
        assert b"gateway_" not in answer.body
    assert upstream.seen == b""


async def test_a_refused_host_is_told_what_to_do_and_counted(start: Start) -> None:
    gateway = await start(admin={"hosts": ()})
    answer = await asked(gateway, "attacker.test", "/status.json")
    assert answer.status == 421
    assert "GATEWAY_ADMIN_HOSTS" in str(answer.json()["message"])
    assert (await asked(gateway, "127.0.0.1\nattacker.test", "/status.json")).status == 400
    assert (await asked(gateway, None, "/status.json")).status == 400
    answer = await asked(gateway, "localhost", "/metrics")
    assert b'gateway_admin_refusals_total{reason="host"} 1.0' in answer.body
    assert b'gateway_admin_refusals_total{reason="token"} 0.0' in answer.body


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:9999",
        "10.1.2.3:8081",
        "[::1]:8081",
        "[fd00::1]",
        "localhost",
        "LOCALHOST:8081",
        "localhost.",
    ],
)
async def test_addresses_and_localhost_are_answered(start: Start, host: str) -> None:
    gateway = await start(admin={"hosts": ()})
    for path in ("/livez", "/metrics", "/status.json", "/explain"):
        assert (await asked(gateway, host, path)).status == 200, path


async def test_names_are_answered_where_they_are_set(start: Start) -> None:
    gateway = await start(admin={"hosts": ("Gateway.monitoring.svc".lower(), "*.pods.test")})
    for host in ("gateway.monitoring.svc:8081", "GATEWAY.Monitoring.svc.", "10-0-0-1.pods.test"):
        assert (await asked(gateway, host, "/status.json")).status == 200, host
    for host in ("pods.test", "a.b.pods.test", "monitoring.svc", "xgateway.monitoring.svc"):
        assert (await asked(gateway, host, "/status.json")).status == 421, host
    assert (await asked(gateway, ".pods.test", "/status.json")).status == 400, "no host has an empty label"


async def test_a_probe_of_http_1_0_needs_no_host(start: Start) -> None:
    gateway = await start(admin={"hosts": ()})
    async with Client(gateway.admin_address) as client:
        assert (await client.exchange(b"GET /livez HTTP/1.0\r\n\r\n")).status == 200


@pytest.mark.parametrize("path", EVERYTHING)
async def test_without_the_token_only_probes_answer(start: Start, path: str) -> None:
    gateway = await start(admin={"token": TOKEN})
    for fields in (
        (),
        ("Authorization: Bearer wrong-wrong-wrong-wrong",),
        (f"Authorization: Bearer {TOKEN}x",),
        (f"Authorization: Bearer {TOKEN[:-1]}",),
        (f"Authorization: Basic {TOKEN}",),
        (f"Authorization: {TOKEN}",),
        (f"X-API-Key: {TOKEN}",),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer wrong"),
    ):
        answer = await asked(gateway, "127.0.0.1", path, *fields)
        assert answer.status == 401, fields
        assert (answer.one("WWW-Authenticate") or "").startswith("Bearer ")
        assert TOKEN.encode() not in answer.body
    good = await asked(gateway, "127.0.0.1", path, f"Authorization: bearer {TOKEN}")
    assert good.status == (404 if path == "/nowhere" else 200)
    assert [(await asked(gateway, "127.0.0.1", probe)).status for probe in PROBES] == [200, 503]


async def test_a_token_in_a_file_is_exchanged_while_it_runs(upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    settings = load_settings(
        environment={
            "GATEWAY_ADMIN_TOKEN_FILE": str(file),
            "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
            "GATEWAY_LISTEN": "127.0.0.1:0",
            "GATEWAY_DATABASE_URL": NOWHERE,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
            "GATEWAY_TIMEOUT_DRAIN_SECONDS": "1",
        },
        env_file=tmp_path / "none",
    )
    gateway = await Gateway.start(settings)

    async def status(token: str) -> int:
        return (await asked(gateway, "127.0.0.1", "/status.json", f"Authorization: Bearer {token}")).status

    try:
        assert await status(TOKEN) == 200
        file.write_text("another-token-of-the-tests\n")
        assert (await status("another-token-of-the-tests"), await status(TOKEN)) == (200, 401)
        with capture_logs() as logged:
            for unfit in ("", "short", "with a space in it, and long"):
                file.write_text(unfit)
                assert await status("another-token-of-the-tests") == 200, "what is unfit changes nothing"
                assert await status(unfit) == 401
        assert [entry["event"] for entry in logged].count("admin_token_unusable") == 1
        assert "short" not in str(logged)
        file.unlink()
        assert await status("another-token-of-the-tests") == 200
    finally:
        await gateway.stop()


def test_a_token_that_cannot_be_sent_is_refused_at_the_start(tmp_path: Path) -> None:
    for token in ("short", "with a space in the middle of it", "é" * 20):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "check-config"],
            env={"PATH": os.environ["PATH"], "GATEWAY_ADMIN_TOKEN": token},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "GATEWAY_ADMIN_TOKEN: should be 16 characters or more" in done.stderr
        assert token not in done.stderr


PIECES = st.lists(
    st.sampled_from(
        [*"0189.:[]@%/ \t", "127", "0x7f", "fee", "de", "evil", "localhost", "::1", "\xb2", ".."]
    ),
    max_size=4,
).map("".join)


@given(
    PIECES,
    st.sampled_from(["127.0.0.1", "[::1]", "10.0.0.7:8081", "localhost", "LOCALHOST.", "::1", ""]),
    PIECES,
)
def test_no_name_passes_for_an_address(before: str, middle: str, behind: str) -> None:
    """A host that is answered to is an address or one of the names, for a browser's URL parser as well.

    To it a host in brackets is an address, and one whose last label is a number; any other is a name.
    """
    access = Access(frozenset({"localhost"}), None, lambda _: None)
    assert access.answers_to(middle) is (middle not in {"::1", ""})
    host = before + middle + behind
    if access.answers_to(host) and not host.startswith("["):
        name = host.partition(":")[0].lower().removesuffix(".")
        label = name.rpartition(".")[2]
        assert name == "localhost" or (label.isascii() and label.isdigit()), host


async def test_what_a_route_sets_is_hidden_and_what_a_client_sends_is_not(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        "routes:\n  - {name: r, auth: public, match: {path: /x}, "
        "headers: {set: {X-Service-Secret: s3cret-of-the-upstream}, add: {X-Also: t0p-secret}}}\n"
    )
    gateway = await start(routes=path, admin={"hosts": ()})
    document: dict[str, Any] = {"method": "GET", "path": "/x", "headers": {"X-Mine": "mine"}}
    async with Client(gateway.admin_address) as client:
        answer = await client.exchange(post("/explain", document).replace(b"gateway.test", b"localhost"))
    assert answer.status == 200
    sent = dict(json.loads(answer.body)["upstream"]["headers"])
    assert sent["X-Service-Secret"] == sent["X-Also"] == "(redacted)"
    assert sent["X-Mine"] == "mine"
    assert b"s3cret" not in answer.body
    assert b"t0p-secret" not in answer.body


async def test_refusals_are_counted_by_reason(start: Start) -> None:
    gateway = await start()
    await asked(gateway, "attacker.test", "/livez")
    assert count((await metrics(gateway))["gateway_admin_refusals"], reason="host") == 1
