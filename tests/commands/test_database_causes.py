"""Causes that keep a database from serving: each is brought about for real, and named with its remedy."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import asyncpg
import pytest

from authcore.store.kinds import ADVICE, FailureKind
from authcore.store.migrate import migrate
from tests.database.servers import servers
from tests.support.admin import admin
from tests.support.certificates import self_signed
from tests.support.commands import SECRET
from tests.support.databases import execute, finish
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from click.testing import Result

    from tests.support.commands import Run
    from tests.support.worlds import Start


NOBODY = "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e"
PATIENCE = 20
GOOD: Final = {
    "GATEWAY_JWT_SECRET": SECRET,
    "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
}
RULES = "host all locked all scram-sha-256\nhostssl all encrypted all trust\nhost all encrypted all reject\n"
SETUP = (
    "CREATE ROLE locked LOGIN PASSWORD 'right'",
    "CREATE ROLE encrypted LOGIN",
    "CREATE ROLE limited LOGIN CONNECTION LIMIT 0",
    "CREATE ROLE plain LOGIN",
    "CREATE DATABASE refusing ALLOW_CONNECTIONS false",
    "CREATE DATABASE private",
    "REVOKE ALL ON DATABASE private FROM PUBLIC",
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Host and port of a PostgreSQL over TCP, without TLS, whose database ``whatomate`` is migrated."""
    with ExitStack() as stack:
        (server,) = stack.enter_context(servers(Path(tempfile.mkdtemp(prefix="wgc-"))))
        server.make()
        rules = server.files / "pg_hba.conf"
        rules.write_text(RULES + rules.read_text())
        port = free_port()
        server.start(listen_addresses="127.0.0.1", port=str(port))
        place = f"127.0.0.1:{port}"
        finish(execute(f"postgresql://gateway@{place}/postgres", *SETUP, "CREATE DATABASE whatomate"))
        finish(migrate(f"postgresql://gateway@{place}/whatomate"))
        yield place


@contextmanager
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def ask(run: Run, service: str) -> Callable[..., Awaitable[Result]]:
    """Run the command line while the test's own loop goes on."""
    good = {**GOOD, "GATEWAY_UPSTREAM_URL": f"http://{service}"}

    async def invoke(*arguments: str, **more: str) -> Result:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.to_thread(run, *arguments, **{**good, **more})

    return invoke


def names(result: Result, kind: FailureKind, words: str, setting: str = "GATEWAY_DATABASE_URL") -> None:
    """The command failed, in one line: the cause in the server's or system's words, and what to do."""
    assert result.exit_code != 0, result.output
    assert "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert words in line
    assert line.endswith(ADVICE[kind].replace("GATEWAY_DATABASE_URL", setting)), line


CAUSES: Final = [
    ("gateway@127.0.0.1:1/whatomate", FailureKind.REFUSED, "Connect call failed"),
    ("gateway@nowhere.invalid/whatomate", FailureKind.UNKNOWN_HOST, "[Errno -"),
    ("gateway@{silent}/whatomate", FailureKind.TIMEOUT, "it took too long"),
    (
        "locked:wrong@{place}/whatomate",
        FailureKind.PASSWORD,
        'password authentication failed for user "locked"',
    ),
    ("nobody@{place}/whatomate", FailureKind.PASSWORD, 'role "nobody" does not exist'),
    ("gateway@{place}/missing", FailureKind.NO_DATABASE, 'database "missing" does not exist'),
    ("gateway@{place}/refusing", FailureKind.NO_DATABASE, "is not currently accepting connections"),
    ("gateway@{place}/whatomate?sslmode=require", FailureKind.TLS, "rejected SSL upgrade"),
    ("encrypted@{place}/whatomate", FailureKind.TLS, "no encryption"),
    (
        "gateway@{place}/whatomate?sslmode=verify-full&sslrootcert=/none.pem",
        FailureKind.TLS,
        "the file of sslrootcert cannot be read: No such file or directory",
    ),
    ("limited@{place}/whatomate", FailureKind.CONNECTIONS, 'too many connections for role "limited"'),
    ("plain@{place}/private", FailureKind.PRIVILEGE, 'permission denied for database "private"'),
    (
        "gateway@{place}/whatomate?wrong=1",
        FailureKind.PARAMETER,
        'unrecognized configuration parameter "wrong"',
    ),
    ("gateway@{place}/whatomate?role=nobody", FailureKind.NO_ROLE, 'role "nobody" does not exist'),
    ("plain@{place}/postgres", FailureKind.SCHEMA, "the database"),
]


@pytest.mark.parametrize(("url", "kind", "words"), CAUSES, ids=[f"{one[1]}-{one[0]}" for one in CAUSES])
async def test_each_cause_is_named_by_commands_and_by_readyz(
    url: str,
    kind: FailureKind,
    words: str,
    address: str,
    ask: Callable[..., Awaitable[Result]],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of those two, one is waited for.
    limit = 0.5 if kind in {FailureKind.TIMEOUT, FailureKind.CONNECTIONS} else 10
    monkeypatch.setattr("authcore.store.migrate.CONNECT_SECONDS", limit)
    monkeypatch.setenv("GATEWAY_DATABASE_CONNECT_TIMEOUT_SECONDS", str(limit))
    with silent() as mute:
        where = "postgresql://" + url.format(place=address, silent=mute)
        gate = await start(
            where, database={"connect_timeout_seconds": limit, "acquire_timeout_seconds": limit}
        )
        if kind is not FailureKind.SCHEMA:
            for arguments in (("migrate",), ("migrate", "--check")):
                names(await ask(*arguments, GATEWAY_DATABASE_URL=where), kind, words)
            owner = {"GATEWAY_DATABASE_URL": f"postgresql://gateway@{address}/whatomate"}
            owned = await ask("migrate", "--check", **owner, GATEWAY_MIGRATE_DATABASE_URL=where)
            names(owned, kind, words, "GATEWAY_MIGRATE_DATABASE_URL")
            checked = await ask("check-config", "--connect", GATEWAY_DATABASE_URL=where)
            if "none.pem" in url:  # a file is looked for before anything is connected to
                assert f"Error: GATEWAY_DATABASE_URL: {words}; check the path in the URL" in checked.stderr
            else:
                names(checked, kind, words)
        names(
            await ask("api-keys", "list", "--organization", NOBODY, GATEWAY_DATABASE_URL=where), kind, words
        )
        ready = await admin(gate, "/readyz")
        checks: Any = ready.json()["checks"]
    assert ready.status == 503
    if kind is not FailureKind.SCHEMA:
        assert f"({kind})" in checks["database"]
        assert ADVICE[kind] in checks["database"]
        assert "127.0.0.1" not in checks["database"], "no address to whoever asks"


WHERE: Final = ("--organization", NOBODY)
OF_THE_DATABASE: Final = [
    ("orgs", "create", "Acme"),
    ("users", "create", "--email", "a@b.example", "--name", "A", *WHERE, "--generate-password"),
    ("users", "unlock", "--email", "a@b.example"),
    ("users", "vouch", "--email", "a@b.example"),
    ("api-keys", "create", "--user", "a@b.example", *WHERE, "--name", "k"),
    ("api-keys", "list", *WHERE),
    ("api-keys", "revoke", NOBODY),
    ("invitations", "create", *WHERE),
    ("invitations", "list", *WHERE),
    ("invitations", "revoke", NOBODY, *WHERE),
    ("explain", "--as", "a@b.example", "GET", "/api/users"),
    ("check-config", "--connect"),
    ("migrate",),
    ("migrate", "--check"),
    ("migrate", "--remove-triggers"),
    ("migrate", "--grant-to", "x"),
    ("migrate", "--grant-to", "x", "--print-grants"),
    ("serve", "--migrate"),
]


@pytest.mark.parametrize("command", OF_THE_DATABASE, ids=" ".join)
async def test_each_command_names_the_cause(
    command: tuple[str, ...], ask: Callable[..., Awaitable[Result]]
) -> None:
    result = await ask(*command, GATEWAY_DATABASE_URL="postgresql://gateway@127.0.0.1:1/whatomate")
    names(result, FailureKind.REFUSED, "Connect call failed")
    assert result.stdout == ""


async def test_several_hosts_with_their_ports_are_one_address(
    address: str, ask: Callable[..., Awaitable[Result]]
) -> None:
    where = f"postgresql://gateway@127.0.0.1:1,{address}/whatomate?target_session_attrs=read-write"
    for command in (("migrate", "--check"), ("check-config", "--connect")):
        result = await ask(*command, GATEWAY_DATABASE_URL=where)
        assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("frozen", ["first", "second", "both"])
async def test_a_silent_host_of_several_leaves_time_for_the_others(
    frozen: str, address: str, ask: Callable[..., Awaitable[Result]]
) -> None:
    with silent() as mute, silent() as other:
        places = {"first": (mute, address), "second": (address, mute), "both": (mute, other)}[frozen]
        where = (
            f"postgresql://gateway@{','.join(places)}/whatomate"
            "?target_session_attrs=read-write&connect_timeout=1"
        )
        for command in (("migrate", "--check"), ("check-config", "--connect"), ("orgs", "list")):
            result = await ask(
                *command, GATEWAY_DATABASE_URL=where, GATEWAY_DATABASE_ACQUIRE_TIMEOUT_SECONDS="0.1"
            )
            if frozen == "both":
                names(result, FailureKind.TIMEOUT, "none of the 2 hosts answered within 1 s")
            else:
                assert result.exit_code == 0, result.stderr


# -- causes that a statement meets ---------------------------------------------------------------------------------


@pytest.fixture
def role(migrated_url: str) -> Iterator[str]:
    """A superuser of its own, whose settings a test changes."""
    name = f"changed_{uuid4().hex[:8]}"
    finish(execute(migrated_url, f"CREATE ROLE {name} LOGIN SUPERUSER"))
    yield name
    finish(execute(migrated_url, f"DROP ROLE {name}"))


def as_role(url: str, role: str) -> str:
    return url.replace("gateway@", f"{role}@", 1)


async def test_a_database_that_takes_no_writes_is_named(
    migrated_url: str, database_url: str, role: str, ask: Callable[..., Awaitable[Result]]
) -> None:
    await execute(migrated_url, f"ALTER ROLE {role} SET default_transaction_read_only = on")
    words = "in a read-only transaction"
    made = await ask("orgs", "create", "Acme", GATEWAY_DATABASE_URL=as_role(migrated_url, role))
    names(made, FailureKind.READ_ONLY, words)
    names(
        await ask("migrate", GATEWAY_DATABASE_URL=as_role(database_url, role)), FailureKind.READ_ONLY, words
    )
    found = await ask("check-config", "--connect", GATEWAY_DATABASE_URL=as_role(migrated_url, role))
    names(found, FailureKind.READ_ONLY, "takes no writes")


async def test_a_lock_that_somebody_holds_is_named(
    migrated_url: str,
    role: str,
    ask: Callable[..., Awaitable[Result]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("authcore.store.migrate._LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'")
    where = as_role(migrated_url, role)
    assert (await ask("migrate", "--remove-triggers", GATEWAY_DATABASE_URL=where)).exit_code == 0
    holder = await asyncpg.connect(migrated_url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE users, organizations")
            names(await ask("migrate", GATEWAY_DATABASE_URL=where), FailureKind.LOCKED, "due to lock timeout")
            late = await ask(
                *("orgs", "create", "Acme"),
                GATEWAY_DATABASE_URL=where,
                GATEWAY_DATABASE_STATEMENT_TIMEOUT_SECONDS="0.2",
            )
            names(late, FailureKind.TIMEOUT, "it took too long")
            await execute(migrated_url, f"ALTER ROLE {role} SET statement_timeout = '50ms'")
            stopped = await ask("orgs", "create", "Acme", GATEWAY_DATABASE_URL=where)
            names(stopped, FailureKind.CANCELLED, "due to statement timeout")
            await execute(migrated_url, f"ALTER ROLE {role} SET lock_timeout = '20ms'")
            await execute(migrated_url, f"ALTER ROLE {role} RESET statement_timeout")
            stopped = await ask("orgs", "create", "Acme", GATEWAY_DATABASE_URL=where)
            names(stopped, FailureKind.LOCKED, "due to lock timeout")
    finally:
        await holder.close()


async def test_a_role_to_be_granted_to_that_is_missing_is_named(
    migrated_url: str, ask: Callable[..., Awaitable[Result]]
) -> None:
    given = await ask("migrate", "--grant-to", "nobody_here", GATEWAY_DATABASE_URL=migrated_url)
    names(given, FailureKind.NO_ROLE, 'role "nobody_here" does not exist')


async def test_a_migration_without_the_right_to_create_is_named(
    address: str, ask: Callable[..., Awaitable[Result]]
) -> None:
    refused = await ask("migrate", GATEWAY_DATABASE_URL=f"postgresql://plain@{address}/postgres")
    names(refused, FailureKind.PRIVILEGE, "permission denied for schema public")


# -- TLS -----------------------------------------------------------------------------------------------------------


@contextmanager
def encrypted(folder: Path) -> Iterator[str]:
    """An address that agrees to TLS, as PostgreSQL does, and shows a certificate of its own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(folder))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.settimeout(PATIENCE)
                    with connection, suppress(OSError):
                        connection.recv(8)
                        connection.sendall(b"S")
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


async def test_a_certificate_that_does_not_hold_is_named(
    ask: Callable[..., Awaitable[Result]], tmp_path: Path
) -> None:
    with encrypted(tmp_path) as place:
        where = f"postgresql://gateway@{place}/w?sslmode=verify-full&sslrootcert={{}}"
        other = tmp_path / "other"
        other.mkdir()
        for root in (self_signed(other)[0], tmp_path / "server.crt"):  # of another maker; of another host
            for command in (("migrate",), ("check-config", "--connect")):
                refused = await ask(*command, GATEWAY_DATABASE_URL=where.format(root))
                names(refused, FailureKind.TLS, "certificate verify failed")
