"""Error classifier: every error of the database driver as a kind, the server's words, and what to do about it.

Laws:

- Whatever the driver raises has a kind here; what nobody listed is ``Kind.OTHER``, which is an outage like all others.
- What the server says of rows (a value that is too long, a key that exists twice) is not repeated: it may be personal.
  Nor is what the driver says of a URL: it may hold a password.
- SQLSTATE decides, where there is one: first the whole of it, then its class.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import asyncpg
from asyncpg import exceptions as pg

from authcore.store.schema import SchemaUnfit

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(StrEnum):
    """What is the matter with the database; stable, for logs, ``/readyz`` and labels."""

    UNKNOWN_HOST = "unknown_host"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    LOST = "connection_lost"
    STOPPED = "not_running"
    TLS = "tls"
    PASSWORD = "password"  # noqa: S105 -- the name of a kind
    NO_DATABASE = "no_database"
    PRIVILEGE = "privilege"
    SCHEMA = "schema"
    READ_ONLY = "read_only"
    CONNECTIONS = "too_many_connections"
    DISK_FULL = "disk_full"
    MEMORY = "out_of_memory"
    LOCKED = "lock_timeout"
    CONFLICT = "conflict"
    CANCELLED = "cancelled"
    POOLER = "pooler"
    ROWS = "rows"
    ADDRESS = "address"
    CIRCUIT = "circuit_open"
    OTHER = "other"


ADVICE: Final[Mapping[Kind, str]] = {
    Kind.UNKNOWN_HOST: "check the host name in GATEWAY_DATABASE_URL, and this machine's DNS",
    Kind.REFUSED: "check that PostgreSQL runs, and that GATEWAY_DATABASE_URL names its host and port",
    Kind.TIMEOUT: "check the network to PostgreSQL, its load, and who holds locks (pg_stat_activity); the limits are "
    "GATEWAY_DATABASE_CONNECT_TIMEOUT_SECONDS, _ACQUIRE_TIMEOUT_SECONDS and _STATEMENT_TIMEOUT_SECONDS",
    Kind.LOST: "check PostgreSQL's log and what stands between; the gateway connects again by itself",
    Kind.STOPPED: "wait until PostgreSQL accepts connections again, or start it",
    Kind.TLS: "check sslmode and sslrootcert in GATEWAY_DATABASE_URL, and the server's certificate and pg_hba.conf",
    Kind.PASSWORD: "check user and password in GATEWAY_DATABASE_URL, and pg_hba.conf; a file that holds the URL or the "
    "password is read again for each connection",
    Kind.NO_DATABASE: "check the name of the database in GATEWAY_DATABASE_URL, or create it",
    Kind.PRIVILEGE: "let the owner of the tables run migrate --grant-to with the user of GATEWAY_DATABASE_URL",
    Kind.SCHEMA: "run migrate, with this version of the gateway; check that search_path leads to Whatomate's tables",
    Kind.READ_ONLY: "let GATEWAY_DATABASE_URL lead to the primary (of several hosts: target_session_attrs=read-write), "
    "or end default_transaction_read_only",
    Kind.CONNECTIONS: "lower GATEWAY_DATABASE_POOL_MAX or the number of workers, or raise max_connections, the role's "
    "CONNECTION LIMIT or the pooler's limits",
    Kind.DISK_FULL: "make room on PostgreSQL's disk",
    Kind.MEMORY: "give PostgreSQL more memory, or lower work_mem or max_connections",
    Kind.LOCKED: "find who holds the lock (pg_locks, pg_stat_activity) and try again",
    Kind.CONFLICT: "try again: two transactions met",
    Kind.CANCELLED: "check who cancels statements, and the role's statement_timeout",
    Kind.POOLER: "a pooler in transaction mode gives each transaction another server connection: set "
    "GATEWAY_DATABASE_STATEMENT_CACHE=off, and GATEWAY_DATABASE_LISTEN_URL to PostgreSQL itself",
    Kind.ROWS: "compare the tables with those that Whatomate and migrate make: a column or constraint is not theirs",
    Kind.ADDRESS: "write GATEWAY_DATABASE_URL as postgresql://user:password@host:5432/name, its password %-encoded",
    Kind.CIRCUIT: "look for the event store_unavailable before this: it says why the database did not answer",
    Kind.OTHER: "look the SQLSTATE up in PostgreSQL's appendix of error codes, and read PostgreSQL's log",
}

_STATES: Final[Mapping[str, Kind]] = {
    "08P01": Kind.POOLER,  # what PgBouncer raises of its own, and what it makes of statements that it mixed up
    "25006": Kind.READ_ONLY,
    "26000": Kind.POOLER,
    "3D000": Kind.NO_DATABASE,
    "3F000": Kind.SCHEMA,
    "42501": Kind.PRIVILEGE,
    "42P05": Kind.POOLER,
    "53100": Kind.DISK_FULL,
    "53200": Kind.MEMORY,
    "53300": Kind.CONNECTIONS,
    "55P03": Kind.LOCKED,
    "57014": Kind.CANCELLED,
    "57P05": Kind.LOST,
}
_CLASSES: Final[Mapping[str, Kind]] = {
    "08": Kind.LOST,
    "22": Kind.ROWS,
    "23": Kind.ROWS,
    "28": Kind.PASSWORD,
    "40": Kind.CONFLICT,
    "42": Kind.SCHEMA,  # tables, columns or functions that are not there, or are of another kind
    "53": Kind.CONNECTIONS,
    "57": Kind.STOPPED,
}
_OF_THE_POOLER: Final[Mapping[str, Kind]] = {
    "no more connections allowed": Kind.CONNECTIONS,
    "too many connections": Kind.CONNECTIONS,
    "query_wait_timeout": Kind.CONNECTIONS,
    "max_client_conn": Kind.CONNECTIONS,
    "query_timeout": Kind.TIMEOUT,
    "idle": Kind.LOST,  # of a client, of a transaction
    "login failed": Kind.PASSWORD,
    "password authentication failed": Kind.PASSWORD,
    "no such database": Kind.NO_DATABASE,
    "no such user": Kind.PASSWORD,
    "server_login_retry": Kind.STOPPED,
    "server connection crashed": Kind.LOST,
    "server conn crashed": Kind.LOST,
    "pgbouncer cannot connect to server": Kind.STOPPED,
    "server login has been failing": Kind.STOPPED,
    "database is disabled": Kind.STOPPED,
    "the database is paused": Kind.STOPPED,
    "shutting down": Kind.STOPPED,
}
"""What a pooler says of itself is 08P01 throughout (PgBouncer): there its words decide."""

_WITHOUT_TLS: Final = ("no encryption", "SSL off", "SSL connection is required", "SSL required")
_PERSONAL: Final = frozenset({Kind.ROWS, Kind.ADDRESS})
_IMPERSONAL: Final = frozenset(
    {
        *(Kind.PRIVILEGE, Kind.SCHEMA, Kind.READ_ONLY, Kind.DISK_FULL, Kind.MEMORY, Kind.LOCKED),
        *(Kind.CANCELLED, Kind.CONFLICT, Kind.NO_DATABASE, Kind.TIMEOUT, Kind.POOLER),
    }
)
"""Of these kinds the server's words name objects and settings; of all others they may name a host or a user."""


ABSENT: Final = frozenset(
    {Kind.UNKNOWN_HOST, Kind.REFUSED, Kind.TIMEOUT, Kind.LOST, Kind.STOPPED, Kind.TLS, Kind.CIRCUIT}
)
"""The kinds that mean that nobody answers; all others are a server's answer."""
DRIVER_ERRORS: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ValueError,  # a URL, or a file of it, that cannot be read
)
"""Whatever a connection can raise while it is opened, used or closed; ``TimeoutError`` is an ``OSError``."""
_OF_CONNECTIONS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
)


class CircuitOpen(ConnectionError):
    """The database did not answer lately; it was not asked again."""


class NoConnection(TimeoutError):
    """Every connection that the pool could have was in use for as long as one may wait."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One error of the database, for whoever has to act on it.

    Attributes:
        kind: What is the matter.
        sqlstate: The server's code; None when it was not the server that failed.
        words: What the server or the system says, without values of rows and without secrets.
        advice: What to do about it.
    """

    kind: Kind
    sqlstate: str | None
    words: str
    advice: str

    @property
    def public(self) -> str:
        """The same without what names a host, a user or an address: for answers that travel."""
        words = f": {self.words}" if self.kind in _IMPERSONAL else ""
        verb = "unreachable" if self.kind in ABSENT else "refuses"
        return f"{verb} ({self.kind}){words}; {self.advice}"

    @property
    def sentence(self) -> str:
        """What is wrong, and what to do."""
        verb = "does not answer" if self.kind in ABSENT else "refuses"
        return f"the database {verb}: {self.words}; {self.advice}"


def classify(error: BaseException | None) -> Failure:
    """Return what `error`, which the driver or the system raised, is about."""
    state = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
    kind = _kind_of(error, state)
    return Failure(kind, state, _words(error, kind), ADVICE[kind])


def is_of_server(error: BaseException) -> bool:
    """Return whether `error` is an answer of the database's server, whose text may quote rows."""
    return isinstance(error, asyncpg.PostgresError)


def is_of_connections(error: BaseException) -> bool:
    """Return whether `error` is what a connection ends with: no fault of the program, and worth no traceback."""
    return isinstance(error, _OF_CONNECTIONS)


def is_mistake(error: BaseException) -> bool:
    """Return whether `error` is a fault of this program: an argument that cannot be sent, a URL that cannot be read."""
    if isinstance(error, pg.DataError):
        return (
            error.severity is None
        )  # what the server raises has one; this was raised before anything was sent
    return isinstance(error, ValueError)


def _kind_of(error: BaseException | None, state: str | None) -> Kind:
    if state is not None:
        return _kind_of_state(state, str(error))
    return next((kind for types, kind in _TYPES if isinstance(error, types)), Kind.OTHER)


def _kind_of_state(state: str, words: str) -> Kind:
    if state == "28000" and any(part in words for part in _WITHOUT_TLS):
        return Kind.TLS
    if state.startswith("08"):
        said = words.lower()
        for part, kind in _OF_THE_POOLER.items():
            if part in said:
                return kind
    return _STATES.get(state) or _CLASSES.get(state[:2], Kind.OTHER)


_TYPES: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Kind], ...]] = (
    (CircuitOpen, Kind.CIRCUIT),
    (NoConnection, Kind.CONNECTIONS),
    (SchemaUnfit, Kind.SCHEMA),
    (TimeoutError, Kind.TIMEOUT),
    (socket.gaierror, Kind.UNKNOWN_HOST),
    (ssl.SSLError, Kind.TLS),
    (ConnectionRefusedError, Kind.REFUSED),
    (FileNotFoundError, Kind.REFUSED),  # a unix socket that is not there
    (PermissionError, Kind.REFUSED),
    (ConnectionError, Kind.LOST),
    (OSError, Kind.REFUSED),  # several addresses, each of which failed; no route
    (pg.TargetServerAttributeNotMatched, Kind.READ_ONLY),
    (pg.ClientConfigurationError, Kind.ADDRESS),
    (ValueError, Kind.ADDRESS),
    (asyncpg.InterfaceError, Kind.LOST),
    (pg.ProtocolError, Kind.LOST),
    (asyncpg.InternalClientError, Kind.LOST),
)


def _words(error: BaseException | None, kind: Kind) -> str:
    if error is None:
        return "nothing more is known"
    if kind in _PERSONAL:
        return f"{type(error).__name__}, whose text is not repeated"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return str(error)
    if kind is Kind.TIMEOUT:
        return "it took too long"
    # A server's detail may hold values of a row, and the driver adds a hint of its own: neither is repeated.
    message = error.message if isinstance(error, asyncpg.PostgresError) else None
    return " ".join((message or str(error)).split()) or type(error).__name__
