"""Secrets on their way out: by log, by metric, by error, by repr."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from authcore.accounts.token_pairs import TokenPair
from authcore.credentials import ApiKey, BearerToken, PasswordLogin, RefreshToken
from authcore.store.rows import ApiKeyRow, LoginRow, NewUser
from config.settings import Settings
from gateway.proxy.credentials import read_credential
from gateway.wire.messages import RequestHead
from tests.support.calls import bearer, claims_of, get, post, request
from tests.support.peers import PATIENCE, Client
from tests.support.worlds import PASSWORD, SECRET

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from tests.support.peers import Upstream
    from tests.support.worlds import World

ROOT = Path(__file__).parents[2]
QUERY = "a-value-of-the-query"
ADMIN_TOKEN = "an-admin-token-of-the-tests"


@asynccontextmanager
async def serving(world: World, upstream: Upstream) -> AsyncIterator[tuple[Process, dict[str, Any]]]:
    """The command itself, telling everything it ever tells; and what it said when it began to listen."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "serve"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONASYNCIODEBUG": "1",
            "GATEWAY_LISTEN": "127.0.0.1:0",
            "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
            "GATEWAY_ADMIN_HOSTS": "gateway.test",
            "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
            "GATEWAY_DATABASE_URL": world.url,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_JWT_PREVIOUS_SECRETS": SECRET[::-1],
            "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
            "GATEWAY_LOG_LEVEL": "debug",
            "GATEWAY_PASSWORD_COST": "4",
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.0/8",
        },
    )
    assert process.stdout is not None
    try:
        while True:
            line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
            assert line, "it ended before it listened"
            if b'"listening"' in line:
                break
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_nothing_secret_leaves_by_log_metric_or_error(world: World, upstream: Upstream) -> None:
    token, foreign = world.token(world.agent), world.token(uuid4())
    bent = token[:-6] + "AAAAAA"
    wrong = "wrong-password-wrong"
    async with serving(world, upstream) as (process, listening):
        answers = b""
        handed_out: dict[str, Any] = {}
        async with Client(tuple(listening["public"])) as client:
            login = await client.exchange(
                post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
            )
            content = login.json()["data"]
            assert isinstance(content, dict)
            handed_out = content
            for raw in (
                *(get(f"/api/x?q={QUERY}", bearer(one)) for one in (token, foreign, bent)),
                *(
                    get(f"/api/x?q={QUERY}", f"X-API-Key: {one}")
                    for one in (world.api_key, world.api_key[:-1] + "g")
                ),
                get(f"/ws?token={token}"),
                get(f"/health?token={token}&q={QUERY}", f"Cookie: whm_access={token}"),
                get(f"/a//b?q={QUERY}"),
                get("/api/x", bearer(token), bearer(foreign)),
                get("/api/x", f"Authorization: Basic {token}"),
                post("/api/auth/login", {"email": "agent@example.com", "password": wrong}),
                post("/api/auth/login", {"email": [wrong], "password": {"a": wrong}}),
                post("/api/auth/refresh", {"refresh_token": bent}),
                post(
                    "/api/auth/refresh",
                    {"refresh_token": handed_out["refresh_token"]},
                    f"Cookie: whm_access={token}; {'c' * 9000}",
                ),
                post("/api/auth/logout", {"refresh_token": handed_out["refresh_token"]}),
                request("POST", "/api/auth/login", "Content-Encoding: gzip", body=wrong.encode()),
                get("/health", f"X-Forwarded-For: {world.api_key}"),
                get("/health", f"Forwarded: proto={world.api_key};host={world.api_key}"),
                get("/health", f"X-Forwarded-Host: {world.api_key}%"),
                get("/health", f"X-Request-ID: {world.api_key}"),
                request(world.api_key, "/health"),
            ):
                answer = await client.exchange(raw)
                if answer.status != 200:
                    answers += answer.start + answer.body + repr(answer.lines).encode()
        async with Client(tuple(listening["public"])) as client:
            broken = await client.exchange(get("/api/x", f"X-A: {token}\x01", bearer(token)))
            answers += broken.start + broken.body
        async with Client(tuple(listening["admin"])) as client:
            metrics = (await client.exchange(get("/metrics", bearer(ADMIN_TOKEN)))).body
            answers += (await client.exchange(get("/metrics", bearer(ADMIN_TOKEN[:-1])))).body
            ready = (await client.exchange(get("/readyz"))).body
            foreign_host = f"GET /readyz HTTP/1.1\r\nHost: {world.api_key}\r\n\r\n"
            answers += (await client.exchange(foreign_host.encode())).body
        process.terminate()
        assert process.stdout is not None
        log = await asyncio.wait_for(process.stdout.read(), 2 * PATIENCE)
        assert await process.wait() == 0
    assert log.count(b'"request"') > 10
    for event in (b'"forwarded_unreadable"', b'"admin_refused"'):
        assert event in log
    assert b"gateway_admin_refusals_total" in metrics
    secrets = [
        ADMIN_TOKEN,
        ADMIN_TOKEN[:-1],
        SECRET,
        SECRET[::-1],
        PASSWORD,
        wrong,
        world.api_key,
        QUERY,
        handed_out["access_token"],
    ]
    secrets += [part for one in (token, foreign, handed_out["refresh_token"]) for part in one.split(".")[1:]]
    secrets += [claims_of(handed_out["refresh_token"])["jti"], "$2a$", "whm_access="]
    for what, output in {"log": log, "metrics": metrics, "ready": ready, "answers": answers}.items():
        for secret in secrets:
            assert secret.encode() not in output, f"{secret} in the {what}"
        assert b"Traceback" not in output, what


async def test_every_record_is_one_line_of_json(world: World, upstream: Upstream) -> None:
    async with serving(world, upstream) as (process, listening):
        async with Client(tuple(listening["public"])) as client:
            await client.exchange(get("/health%0a%22x".replace("%0a", "")))
            await client.exchange(get("/api/%F0%9F%98%80%22%7B", bearer(world.token(world.agent))))
        process.terminate()
        assert process.stdout is not None
        log = await asyncio.wait_for(process.stdout.read(), 2 * PATIENCE)
    records = [json.loads(line) for line in log.splitlines()]
    requests = [record for record in records if record["event"] == "request"]
    assert [record["path"] for record in requests] == ['/health"x', '/api/\U0001f600"{']
    for record in requests:
        assert record["request_id"]
        assert {"time", "level", "client", "method", "status", "duration_ms", "route"} <= set(record)
    assert requests[1]["user_id"] == str(world.agent)
    assert "user_id" not in requests[0]


def test_no_secret_is_in_a_repr() -> None:
    secret = "s3cret-" * 6
    settings = Settings.model_validate(
        {
            "jwt": {"secret": secret, "previous_secrets": [secret]},
            "database": {"url": f"postgresql://u:{secret}@h/d"},
        }
    )
    head = RequestHead(fields=[(b"Authorization", b"Bearer " + secret.encode())])
    head.index()
    for one in (
        *(settings, settings.jwt, settings.database, settings.model_dump(mode="json")),
        *(
            BearerToken(secret.encode()),
            ApiKey(secret.encode()),
            RefreshToken(secret),
            PasswordLogin("e", secret),
        ),
        *(TokenPair(secret, secret, 1, 1, uuid4()), read_credential(head)),
        LoginRow(user_id=uuid4(), organization_id=uuid4(), password_hash=secret, is_active=True),
        ApiKeyRow(uuid4(), uuid4(), uuid4(), secret, is_active=True, expires_at=None),
        NewUser(email="e", password_hash=secret, full_name="f", organization_id=uuid4(), role_id=None),
    ):
        assert secret not in repr(one)
        assert secret not in str(one)
