"""``check-config --connect`` connects to everything that the settings name, and each finding says what to do."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from authcore.store.migrate import migrate
from gateway.commands.connecting import database_findings
from gateway.connecting.everything import connection_findings
from tests.config.loading import load
from tests.support.certificates import Authority
from tests.support.commands import PREVIOUS, SECRET
from tests.support.databases import execute
from tests.support.issuers import AUDIENCE, ISSUER, by_hmac
from tests.support.name_server import name_server
from tests.support.openid import LOOPBACK, enable
from tests.support.ports import free_port
from tests.support.processes import listening
from tests.support.redises import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from click.testing import Result

    from tests.support.commands import Run
    from tests.support.issuers import Provider
    from tests.support.openid import OpenId
    from tests.support.worlds import World

    Check = Callable[..., Awaitable[Result]]

PATIENCE = 30


@pytest.fixture
def check(run: Run, migrated_url: str, service: str) -> Check:
    """Run ``check-config`` where everything is as it should be, but for the environment given."""

    async def invoke(*arguments: str, typed: str = "", **changes: str) -> Result:
        environment = {
            "GATEWAY_DATABASE_URL": migrated_url,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": f"http://{service}",
            **changes,
        }
        async with asyncio.timeout(PATIENCE):
            return await asyncio.to_thread(run, "check-config", *arguments, typed=typed, **environment)

    return invoke


def findings(result: Result) -> list[str]:
    """The findings of a check that found some; each says what to do."""
    assert "Traceback" not in result.output
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    found = [
        line.removeprefix("Error: ") for line in result.stderr.splitlines() if line.startswith("Error: ")
    ]
    assert all("; " in line or "? " in line for line in found), found
    return found


def free() -> str:
    return f"127.0.0.1:{free_port()}"


# -- upstreams -------------------------------------------------------------------------------------------------------


async def test_what_answers_is_no_finding(check: Check, tmp_path: Path) -> None:
    with listening(str(tmp_path / "w.sock")):
        result = await check("--connect", GATEWAY_UPSTREAM_URL=f"unix:{tmp_path}/w.sock")
    assert (result.exit_code, result.stderr) == (0, "")
    result = await check("--connect")
    assert (result.exit_code, result.stderr) == (0, "")


async def test_an_upstream_that_nobody_listens_at_is_named(check: Check, tmp_path: Path) -> None:
    address = free()
    (found,) = findings(await check("--connect", GATEWAY_UPSTREAM_URL=f"http://{address}"))
    assert found.startswith(f"GATEWAY_UPSTREAM_URL: {address}: ")
    assert found.endswith("; nothing listens there: check the port, and that the service runs")
    (found,) = findings(await check("--connect", GATEWAY_UPSTREAM_URL=f"unix:{tmp_path}/gone.sock"))
    assert found.startswith(f"GATEWAY_UPSTREAM_URL: unix:{tmp_path}/gone.sock: No such file or directory; ")


async def test_without_connect_nobody_is_asked(check: Check) -> None:
    result = await check(
        GATEWAY_UPSTREAM_URL=f"http://{free()}", GATEWAY_DATABASE_URL="postgresql://127.0.0.1:1/x"
    )
    assert result.exit_code == 0


async def test_each_endpoint_of_each_upstream_is_tried_and_all_findings_are_told(
    check: Check, service: str, tmp_path: Path
) -> None:
    gone, other = free(), free()
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        f"upstreams:\n  far: {{url: ['http://{service}', 'http://{gone}']}}\n"
        f"  near: {{endpoints: [{{url: 'http://{other}'}}]}}\n"
        "routes:\n  - {name: a, match: {path: /a}, auth: public, upstream: far}\n"
        "  - {name: b, match: {path: /b}, auth: public, upstream: near}\n"
        "  - {name: c, match: {path: /*}, auth: public}\n"
    )
    found = findings(
        await check(
            "--connect", GATEWAY_ROUTES=str(routes), GATEWAY_DATABASE_URL="postgresql://127.0.0.1:1/x"
        )
    )
    assert [line.partition(": ")[0] for line in found] == [
        "GATEWAY_DATABASE_URL",
        "upstream far",
        "upstream near",
    ]
    assert gone in found[1]
    assert other in found[2]


async def test_a_name_is_looked_up_as_a_gateway_does(check: Check, service: str) -> None:
    port = service.rpartition(":")[2]
    async with name_server() as names:
        names.zone |= {"good.test": ["127.0.0.1"], "here.test": ["127.0.0.1"]}
        names.silent.add("lost.test")
        resolver = {"GATEWAY_RESOLVER_SERVERS": names.address, "GATEWAY_RESOLVER_TIMEOUT_SECONDS": "0.05"}

        async def told(name: str, **more: str) -> Result:
            return await check(
                "--connect", GATEWAY_UPSTREAM_URL=f"http://{name}.test:{port}", **resolver, **more
            )

        assert (await told("good")).exit_code == 0
        (found,) = findings(await told("gone"))
        assert found.startswith("GATEWAY_UPSTREAM_URL: the name gone.test has no address; ")
        (found,) = findings(await told("lost"))
        assert found.startswith("GATEWAY_UPSTREAM_URL: no name server answered for lost.test in time; ")
        for setting in ("GATEWAY_LISTEN", "GATEWAY_ADMIN_LISTEN"):
            (found,) = findings(await told("here", **{setting: f"127.0.0.1:{port}"}))
            assert found.startswith(f"GATEWAY_UPSTREAM_URL: http://127.0.0.1:{port} is the gateway itself")
            assert f"({setting})" in found


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def secured() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Start a TLS server with a certificate for a name; return its port."""
    servers: list[asyncio.Server] = []

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read()
        writer.close()

    async def begin(context: Any) -> str:
        server = await asyncio.start_server(wait, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return str(server.sockets[0].getsockname()[1])

    try:
        yield begin
    finally:
        for server in servers:
            server.close()


async def test_a_certificate_is_verified_and_each_fault_is_named_with_what_to_do(
    check: Check, secured: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    ours = {"GATEWAY_UPSTREAM_TLS_CA_FILE": str(authority.file)}
    port = await secured(authority.server("127.0.0.1"))
    url = {"GATEWAY_UPSTREAM_URL": f"https://127.0.0.1:{port}"}
    assert (await check("--connect", **url, **ours)).exit_code == 0
    (found,) = findings(await check("--connect", **url, GATEWAY_UPSTREAM_TLS_CA_FILE=str(stranger.file)))
    assert "its certificate is of an authority that is not accepted" in found
    assert "GATEWAY_UPSTREAM_TLS_CA_FILE" in found
    (found,) = findings(
        await check("--connect", **url, **ours, GATEWAY_UPSTREAM_TLS_SERVER_NAME="other.test")
    )
    assert "its certificate is for another name" in found
    assert "GATEWAY_UPSTREAM_TLS_SERVER_NAME" in found
    port = await secured(authority.server("127.0.0.1", clients=True))
    (found,) = findings(await check("--connect", GATEWAY_UPSTREAM_URL=f"https://127.0.0.1:{port}", **ours))
    assert "it may want one: give a client certificate" in found
    assert "GATEWAY_UPSTREAM_TLS_CERT_FILE" in found


async def test_a_server_without_tls_is_named(check: Check, service: str) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        (found,) = findings(await check("--connect", GATEWAY_UPSTREAM_URL=f"https://127.0.0.1:{port}"))
    assert "it does not speak TLS on this port" in found
    assert found.endswith("write http://, or the port at which it speaks TLS")
    silent = await check(
        "--connect", GATEWAY_UPSTREAM_URL=f"https://{service}", GATEWAY_UPSTREAM_CONNECT_TIMEOUT_SECONDS="0.2"
    )
    (found,) = findings(silent)
    assert "no answer, or no TLS, within 0.2 s" in found


# -- other services --------------------------------------------------------------------------------------------------


async def test_the_key_set_of_an_issuer_is_fetched_and_read(check: Check, provider: Provider) -> None:
    issuer = {
        "GATEWAY_ISSUER_URL": ISSUER,
        "GATEWAY_ISSUER_JWKS_URL": provider.url,
        "GATEWAY_ISSUER_AUDIENCE": AUDIENCE,
        "GATEWAY_REGISTRATION": "invite",
    }
    assert (await check("--connect", **issuer)).exit_code == 0
    assert provider.asked == 1
    answers = {
        "the key set is no JSON": web.Response(
            text="<!doctype html><title>Sign in</title>", content_type="text/html"
        ),
        "the key set's server answered 404": web.Response(status=404),
        "the key set has no list of keys": web.json_response({"issuer": ISSUER}),
        "the key set has no key that is for signatures": web.json_response({"keys": []}),
    }
    for words, answer in answers.items():
        provider.answer = lambda answer=answer: answer  # type: ignore[misc]
        (found,) = findings(await check("--connect", **issuer))
        assert found.startswith(f"GATEWAY_ISSUER_JWKS_URL: {words}")
        assert "jwks_uri" in found
    (found,) = findings(
        await check("--connect", **{**issuer, "GATEWAY_ISSUER_JWKS_URL": f"http://{free()}/jwks"})
    )
    assert "the key set cannot be had: 127.0.0.1 cannot be connected to" in found


async def test_the_document_and_key_set_of_each_enabled_provider_are_fetched(
    check: Check, idp: OpenId, world: World
) -> None:
    sso = {
        "GATEWAY_SSO": "hosted",
        "GATEWAY_REGISTRATION": "invite",
        "GATEWAY_PROVIDER_GOOGLE_URL": idp.url,
        "GATEWAY_PROVIDER_PRIVATE_NETWORKS": LOOPBACK,
        "GATEWAY_DATABASE_URL": world.url,
    }
    (found,) = findings(await check("--connect", **sso))
    assert found.startswith("GATEWAY_SSO: hosted, and no provider is enabled; ")
    await enable(world, "google")
    assert (await check("--connect", **sso)).exit_code == 0
    assert [path for path in idp.paths() if path != "/jwks"] == ["/.well-known/openid-configuration"]
    assert "/jwks" in idp.paths()
    idp.document["issuer"] = "https://elsewhere.example"
    (found,) = findings(await check("--connect", **sso))
    assert found.startswith(
        "GATEWAY_SSO: provider google: the provider calls itself 'https://elsewhere.example'"
    )
    (found,) = findings(
        await check("--connect", **{**sso, "GATEWAY_PROVIDER_GOOGLE_URL": f"http://{free()}"})
    )
    assert "cannot be connected to" in found


@pytest.mark.parametrize("setting", ["GATEWAY_WHATOMATE_REDIS_URL", "GATEWAY_LIMITS_URL"])
async def test_a_redis_is_asked_what_serving_asks_of_it(check: Check, tmp_path: Path, setting: str) -> None:
    with ExitStack() as stack:
        server = RedisServer(tmp_path)
        stack.callback(server.kill)
        server.client.config_set("requirepass", "hunter2")
        good = server.url.replace("redis://", "redis://:hunter2@")
        result = await check("--connect", **{setting: good}, GATEWAY_LIMITS_TIMEOUT_SECONDS="5")
        assert (result.exit_code, result.stderr) == (0, "")
        (found,) = findings(await check("--connect", **{setting: good.replace("hunter2", "hunter3")}))
        assert found.startswith(f"{setting}: refuses: ")
        assert "hunter" not in found
    (found,) = findings(await check("--connect", **{setting: f"redis://:hunter2@{free()}/0"}))
    assert found.startswith(f"{setting}: away: ")
    assert "check host, port, password" in found
    assert "hunter" not in found


@pytest.mark.parametrize(
    ("setting", "path"),
    [("GATEWAY_TRACE_ENDPOINT", "/v1/traces"), ("GATEWAY_METRICS_ENDPOINT", "/v1/metrics")],
)
async def test_each_collector_is_sent_an_empty_request_with_the_headers_of_its_exporter(
    check: Check, service: str, setting: str, path: str
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    seen: list[tuple[str, bytes]] = []
    status = 200

    async def take(request: web.Request) -> web.Response:
        seen.append((request.path, await request.read()))
        is_known = request.headers.get("Authorization") == "Bearer of=collector"
        return web.Response(status=status if is_known else 401)

    application = web.Application()
    application.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(application)
    await runner.setup()
    known = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20of%3Dcollector,x=y"}
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        assert (await check("--connect", **{setting: url}, **known)).exit_code == 0
        assert seen == [(path, b"")]
        (found,) = findings(await check("--connect", **{setting: url}))
        assert found == f"{setting}: it answers 401 to {path}; check OTEL_EXPORTER_OTLP_HEADERS"
        status = 404
        (found,) = findings(await check("--connect", **{setting: url}, **known))
        assert found.startswith(f"{setting}: it answers 404 to {path}; ")
    finally:
        await runner.cleanup()
    (found,) = findings(await check("--connect", **{setting: f"http://{free()}"}))
    assert found.startswith(f"{setting}: ")
    assert "4318" in found


async def test_a_collector_with_a_certificate_of_ones_own_is_verified_by_the_exporters_authorities(
    check: Check, service: str, tmp_path: Path
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    authority = Authority(tmp_path)

    async def take(_: web.Request) -> web.Response:
        return web.Response()

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server("127.0.0.1"))
        await site.start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        (found,) = findings(await check("--connect", GATEWAY_TRACE_ENDPOINT=url))
        assert "certificate" in found
        known = {"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": str(authority.file)}
        assert (await check("--connect", GATEWAY_TRACE_ENDPOINT=url, **known)).exit_code == 0
    finally:
        await runner.cleanup()


# -- the database ----------------------------------------------------------------------------------------------------


async def test_a_pool_that_is_larger_than_the_server_has_connections_is_named(check: Check) -> None:
    (found,) = findings(await check("--connect", GATEWAY_DATABASE_POOL_MAX="1000"))
    assert found.startswith("GATEWAY_DATABASE_URL: the server has ")
    assert (
        "connections for this user, and GATEWAY_DATABASE_POOL_MAX is 1000; lower GATEWAY_DATABASE_POOL_MAX"
        in found
    )


async def test_a_search_path_by_which_migrate_would_refuse_is_named(check: Check, migrated_url: str) -> None:
    await execute(migrated_url, "CREATE SCHEMA gw", "DELETE FROM gateway_migrations WHERE name LIKE '0028%'")
    url = f"{migrated_url}&options=-csearch_path%3Dgw,public"
    pending, place = findings(await check("--connect", GATEWAY_DATABASE_URL=url))
    assert "migrations are pending: 0028" in pending
    assert "tables are in schema public, and new ones would be made in schema gw" in place
    owner = {"GATEWAY_MIGRATE_DATABASE_URL": url}
    pending, place = findings(await check("--connect", **owner))
    assert place.startswith("GATEWAY_MIGRATE_DATABASE_URL: by search_path the tables are in schema public")


async def test_triggers_that_are_missing_or_of_another_version_are_named(
    check: Check, migrated_url: str
) -> None:
    for change, words in {
        "DROP TRIGGER gateway_noted_delete ON user_organizations": "triggers that tell of changes are missing",
        "COMMENT ON FUNCTION gateway_changed_users() IS 'x'": "the triggers are of an older version, or altered",
    }.items():
        await execute(migrated_url, change)
        (found,) = findings(await check("--connect"))
        assert found.startswith(f"GATEWAY_DATABASE_URL: {words}")
        assert (await check("--connect", GATEWAY_DATABASE_TRIGGERS="off")).exit_code == 0
        await migrate(migrated_url)
        assert (await check("--connect")).exit_code == 0


# -- the secret ------------------------------------------------------------------------------------------------------


def token(secret: str, **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "user_id": "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e",
        "organization_id": "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e",
        "email": "a@b.example",
        "is_super_admin": False,
        "iss": "whatomate",
        "iat": now,
        "exp": now + 900,
        **changes,
    }
    return by_hmac({"alg": "HS256", "typ": "JWT"}, claims, secret.encode())


async def test_a_token_proves_the_secret_and_which_one_it_is(check: Check) -> None:
    previous = {"GATEWAY_JWT_PREVIOUS_SECRETS": f"{PREVIOUS}-0,{PREVIOUS}"}
    for secret, name in (
        (SECRET, "GATEWAY_JWT_SECRET"),
        (PREVIOUS, "GATEWAY_JWT_PREVIOUS_SECRETS, number 2"),
    ):
        result = await check("--token", "-", typed=f"Bearer {token(secret)}\n", **previous)
        assert result.exit_code == 0
        assert result.stderr == f"token: good by {name}\n"
        assert secret not in result.output
    result = await check("--token", "-", typed=token(SECRET, exp=1))
    assert (result.exit_code, result.stderr) == (0, "token: good by GATEWAY_JWT_SECRET; but it has expired\n")


async def test_a_token_that_another_secret_signed_is_a_finding(check: Check, tmp_path: Path) -> None:
    (found,) = findings(await check("--token", "-", typed=token("of-somebody-else-" * 3)))
    assert found.startswith(
        "GATEWAY_JWT_SECRET: the token proves nothing: its signature is by none of the configured"
    )
    empty = await check("--token", "-", typed="")
    assert (empty.exit_code, "no token was given" in empty.stderr) == (2, True)
    (found,) = findings(await check("--token", "-", typed="x"))
    assert "it is not a JWT" in found
    path = tmp_path / "token"
    path.write_text(token(SECRET, iss="another"))
    (found,) = findings(await check("--token", str(path)))
    assert found.startswith("GATEWAY_JWT_ISSUER: its issuer is not 'whatomate'; ")


async def test_a_token_in_the_place_of_its_file_is_refused_and_not_shown(check: Check) -> None:
    result = await check("--token", token(SECRET))
    assert result.exit_code == 2
    assert "no such file can be read; name one, or - for standard input" in result.stderr
    assert "eyJ" not in result.output


# -- bounds ----------------------------------------------------------------------------------------------------------


async def test_services_that_never_answer_are_waited_for_together(check: Check, service: str) -> None:
    settings = {
        "GATEWAY_UPSTREAM_URL": f"https://{service}",
        "GATEWAY_UPSTREAM_CONNECT_TIMEOUT_SECONDS": "0.5",
        "GATEWAY_DATABASE_URL": f"postgresql://u:hunter2@{service}/x",
        "GATEWAY_DATABASE_CONNECT_TIMEOUT_SECONDS": "0.5",
        "GATEWAY_WHATOMATE_REDIS_URL": f"redis://:hunter2@{service}",
        "GATEWAY_LIMITS_URL": f"redis://:hunter2@{service}",
        "GATEWAY_ISSUER_URL": ISSUER,
        "GATEWAY_ISSUER_JWKS_URL": f"http://{service}/jwks",
        "GATEWAY_ISSUER_AUDIENCE": AUDIENCE,
        "GATEWAY_ISSUER_TIMEOUT_SECONDS": "0.5",
        "GATEWAY_REGISTRATION": "invite",
    }
    result = await check("--connect", **settings)
    assert "hunter2" not in result.output
    assert [line.partition(":")[0] for line in findings(result)] == [
        "GATEWAY_DATABASE_URL",
        "GATEWAY_UPSTREAM_URL",
        "GATEWAY_ISSUER_JWKS_URL",
        "GATEWAY_WHATOMATE_REDIS_URL",
        "GATEWAY_LIMITS_URL",
    ]


async def test_a_check_that_is_not_done_in_time_is_a_finding_and_holds_up_no_other(service: str) -> None:
    settings = load(
        {
            "GATEWAY_UPSTREAM_URL": f"http://{free()}",
            "GATEWAY_DATABASE_URL": f"postgresql://u:hunter2@{service}/x",
        }
    )
    async with asyncio.timeout(PATIENCE):
        found = await connection_findings(settings, None, database_findings, longest_seconds=2)
    assert found[0].startswith("GATEWAY_DATABASE_URL: no answer within 2 s; ")
    assert found[1].endswith("nothing listens there: check the port, and that the service runs")
