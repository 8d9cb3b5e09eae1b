"""limits list, refused, unlock."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from authcore.store.attempt_rows import AttemptLimits, NewAttempt
from tests.support.admin import all_listening
from tests.support.calls import ask, ask_at, get
from tests.support.commands import refused
from tests.support.databases import execute, finish
from tests.support.domain import open_store
from tests.support.peers import PATIENCE
from tests.support.processes import serving

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.support.commands import Run
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

ROUTES = """
limits:
  sending: {key: [organization, route], rate: [10/s, 5000/h]}
  exports: {key: user, rate: 30/h, burst: 5, concurrency: 2, shadow: true}
hosted_limits: [sending]
routes:
  - {name: messages, match: {path: /api/messages}, auth: required, limits: [sending]}
  - {name: exports, match: {path: /api/exports}, auth: required, limits: [exports, network]}
  - {name: rest, match: {path: /*}, auth: required}
"""


def rows(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


def test_without_limits_nothing_is_listed(run: Run) -> None:
    assert rows(run("limits", "list", "--json")) == {}


def test_limits_of_settings_and_route_file_are_listed_with_the_routes_that_have_them(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES, encoding="utf-8")
    found = rows(
        run(
            *("limits", "list", "--json"),
            GATEWAY_ROUTES=str(tmp_path / "routes.yaml"),
            GATEWAY_LIMITS_NETWORK="100/s burst 200",
            GATEWAY_LIMITS_URL="redis://127.0.0.1:1/0",
        )
    )
    assert set(found) == {"network", "sending", "exports"}
    assert found["network"]["routes"] == ["exports", "rest"]
    assert (found["network"]["from"], found["network"]["rates"]) == ("settings", ["100/s burst 200"])
    sending, exports = found["sending"], found["exports"]
    assert (sending["key"], sending["rates"]) == (["organization", "route"], ["10/s", "5000/h"])
    assert (sending["counted_in"], sending["store_away"], sending["is_hosted"]) == ("store", "open", True)
    assert (exports["rates"], exports["concurrency"], exports["is_shadow"]) == (["30/h burst 5"], 2, True)
    assert (exports["from"], exports["routes"], exports["refused"]) == ("route file", ["exports"], None)


def test_without_a_store_each_process_counts(run: Run) -> None:
    found = rows(run("limits", "list", "--json", GATEWAY_LIMITS_USER="20/s, 600/10m"))
    assert (found["user"]["counted_in"], found["user"]["store_away"]) == ("process", None)
    assert (found["user"]["rates"], found["user"]["routes"]) == (["20/s", "600/10m"], None)
    text = run("limits", "list", GATEWAY_LIMITS_USER="20/s, 600/10m").stdout.rstrip("\n").split("\t")
    assert text[:4] == ["user", "user", "20/s, 600/10m", "none"]


async def test_a_running_gateway_says_how_many_a_limit_has_refused(
    run: Run, world: World, start: Start
) -> None:
    gate = await start(world.url, limits={"network": ("2/h",)})
    for _ in range(5):
        await ask(gate, get("/api/contacts"))
    host, port = gate.admin_address
    async with asyncio.timeout(PATIENCE):
        result = await asyncio.to_thread(
            run,
            *("limits", "list", "--json", "--gateway", f"http://{host}:{port}"),
            GATEWAY_LIMITS_NETWORK="2/h",
        )
    network = rows(result)["network"]
    assert (network["admitted"], network["refused"], network["callers"]) == (2, 3, 1)


async def test_of_several_workers_a_limit_has_refused_what_all_of_them_did(
    run: Run, upstream: Upstream
) -> None:
    limit = "2/h"
    async with serving(upstream, "--workers", "2", GATEWAY_LIMITS_NETWORK=limit) as (
        _,
        address,
        (host, port),
    ):
        await all_listening((host, port), 2)
        answers = [(await ask_at(address, get("/api/contacts"))).status for _ in range(6)]
        result = await asyncio.to_thread(
            run,
            *("limits", "list", "--json", "--gateway", f"http://{host}:{port}"),
            GATEWAY_LIMITS_NETWORK=limit,
        )
    network = rows(result)["network"]
    assert network["refused"] == answers.count(429) >= 4
    assert network["admitted"] == 6 - network["refused"]


def test_a_gateway_that_does_not_answer_is_an_error(run: Run) -> None:
    limit = {"GATEWAY_LIMITS_NETWORK": "2/h"}
    result = run("limits", "list", "--gateway", "http://127.0.0.1:1", **limit)
    assert result.exit_code == 1
    assert "does not answer as a gateway's admin listener" in result.stderr
    wrong = "--gateway should be http://host:port of an admin listener"
    refused(run("limits", "list", "--gateway", "127.0.0.1:1", **limit), 2, wrong)


async def _fail(url: str, *emails: str) -> None:
    """Fail to sign in until the next attempt has to wait for long."""
    store = await open_store(url)
    try:
        now = datetime.now(UTC)
        attempt = NewAttempt(
            email="", address="192.0.2.1", network="192.0.2.1", at=now, known_since=now - timedelta(days=1)
        )
        limits = AttemptLimits(hold_seconds=0, free_failures=1, address_free_failures=1, delay_seconds=600)
        for email in emails:
            await store.reserve_attempt(
                replace(attempt, email=email, network=f"192.0.2.{len(email)}"), limits
            )
    finally:
        await store.close()


def waiting(on: Run) -> set[tuple[str, str | None]]:
    result = on("limits", "refused", "--json")
    assert result.exit_code == 0, result.output
    return {(row["kind"], row["name"]) for row in json.loads(result.stdout)}


def test_emails_that_wait_for_a_sign_in_are_listed_and_unlocked(
    on: Run, user: str, migrated_url: str
) -> None:
    assert waiting(on) == set()
    finish(_fail(migrated_url, "Ada@acme.example"))
    found = waiting(on)
    assert found == {
        ("sign-in, e-mail", "ada@acme.example"),
        ("sign-in, e-mail at one address", "ada@acme.example"),
        ("sign-in, unknown", None),  # the address: no session shows it
    }
    (row,) = [
        row
        for row in json.loads(on("limits", "refused", "--json").stdout)
        if row["kind"] == "sign-in, e-mail"
    ]
    assert (row["id"], row["used"]) == (user, 1)
    assert on("limits", "unlock", "--email", "ada@acme.example").stderr == "forgotten\n"
    assert waiting(on) == {("sign-in, unknown", None)}
    assert on("limits", "unlock", "--address", "192.0.2.99").stderr == "nothing had failed\n"
    assert on("limits", "unlock", "--address", f"192.0.2.{len('Ada@acme.example')}").stderr == "forgotten\n"
    assert waiting(on) == set()


def test_an_address_that_a_session_shows_is_named(on: Run, user: str, migrated_url: str) -> None:
    address = f"192.0.2.{len('x@b')}"
    began = "gen_random_uuid(), id, organization_id, now(), now() + interval '1 day'"
    columns = "id, user_id, organization_id, created_at, expires_at, address"
    begin = f"INSERT INTO gateway_sessions ({columns}) SELECT {began}, '{address}' FROM users"  # noqa: S608 - ours
    finish(execute(migrated_url, begin))
    finish(_fail(migrated_url, "x@b"))
    assert ("sign-in, address", address) in waiting(on)
    assert user


def test_a_quota_that_is_used_up_is_listed_until_it_begins_anew(on: Run, organization: str) -> None:
    on("quotas", "set", "--organization", "acme", "--day", "0")
    assert waiting(on) == set(), "quotas are off"
    result = on("limits", "refused", "--json", GATEWAY_QUOTAS="on")
    (row,) = json.loads(result.stdout)
    assert (row["kind"], row["name"], row["id"]) == ("quota, organization a day", "Acme", organization)
    assert row["until"].endswith("T00:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "name --email, --address or both"),
        (("--address", "somewhere"), "Invalid value for '--address': should be an address such as 192.0.2.1"),
    ],
)
def test_what_cannot_be_unlocked_is_refused(on: Run, arguments: tuple[str, ...], error: str) -> None:
    refused(on("limits", "unlock", *arguments), 2, error)
