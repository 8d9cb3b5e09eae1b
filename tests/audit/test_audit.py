"""The audit finds each weakness in a server that has it, and none in the gateway."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft4Validator

from config.published_secrets import PUBLISHED
from gateway.audit.asking import Asker, Url
from gateway.audit.check import BudgetSpent, CheckOutcome, NotApplicable, Result, Unreachable
from gateway.audit.checks import CHECKS
from gateway.audit.report import FORMS
from gateway.audit.running import run
from gateway.audit.target import Target
from gateway.cli import main
from tests.audit.weak import KNOWN, TWINS, sound, weak
from tests.support.certificates import self_signed
from tests.support.ports import free_port

if TYPE_CHECKING:
    from gateway.audit.check import Check
    from tests.audit.weak import Asked
    from tests.support.worlds import Start, World


ROUTES = """
routes:
  - {name: api, auth: required, match: {prefix: [/api, /ws]}}
  - {name: page, auth: public, match: {path: /*}}
"""
WEAK = [(check, place) for check in CHECKS for place in range(len(TWINS.get(check.id, [0])))]


def target(port: int, *, secure: bool = False, **more: Any) -> Target:
    return Target(
        Url(secure, "127.0.0.1", port), Asker(400, 1000, 10), known_email=KNOWN, sign_ins=True, **more
    )


async def results(of: Target) -> dict[str, Result]:
    return {result.check.id: result async for result in run(of, CHECKS)}


# -- what is weak is found -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("check", "place"), WEAK, ids=lambda one: getattr(one, "id", str(one)))
async def test_each_finding_fires_where_its_weakness_is(check: Check, place: int, tmp_path: Path) -> None:
    assert check.id in TWINS, (
        f"{check.id} has no weak twin in tests/audit/weak.py: a check that never fired proves nothing"
    )
    twin = TWINS[check.id][place]
    slow = 0.2 if check.id == "user-enumeration" and twin is sound else 0.0
    context = serving_tls(tmp_path) if check.id == "tls" else None
    behind = weak(twin) if check.id == "upstream-direct" else nullcontext()
    async with weak(sound if check.id == "upstream-direct" else twin, context, slow) as port, behind as other:
        upstream = None if other is None else Url(secure=False, host="127.0.0.1", port=other)
        found = await check.run(target(port, secure=context is not None, upstream=upstream))
    assert found
    assert all(len(finding) > 20 for finding in found)


async def test_a_sound_server_is_found_nothing_in_by_the_check_of_each_other_weakness() -> None:
    """So that a twin is found by its own weakness, and not by something that all of them have."""
    async with weak(sound) as port:
        seen = await results(target(port, upstream=Url(secure=False, host="127.0.0.1", port=free_port())))
    weaknesses = {one for one, result in seen.items() if result.outcome is CheckOutcome.FAILS}
    assert weaknesses == {"ambiguous-framing", "head-limits", "sign-in-throttled"}, (
        "the plain server has these, and no more"
    )


def serving_tls(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(folder, address="127.0.0.1"))
    return context


# -- the gateway holds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["lists", "routes"])
async def test_everything_holds_at_the_gateway(way: str, world: World, start: Start, tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES)
    gateway = await start(world.url, routes=routes if way == "routes" else None, cookies=True)
    of = target(gateway.address[1], upstream=Url(secure=False, host="127.0.0.1", port=free_port()))
    of.known_email = "agent@example.com"
    seen = await results(of)
    assert {one: result for one, result in seen.items() if result.outcome is CheckOutcome.FAILS} == {}
    skipped = {one: result.note for one, result in seen.items() if result.outcome is not CheckOutcome.HOLDS}
    assert skipped == {"tls": "the target is asked by http:// on this machine"}
    assert of.asker.sent < 200


async def test_a_published_secret_is_found_at_a_gateway_that_knows_no_made_up_user(
    world: World, start: Start
) -> None:
    """Its tokens open nothing, for they name nobody; the secret would sign one for anybody all the same."""
    gateway = await start(world.url, jwt={"secret": PUBLISHED[0]})
    seen = await results(target(gateway.address[1]))
    (finding,) = seen["token-guessed-secret"].findings
    assert PUBLISHED[0] in finding


# -- bounds ----------------------------------------------------------------------------------------------------


async def test_no_request_is_made_beyond_the_budget() -> None:
    asked: list[Asked] = []

    def counting(one: Asked) -> bytes:
        asked.append(one)
        return sound(one)

    async with weak(counting) as port:
        of = target(port)
        of.asker.most = 7
        seen = await results(of)
    assert len(asked) == of.asker.sent == 7
    assert {result.outcome for result in seen.values()} >= {CheckOutcome.HOLDS, CheckOutcome.NOT_RUN}
    with pytest.raises(BudgetSpent, match="7 requests have been made; allow more with --requests"):
        await of.ask("GET", "/")


async def test_requests_keep_their_distance() -> None:
    """By the turns that are given out, not by a clock: the tenth turn is at least nine distances after the first."""
    async with weak(sound) as port:
        of = target(port)
        of.asker.rate = 100
        await of.ask("GET", "/health")
        first = of.asker.next_turn
        for _ in range(9):
            await of.ask("GET", "/health")
        assert of.asker.next_turn - first >= 9 / 100 - 1e-6


async def test_what_cannot_be_reached_is_not_run_and_what_says_nothing_has_no_status() -> None:
    seen = await results(target(free_port()))
    assert {result.outcome for result in seen.values()} <= {CheckOutcome.NOT_RUN, CheckOutcome.SKIPPED}
    with pytest.raises(Unreachable):
        await target(free_port()).ask("GET", "/")
    for nonsense in (b"", b"nonsense\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"\x00" * 100_000):
        async with weak(lambda _, said=nonsense: said) as port:  # type: ignore[misc]
            assert (await target(port).ask("GET", "/")).status == 0
            seen = await results(target(port))
        assert {result.outcome for result in seen.values()} == {CheckOutcome.NOT_RUN}, "silence is no proof"


async def test_a_path_that_is_open_says_nothing_of_what_opens_it() -> None:
    async with weak(lambda _: b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n") as port:
        for check in CHECKS:
            if check.id in {
                "anonymous-refused",
                "identity-alone",
                "token-unsigned",
                "path-forms",
                "identity-reflected",
            }:
                with pytest.raises(NotApplicable, match=r"--protected|--public"):
                    await check.run(target(port))


# -- reports ---------------------------------------------------------------------------------------------------


def violations(report: dict[str, Any]) -> list[str]:
    """Return what the official schema refuses in a SARIF report."""
    schema = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
    return [error.message for error in Draft4Validator(schema).iter_errors(report)]


async def test_a_report_says_the_same_in_every_form() -> None:
    async with weak(TWINS["admin-pages"][0]) as port:
        of = target(port)
        seen = list((await results(of)).values())
    text, document, log = (FORMS[form](of, seen) for form in ("text", "json", "sarif"))
    assert "fails    admin-pages" in text
    assert "- GET /metrics: 200, open to everybody" in text
    assert "do: Serve them on another listener" in text
    loaded = json.loads(document)
    assert [one["id"] for one in loaded["checks"]] == [check.id for check in CHECKS]
    (pages,) = (one for one in loaded["checks"] if one["id"] == "admin-pages")
    assert pages["findings"] == ["GET /metrics: 200, open to everybody"]
    sarif = json.loads(log)
    assert (sarif["version"], sarif["$schema"].endswith("sarif-2.1.0.json")) == ("2.1.0", True)
    assert not violations(sarif)
    (only,) = sarif["runs"]
    rules = only["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [check.id for check in CHECKS]
    for result in only["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        # SARIF 2.1.0, 3.27.10: a result that is no failure has no level.
        assert (result["kind"] == "fail") == (result["level"] != "none")
        assert result["kind"] in {"pass", "fail", "notApplicable", "open"}
    assert [one["kind"] for one in only["results"] if one["ruleId"] == "admin-pages"] == ["fail"]


def test_sarif_of_every_outcome_is_valid_by_the_official_schema() -> None:
    outcomes = {
        CheckOutcome.HOLDS: ((), ""),
        CheckOutcome.FAILS: (("GET /: 200", 'bytes \x9b and "quotes" \u202e'), ""),
        CheckOutcome.SKIPPED: ((), "no upstream is named"),
        CheckOutcome.NOT_RUN: ((), "the budget is spent"),
    }
    assert set(outcomes) == set(CheckOutcome)
    for outcome, (findings, note) in outcomes.items():
        seen = [Result(check, outcome, findings, note) for check in CHECKS]
        assert not violations(json.loads(FORMS["sarif"](target(1), seen)))
    assert violations({"version": "2.1.0"}) == ["'runs' is a required property"]


def test_the_page_lists_every_check() -> None:
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(check.id, check.title, check.proves) for check in CHECKS]


def test_every_check_says_what_it_proves_and_what_to_do() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS) == len(TWINS)
    for check in CHECKS:
        assert re.fullmatch(r"[a-z][a-z-]+", check.id)
        assert check.proves.endswith(".")
        assert check.remedy.endswith(".")
        assert check.run.__doc__


# -- the command -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1"], "Missing option '--i-own'"),
        (["http://127.0.0.1:1", "--i-own", "http://127.0.0.1:2"], "is attacked only if it is named twice"),
        (["http://127.0.0.1:1", "--i-own", "https://127.0.0.1:1"], "is attacked only if it is named twice"),
        (
            ["http://a.test:1", "--i-own", "http://a.test:1", "--upstream", "http://b.test"],
            "add --i-own http://b.test",
        ),
        (["ftp://a.test", "--i-own", "ftp://a.test"], "should be http://host:port or https://host"),
        (["http://a.test/x", "--i-own", "http://a.test/x"], "should have no path and no query"),
        (["http://u@a.test", "--i-own", "http://u@a.test"], "should be http://host:port or https://host"),
        (["http://a.test", "--i-own", "http://a.test", "--public", "health"], "should be a path"),
        (["http://a.test", "--i-own", "http://a.test", "--public", "/a\r\nX: y"], "should be a path"),
    ],
)
def test_what_is_not_named_twice_is_not_asked(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["audit", *arguments])
    assert done.exit_code == 2
    assert said in re.sub(r"\s+", " ", done.stderr)


@pytest.mark.parametrize(("weakness", "code"), [("admin-pages", 1), (None, 3)])
async def test_the_exit_code_says_how_it_ended(weakness: str | None, code: int) -> None:
    import asyncio  # noqa: PLC0415 - for this alone

    async with weak(TWINS["admin-pages"][0]) as port:
        url = f"http://127.0.0.1:{port if weakness else free_port()}"
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "gateway",
                "audit",
                url,
                "--i-own",
                url,
                "--rate",
                "1000",
                "--format",
                "json",
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
    assert process.returncode == code, err
    assert json.loads(out)["target"] == url
    assert b"admin-pages" in err
