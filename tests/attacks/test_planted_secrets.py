"""A secret planted in every setting that holds one, and in every part of a request, is in nothing that is put out."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from config.describing import described
from tests.observe.collecting import listening
from tests.support.calls import bearer, get, post, request
from tests.support.peers import Client
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from tests.support.peers import Message, Upstream
    from tests.support.worlds import World

ROOT = Path(__file__).parents[2]
STARTING = 60
OTHER = "OTEL_EXPORTER_OTLP_HEADERS"
"""A variable that is no setting of ours, and that the gateway's collector gets a secret by."""
SECRETS = [one.name for one in described() if one.is_secret]


def planted(name: str, number: int = 0) -> str:
    """A secret that is of one setting alone, and long enough for all of them."""
    return f"planted-{name.lower().replace('_', '-')}-{number}-{'k3' * 8}"


def settings(url: str, ways: str) -> dict[str, str]:
    """Every setting that holds a secret, with one; databases take theirs by URL or by setting."""
    parts = urlsplit(url)

    def database(name: str) -> str:
        user, _, place = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user.partition(':')[0]}:{planted(name)}@{place}").geturl()

    values = {
        "GATEWAY_ADMIN_TOKEN": planted("GATEWAY_ADMIN_TOKEN"),
        "GATEWAY_DATABASE_LISTEN_URL": database("GATEWAY_DATABASE_LISTEN_URL"),
        "GATEWAY_JWT_SECRET": planted("GATEWAY_JWT_SECRET"),
        "GATEWAY_JWT_PREVIOUS_SECRETS": ",".join(
            planted("GATEWAY_JWT_PREVIOUS_SECRETS", number) for number in (0, 1)
        ),
        "GATEWAY_KEYS_SECRET": planted("GATEWAY_KEYS_SECRET"),
        "GATEWAY_PROVIDER_SECRET_KEY": planted("GATEWAY_PROVIDER_SECRET_KEY"),
        "GATEWAY_SIGNED_KEY": planted("GATEWAY_SIGNED_KEY"),
        # Both lead to nobody, so that their failures are written.
        "GATEWAY_LIMITS_URL": f"redis://user:{planted('GATEWAY_LIMITS_URL')}@127.0.0.1:1/0",
        "GATEWAY_WHATOMATE_REDIS_URL": f"redis://user:{planted('GATEWAY_WHATOMATE_REDIS_URL')}@127.0.0.1:1/0",
        OTHER: f"authorization=Bearer%20{planted(OTHER)}",
    }
    for name in ("GATEWAY_DATABASE", "GATEWAY_MIGRATE_DATABASE"):
        if ways == "by URL":
            values[f"{name}_URL"] = database(f"{name}_URL")
        else:
            values |= {f"{name}_URL": url, f"{name}_PASSWORD": planted(f"{name}_PASSWORD")}
    return values


def test_each_setting_that_holds_a_secret_is_planted() -> None:
    url = "postgresql://u@h/d"
    assert {*settings(url, "by URL"), *settings(url, "by setting")} - {OTHER} == set(SECRETS)


def environment(upstream: Upstream, collector: str, secrets: dict[str, str]) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_HOSTS": "gateway.test",
        "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
        "GATEWAY_LOG_LEVEL": "debug",
        "GATEWAY_PASSWORD_COST": "4",
        "GATEWAY_SSO": "hosted",
        "GATEWAY_COOKIES": "on",
        "GATEWAY_SIGNED_IDENTITY": "HS256",
        "GATEWAY_LIMITS_USER": "1000/m",
        "GATEWAY_TRACE_ENDPOINT": collector,
        "GATEWAY_METRICS_ENDPOINT": collector,
        "GATEWAY_METRICS_INTERVAL_SECONDS": "3600",
        **secrets,
    }


async def command(variables: dict[str, str], *arguments: str) -> tuple[int, bytes]:
    """Run a command; return its exit code and all that it puts out."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd="/",
        env=variables,
    )
    try:
        async with asyncio.timeout(STARTING):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output


@asynccontextmanager
async def serving(variables: dict[str, str], log: Path) -> AsyncIterator[tuple[Process, dict[str, Any]]]:
    """Run a gateway that writes everything into `log`; yields it, and what it wrote when it listened."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve"),
            stdout=output,
            stderr=output,
            cwd="/",
            env=variables,
        )
    try:
        async with asyncio.timeout(STARTING):
            while True:
                lines = [one for one in log.read_bytes().splitlines() if b'"listening"' in one]
                if lines:
                    break
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield process, json.loads(lines[0])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


OF_CLIENTS = (
    "password",
    "query",
    "userinfo",
    "basic",
    "cookie",
    "api-key",
    "refresh",
    "referer",
    "body",
    "token",
)


def of_client(part: str) -> str:
    return f"planted-by-a-client-{part}-{'z9' * 6}"


def requests(access: str, api_key: str) -> list[bytes]:
    """Requests with a secret in each part that may hold one; most are refused."""
    query = f"q={of_client('query')}&token={of_client('token')}&password={of_client('password')}"
    basic = base64.b64encode(f"user:{of_client('basic')}".encode()).decode()
    return [
        get(f"/api/x?{query}", bearer(access), f"Referer: http://x/?t={of_client('referer')}"),
        get(f"/api/x?{query}", bearer(access[:-6] + "AAAAAA")),
        get(f"/api/x?{query}", bearer(of_client("token"))),
        get("/api/x", f"X-API-Key: {api_key}"),
        get("/api/x", f"X-API-Key: {of_client('api-key')}"),
        get("/api/x", f"Authorization: Basic {basic}", f"Proxy-Authorization: Basic {basic}"),
        get("/api/x", f"Cookie: whm_access={of_client('cookie')}; other={of_client('cookie')}"),
        get(f"http://user:{of_client('userinfo')}@e.example/api/x?{query}", bearer(access)),
        get(f"/a//b?{query}"),
        get(f"/nowhere/{'x' * 9000}?{query}"),
        get(f"/ws?{query}", bearer(access)),
        post("/api/auth/login", {"email": "agent@example.com", "password": of_client("password")}),
        post("/api/auth/login", {"email": [of_client("body")], "password": {"a": of_client("body")}}),
        post("/api/auth/refresh", {"refresh_token": of_client("refresh")}),
        post("/api/auth/register", {"email": "x", "password": of_client("password"), "name": "n"}),
        request("POST", "/api/auth/login", "Content-Encoding: gzip", body=of_client("body").encode()),
        request("POST", "/health", bearer(access), body=of_client("body").encode()),
        get(f"/api/auth/sso/nowhere?code={of_client('query')}&state={of_client('token')}"),
    ]


async def put_out(
    process: Process, listening: dict[str, Any], world: World, upstream: Upstream
) -> tuple[dict[str, bytes], list[str]]:
    """Send the requests, and read every page; return what was put out, and the secrets that were handed out."""
    public, admin = tuple(listening["public"]), tuple(listening["admin"])
    token = planted("GATEWAY_ADMIN_TOKEN")

    async def answered(raw: bytes) -> Message:
        async with Client(public) as client:
            return await client.exchange(raw)

    login = await answered(post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}))
    assert login.status == 200, login.body
    handed_out = login.json()["data"]
    access, refresh = handed_out["access_token"], handed_out["refresh_token"]
    errors = b""

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    for script in (broken, None):  # failed by the upstream, and answered
        upstream.script = script
        for raw in requests(access, world.api_key):
            answer = await answered(raw)
            if answer.status >= 400:
                errors += answer.start + answer.body + repr(answer.lines).encode()
    assert (await answered(post("/api/auth/logout", {"refresh_token": refresh}))).status == 200
    process.send_signal(signal.SIGUSR1)
    pages = {}
    for name, lines in (
        ("/metrics", ()),
        ("/status.json", ()),
        ("/status", ("Accept: text/html",)),
        ("/readyz", ()),
        ("/explain", ()),
    ):
        async with Client(admin) as client:
            pages[name] = (await client.exchange(get(name, bearer(token), *lines))).body
    async with Client(admin) as client:
        pages["refused by the admin listener"] = (
            await client.exchange(get("/metrics", bearer(of_client("token"))))
        ).body
    return {**pages, "errors": errors}, [access, refresh, world.api_key, PASSWORD]


def variants(secret: str) -> set[bytes]:
    """A secret as it is and in base64, at each of the three places where it may begin in that."""
    raw = secret.encode()
    return {raw, *(base64.b64encode(b" " * shift + raw)[4:-4] for shift in range(3))}


@pytest.mark.parametrize("ways", ["by URL", "by setting"])
async def test_no_planted_secret_is_put_out(
    ways: str, world: World, upstream: Upstream, tmp_path: Path
) -> None:
    with listening() as collector:
        variables = environment(upstream, collector.url, settings(world.url, ways))
        async with serving(variables, tmp_path / "log") as (process, told):
            found, handed_out = await put_out(process, told, world, upstream)
            process.terminate()
            async with asyncio.timeout(2 * STARTING):
                assert await process.wait() == 0
        found["traces and metrics"] = b"".join(collector.bodies)
        assert collector.paths == {"/v1/traces", "/v1/metrics"}
    found["log"] = (tmp_path / "log").read_bytes()
    code, found["check-config"] = await command(variables, "check-config")
    assert code == 0, found["check-config"]
    found["check-config --connect"] = (await command(variables, "check-config", "--connect"))[1]
    found["settings"] = (await command(variables, "settings"))[1]
    _is_whole(found)
    secrets = [planted(name, number) for name in (*SECRETS, OTHER) for number in (0, 1)]
    secrets += [of_client(part) for part in OF_CLIENTS]
    secrets += [part for one in handed_out for part in ([one, *one.split(".")[1:]] if "." in one else [one])]
    for place, output in found.items():
        for secret in secrets:
            for one in variants(secret):
                assert one not in output, (place, secret)


def _is_whole(found: dict[str, bytes]) -> None:
    """Assert that the searched pages are full: an empty page would hold no secret either."""
    assert found["log"].count(b'"request"') > 30
    for event in (b'"state"', b'"whatomate_redis_away"', b'"blame":"upstream"'):
        assert event in found["log"], event
    assert b"gateway_requests_total" in found["/metrics"]
    assert b"What is not in order" in found["/status"]
    assert b'"checks"' in found["/readyz"]
    assert b"GATEWAY_JWT_SECRET" in found["check-config"]
    assert b"http.server.request.duration" in found["traces and metrics"]
    assert found["errors"].count(b"HTTP/1.1 401") > 5


def test_a_secret_is_found_in_base64_wherever_it_begins() -> None:
    secret = planted("GATEWAY_SIGNED_KEY")
    for shift in range(7):
        output = base64.b64encode(b"u" * shift + secret.encode() + b" and more")
        assert any(one in output for one in variants(secret)), shift
    assert not any(one in b"nothing of it" for one in variants(secret))


BAD = {
    "GATEWAY_ADMIN_TOKEN": "{} with spaces",
    "GATEWAY_DATABASE_URL": "postgresq://user:{}@h/d",
    "GATEWAY_DATABASE_LISTEN_URL": "//user:{}@h/d",
    "GATEWAY_ISSUER_JWKS_URL": "http://user:{}@issuer.example/keys",
    "GATEWAY_LIMITS_URL": "redi://user:{}@h",
    "GATEWAY_METRICS_ENDPOINT": "http://user:{}@collector:4318",
    "GATEWAY_TRACE_ENDPOINT": "http://user:{}@collector:4318",
    "GATEWAY_UPSTREAM_URL": "http://user:{}@h:80",
    "GATEWAY_WHATOMATE_REDIS_URL": "http://user:{}@h",
}


async def test_a_setting_that_is_refused_is_named_without_its_secret() -> None:
    variables = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "GATEWAY_JWT_SECRET": "short-planted",
        **{name: value.format(planted(name)) for name, value in BAD.items()},
    }
    code, output = await command(variables, "check-config")
    assert code == 2
    for name in (*BAD, "GATEWAY_JWT_SECRET"):
        assert name.encode() in output, (name, output)
        assert planted(name).encode() not in output, name
    assert b"short-planted" not in output
