"""Every error of the database driver has a kind, words and advice; none escapes as a fault of this program."""

from __future__ import annotations

import inspect
import os
import socket
import ssl
from typing import TYPE_CHECKING

import asyncpg
import pytest
from asyncpg import exceptions as pg

from authcore.errors import StoreUnavailable
from authcore.store.certificates import require_readable
from authcore.store.failures import CertificateUnreadable, ReadsElsewhere, classify, is_mistake, translated
from authcore.store.kinds import ABSENT, ADVICE, SILENT, FailureKind
from tests.support.databases import execute, named
from tests.support.domain import open_store

if TYPE_CHECKING:
    from pathlib import Path

DRIVER = sorted(
    (
        one
        for one in vars(pg).values()
        if inspect.isclass(one) and issubclass(one, Exception) and not issubclass(one, Warning)
    ),
    key=lambda one: one.__name__,
)
ERRORS = [one for one in DRIVER if not one.__name__.startswith(("PostgresLog", "PostgresWarning"))]


def test_the_drivers_errors_are_more_than_200() -> None:
    assert len(ERRORS) > 200


@pytest.mark.parametrize("kind", ERRORS, ids=lambda one: one.__name__)
def test_whatever_the_driver_raises_is_unavailable_or_an_answer_that_callers_await(
    kind: type[Exception],
) -> None:
    error = kind("some words")
    expected: type[Exception] = StoreUnavailable
    if is_mistake(error) or isinstance(error, pg.UniqueViolationError):
        expected = kind
    with pytest.raises(expected) as raised, translated():
        raise error
    failure = classify(error)
    assert failure.advice == ADVICE[failure.kind]
    assert failure.words
    assert (raised.value.__cause__ or raised.value) is error


@pytest.mark.parametrize("kind", ERRORS, ids=lambda one: one.__name__)
def test_while_connecting_nothing_is_an_answer(kind: type[Exception]) -> None:
    with pytest.raises(StoreUnavailable), translated(connecting=True):
        raise kind("some words")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(111, "Connection refused"), FailureKind.REFUSED),
        (OSError("Multiple exceptions: [Errno 111] ..., [Errno 111] ..."), FailureKind.REFUSED),
        (FileNotFoundError(2, "No such file or directory"), FailureKind.REFUSED),
        (socket.gaierror(-2, "Name or service not known"), FailureKind.UNKNOWN_HOST),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), FailureKind.TLS),
        (ConnectionResetError(104, "Connection reset by peer"), FailureKind.LOST),
        (TimeoutError(), FailureKind.TIMEOUT),
        (OverflowError("connect(): port must be 0-65535."), FailureKind.ADDRESS),
        (CertificateUnreadable("the file of sslkey cannot be read: Permission denied"), FailureKind.TLS),
        (ConnectionError('PostgreSQL server at "db:5432" rejected SSL upgrade'), FailureKind.TLS),
        (pg.ClientConfigurationError('root certificate file "/x/root.crt" does not exist'), FailureKind.TLS),
        (asyncpg.InterfaceError("connection is closed"), FailureKind.LOST),
        (pg.TargetServerAttributeNotMatched("None of the hosts match"), FailureKind.READ_ONLY),
        (
            pg.InvalidAuthorizationSpecificationError('no pg_hba.conf entry for host "::1", no encryption'),
            FailureKind.TLS,
        ),
        (
            pg.InvalidAuthorizationSpecificationError(
                'pg_hba.conf rejects connection for host "[local]", no encryption'
            ),
            FailureKind.PASSWORD,
        ),
        (pg.UndefinedObjectError('role "x" does not exist'), FailureKind.NO_ROLE),
        (pg.UndefinedObjectError('type "x" does not exist'), FailureKind.SCHEMA),
        (pg.UndefinedObjectError('unrecognized configuration parameter "x"'), FailureKind.PARAMETER),
        (pg.InvalidParameterValueError('invalid value for parameter "x": "y"'), FailureKind.PARAMETER),
        (pg.CantChangeRuntimeParamError('parameter "x" cannot be changed now'), FailureKind.PARAMETER),
        (pg.InsufficientPrivilegeError('permission denied to set parameter "x"'), FailureKind.PARAMETER),
        (pg.ProtocolViolationError("unsupported startup parameter: search_path"), FailureKind.PARAMETER),
        (
            pg.ObjectNotInPrerequisiteStateError('database "x" is not currently accepting connections'),
            FailureKind.NO_DATABASE,
        ),
        (pg.IdleInTransactionSessionTimeoutError("terminating connection"), FailureKind.LOST),
        (
            pg.InvalidAuthorizationSpecificationError('role "x" is not permitted to log in'),
            FailureKind.PASSWORD,
        ),
        (pg.InvalidPasswordError("password authentication failed"), FailureKind.PASSWORD),
        (pg.InvalidCatalogNameError('database "x" does not exist'), FailureKind.NO_DATABASE),
        (pg.InsufficientPrivilegeError("permission denied for table users"), FailureKind.PRIVILEGE),
        (
            pg.InsufficientPrivilegeError('new row violates row-level security policy for table "users"'),
            FailureKind.ROW_SECURITY,
        ),
        (
            asyncpg.ConnectionDoesNotExistError(
                "connection was closed in the middle of operation: transaction blocks not allowed in statement "
                "pooling mode"
            ),
            FailureKind.POOLER,
        ),
        (pg.UndefinedTableError('relation "users" does not exist'), FailureKind.SCHEMA),
        (pg.UndefinedColumnError('column "a" does not exist'), FailureKind.SCHEMA),
        (pg.UndefinedFunctionError("function a() does not exist"), FailureKind.SCHEMA),
        (
            pg.ReadOnlySQLTransactionError("cannot execute UPDATE in a read-only transaction"),
            FailureKind.READ_ONLY,
        ),
        (pg.TooManyConnectionsError("sorry, too many clients already"), FailureKind.CONNECTIONS),
        (pg.ProtocolViolationError("no more connections allowed (max_client_conn)"), FailureKind.CONNECTIONS),
        (pg.ProtocolViolationError("query_wait_timeout"), FailureKind.CONNECTIONS),
        (pg.ProtocolViolationError("query_timeout"), FailureKind.TIMEOUT),
        (pg.ProtocolViolationError("client_idle_timeout"), FailureKind.LOST),
        (pg.ProtocolViolationError('bind message has 1 result formats but "" has 2'), FailureKind.POOLER),
        (pg.InvalidSQLStatementNameError('prepared statement "x" does not exist'), FailureKind.POOLER),
        (pg.DuplicatePreparedStatementError('prepared statement "x" already exists'), FailureKind.POOLER),
        (ReadsElsewhere(), FailureKind.POOLER),
        (pg.DiskFullError("could not extend file"), FailureKind.DISK_FULL),
        (pg.LockNotAvailableError("canceling statement due to lock timeout"), FailureKind.LOCKED),
        (pg.QueryCanceledError("canceling statement due to statement timeout"), FailureKind.CANCELLED),
        (pg.DeadlockDetectedError("deadlock detected"), FailureKind.CONFLICT),
        (pg.InternalServerError("tuple concurrently updated"), FailureKind.CONFLICT),
        (pg.InvalidCachedStatementError("zwischengespeicherter Plan"), FailureKind.CONFLICT),
        (pg.CannotConnectNowError("the database system is starting up"), FailureKind.STOPPED),
        (pg.AdminShutdownError("terminating connection due to administrator command"), FailureKind.STOPPED),
        (
            pg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
            FailureKind.LOST,
        ),
        (pg.NotNullViolationError('null value in column "x"'), FailureKind.ROWS),
        (None, FailureKind.OTHER),
    ],
    ids=str,
)
def test_each_cause_is_named(error: Exception | None, kind: FailureKind) -> None:
    assert classify(error).kind is kind


def test_a_failures_words_quote_no_rows_and_no_urls() -> None:
    for error in (
        pg.ClientConfigurationError("invalid DSN: postgresql://u:hunter2@x"),
        ValueError("could not convert hunter2 to int"),
        pg.StringDataRightTruncationError("value hunter2 too long"),
        pg.ForeignKeyViolationError("Key (email)=(hunter2)"),
    ):
        assert "hunter2" not in classify(error).sentence


def test_every_kind_has_advice_and_only_absence_is_silence() -> None:
    assert set(ADVICE) == set(FailureKind)
    assert SILENT < ABSENT


def test_advice_names_the_setting_that_has_the_url() -> None:
    failure = classify(pg.InvalidCatalogNameError('database "x" does not exist')).of(
        "GATEWAY_DATABASE_LISTEN_URL"
    )
    assert "in GATEWAY_DATABASE_LISTEN_URL, " in failure.sentence
    assert "GATEWAY_DATABASE_URL" not in failure.sentence


async def test_a_right_that_lacks_is_named_with_its_object(migrated_url: str) -> None:
    await execute(migrated_url, "DROP ROLE IF EXISTS lacking", "CREATE ROLE lacking LOGIN")
    store = await open_store(migrated_url.replace("gateway@", "lacking@"))
    with pytest.raises(StoreUnavailable) as outage:
        await store.logins("a")
    failure = classify(outage.value.__cause__)
    assert (failure.kind, failure.sqlstate) == (FailureKind.PRIVILEGE, "42501")
    assert "permission denied for table users" in failure.sentence
    await store.close()
    await execute(migrated_url, "DROP ROLE lacking")


async def test_a_database_that_is_not_there_is_named(postgres_url: str) -> None:
    store = await open_store(named(postgres_url, "not_there"))
    with pytest.raises(StoreUnavailable) as outage:
        await store.ping()
    assert (
        'the database refuses: database "not_there" does not exist; check'
        in classify(outage.value.__cause__).sentence
    )
    await store.close()


@pytest.mark.parametrize(
    ("path", "why"),
    [("/nonexistent/ca.pem", "No such file or directory"), ("\0", "its name has a NUL in it")],
)
def test_a_certificate_that_cannot_be_read_is_named_by_its_parameter(path: str, why: str) -> None:
    with pytest.raises(CertificateUnreadable, match=f"^the file of sslrootcert cannot be read: {why}$"):
        require_readable({"sslrootcert": str(path)})


def test_a_pipe_in_the_place_of_a_certificate_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    with pytest.raises(CertificateUnreadable, match="the file of sslrootcert cannot be read: it is a pipe"):
        require_readable({"sslrootcert": str(pipe)})
