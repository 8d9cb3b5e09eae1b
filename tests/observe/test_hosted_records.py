"""Records of hosted endpoints: a refusal has its reason and detail, as everywhere else, and nothing of the rows."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gateway.logs.verdicts import MOST, Verdicts
from tests.support.admin import admin
from tests.support.calls import ask, get, post
from tests.support.peers import Client
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.support.worlds import Start, World


def records(capture: pytest.CaptureFixture[bytes]) -> list[dict[str, Any]]:
    """The access records so far."""
    found = [json.loads(line) for line in capture.readouterr().out.splitlines() if line.startswith(b"{")]
    return [one for one in found if one.get("event") == "request"]


LOGIN = {"email": "agent@example.com", "password": "wrong"}


@pytest.mark.parametrize(
    ("call", "status", "reason"),
    [
        (post("/api/auth/login", LOGIN), 401, "unknown"),
        (post("/api/auth/login", {"email": "agent@example.com"}), 400, "bad_request"),
        (post("/api/auth/refresh", {"refresh_token": "a.b.c"}), 401, "unknown"),
        (post("/api/auth/register", {**LOGIN, "full_name": "A"}), 400, "bad_request"),
    ],
    ids=["wrong password", "no password", "no token", "no organization"],
)
async def test_a_refusal_of_a_hosted_endpoint_has_its_reason_and_detail(
    call: bytes,
    status: int,
    reason: str,
    world: World,
    start: Start,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    gateway = await start(world.url, log={"access": True}, timeout={"drain_seconds": 0.1})
    assert (await ask(gateway, call)).status == status
    good = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
    assert (await ask(gateway, good)).status == 200
    await gateway.stop()
    refused, served = records(capfdbinary)
    assert (refused["status"], refused["reason"]) == (status, reason)
    assert refused["detail"]
    assert "reason" not in served
    assert "agent@example.com" not in json.dumps(refused)


async def test_what_the_database_refused_with_is_in_the_record_and_in_readiness(
    world: World, start: Start, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    gateway = await start(world.url, log={"access": True})
    await world.sql("ALTER TABLE users RENAME TO away")
    assert (await ask(gateway, post("/api/auth/login", LOGIN))).status == 503
    answer = await admin(gateway, "/readyz")
    assert answer.status == 503
    await world.sql("ALTER TABLE away RENAME TO users")
    await gateway.stop()
    (record,) = records(capfdbinary)
    assert record["reason"] == "store_down"
    assert "(schema" in record["detail"]
    assert "users" in record["detail"]


async def test_no_client_chooses_whose_record_a_refusal_is(
    world: World, start: Start, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    gateway = await start(world.url, log={"access": True})
    call = post("/api/auth/login", LOGIN).replace(b"\r\n", b"\r\nX-Auth-Exchange: " + b"0" * 32 + b"\r\n", 1)
    assert (await ask(gateway, call)).status == 401
    await gateway.stop()
    assert records(capfdbinary)[0]["reason"] == "unknown"


def test_refusals_that_nobody_takes_are_bounded() -> None:
    verdicts = Verdicts()
    for number in range(2 * MOST):
        verdicts.leave(str(number), "a", "b")
    assert verdicts.take(b"0") is None
    assert verdicts.take(b"2047") == ("a", "b")
    assert verdicts.take(b"2047") is None


async def test_a_broken_probe_is_an_answer(world: World, start: Start) -> None:
    gateway = await start(world.url, ready="strict")
    assert (await admin(gateway, "/readyz")).status == 200
    await world.sql("DROP TABLE gateway_migrations")
    await world.sql("CREATE VIEW gateway_migrations AS SELECT 1 AS one")
    async with Client(gateway.admin_address) as client:
        answer = await client.exchange(get("/readyz"))
    assert answer.status == 503
    assert answer.json()["checks"]["database"].startswith("refuses (schema): column")


DRIVER = """
import logging
from gateway.logs import configure
configure("info")
for name in ("asyncpg.pool", "asyncio"):
    try:
        raise ConnectionRefusedError(111, "Connect call failed")
    except ConnectionRefusedError:
        logging.getLogger(name).exception("Failed to restore the pool connection floor")
"""


REPEATING = """
import logging
from gateway.logs import configure
configure("info")
exporter = logging.getLogger("exporter")
for pause in (1.08, 2.39, 1.16):
    exporter.warning("Transient error %s, retrying in %.2fs.", "refused", pause)
    exporter.error("Failed to export spans batch due to timeout, max retries or shutdown.")
logging.getLogger("other").warning("Transient error %s, retrying in %.2fs.", "refused", 1)
"""


def test_a_library_that_repeats_itself_is_logged_once_a_minute_whatever_stands_in_its_message() -> None:
    done = subprocess.run([sys.executable, "-c", REPEATING], capture_output=True, check=True, timeout=60)
    lines = [json.loads(one) for one in done.stdout.splitlines()]
    assert [(one["logger"], one["level"]) for one in lines] == [
        ("exporter", "warning"),
        ("exporter", "error"),
        ("other", "warning"),
    ]
    assert lines[0]["event"] == "Transient error refused, retrying in 1.08s."


def test_what_the_driver_logs_has_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", DRIVER], capture_output=True, check=True, timeout=60)
    (line,) = (json.loads(one) for one in done.stdout.splitlines())
    assert (line["logger"], line["kind"]) == ("asyncio", "refused")
    assert b"Traceback" not in done.stdout + done.stderr
