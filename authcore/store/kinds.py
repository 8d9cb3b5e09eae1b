"""Kinds of database failures: the enumeration, the advice of each, and the choice of a kind by SQLSTATE.

Law: a part of the message decides where one code has several causes, then the whole code, then its class. A server that
writes its messages in another language gets the kind of the code alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(StrEnum):
    """Kind of a database failure; the values are stable, for logs, ``/readyz`` and metric labels."""

    UNKNOWN_HOST = "unknown_host"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    LOST = "connection_lost"
    STOPPED = "not_running"
    TLS = "tls"
    PASSWORD = "password"  # noqa: S105 -- the name of a kind
    NO_DATABASE = "no_database"
    NO_ROLE = "no_role"
    PARAMETER = "parameter"
    PRIVILEGE = "privilege"
    ROW_SECURITY = "row_security"
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
    Kind.LOST: "check PostgreSQL's log, and proxies in between; the gateway connects again by itself",
    Kind.STOPPED: "wait until PostgreSQL accepts connections again, or start it",
    Kind.TLS: "check sslmode, sslrootcert, sslcert and sslkey in GATEWAY_DATABASE_URL, and ssl, the certificate and "
    "pg_hba.conf of the server",
    Kind.PASSWORD: "check user and password in GATEWAY_DATABASE_URL, and pg_hba.conf; a file that holds the URL or the "
    "password is read again for each connection",
    Kind.NO_DATABASE: "check the name of the database in GATEWAY_DATABASE_URL, create it, or let it accept connections",
    Kind.NO_ROLE: "check the role's name, or create it: CREATE ROLE name LOGIN",
    Kind.PARAMETER: "check what stands behind the ? of GATEWAY_DATABASE_URL; a pooler takes only those parameters that "
    "its ignore_startup_parameters names, and ALTER ROLE ... SET works in their place",
    Kind.PRIVILEGE: "let the owner of the tables run migrate --grant-to with the user of GATEWAY_DATABASE_URL",
    Kind.ROW_SECURITY: "the gateway has to see every row: ALTER ROLE ... BYPASSRLS for the user of "
    "GATEWAY_DATABASE_URL, a policy for it with USING (true), or ALTER TABLE ... DISABLE ROW LEVEL SECURITY",
    Kind.SCHEMA: "run migrate, with this version of the gateway; check that search_path leads to Whatomate's tables",
    Kind.READ_ONLY: "let GATEWAY_DATABASE_URL lead to the primary (of several hosts: target_session_attrs=read-write), "
    "or end default_transaction_read_only",
    Kind.CONNECTIONS: "lower GATEWAY_DATABASE_POOL_MAX or the number of workers, or raise max_connections, the role's "
    "CONNECTION LIMIT or the pooler's limits",
    Kind.DISK_FULL: "make room on PostgreSQL's disk",
    Kind.MEMORY: "give PostgreSQL more memory, or lower work_mem or max_connections",
    Kind.LOCKED: "find who holds the lock (pg_locks, pg_stat_activity) and try again",
    Kind.CONFLICT: "try again: the transaction collided with another one",
    Kind.CANCELLED: "check who cancels statements, and the role's statement_timeout",
    Kind.POOLER: "a pooler in transaction mode gives each transaction another server connection: set "
    "GATEWAY_DATABASE_STATEMENT_CACHE=off, and GATEWAY_DATABASE_LISTEN_URL to PostgreSQL itself; one in statement mode "
    "(PgBouncer's pool_mode) has no transactions and cannot be used",
    Kind.ROWS: "compare the tables with those that Whatomate and migrate create: a column or constraint differs",
    Kind.ADDRESS: "write GATEWAY_DATABASE_URL as postgresql://user:password@host:5432/name, its password %-encoded",
    Kind.CIRCUIT: "look for an earlier event store_unavailable: it says why the database did not answer",
    Kind.OTHER: "look the SQLSTATE up in PostgreSQL's appendix of error codes, and read PostgreSQL's log",
}

_STATES: Final[Mapping[str, Kind]] = {
    "08P01": Kind.POOLER,  # PgBouncer's own errors, and PostgreSQL's when a pooler mixed up statements
    "25006": Kind.READ_ONLY,
    "25P03": Kind.LOST,
    "25P04": Kind.LOST,
    "26000": Kind.POOLER,
    "3D000": Kind.NO_DATABASE,
    "3F000": Kind.SCHEMA,
    "42501": Kind.PRIVILEGE,
    "42P05": Kind.POOLER,
    "53100": Kind.DISK_FULL,
    "53200": Kind.MEMORY,
    "53300": Kind.CONNECTIONS,
    "53400": Kind.OTHER,
    "55000": Kind.NO_DATABASE,  # "is not currently accepting connections"
    "55P02": Kind.PARAMETER,
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
    "42": Kind.SCHEMA,  # a table, column or function does not exist, or is of another type
    "53": Kind.CONNECTIONS,
    "57": Kind.STOPPED,
}
_WORDS: Final = (
    ("28000", "[local]", Kind.PASSWORD),  # on a unix socket there is no TLS to ask for
    *(
        ("28000", part, Kind.TLS)
        for part in ("no encryption", "ssl off", "ssl connection is", "ssl required")
    ),
    ("42704", 'role "', Kind.NO_ROLE),
    ("42704", "configuration parameter", Kind.PARAMETER),
    ("22023", "parameter", Kind.PARAMETER),
    ("42501", "set parameter", Kind.PARAMETER),
    ("42501", "row-level security", Kind.ROW_SECURITY),
    ("08", "unsupported startup parameter", Kind.PARAMETER),
    (
        "08",
        "transaction blocks not allowed",
        Kind.POOLER,
    ),  # the driver reports it as the end of a connection, 08003
    ("08", "no more connections allowed", Kind.CONNECTIONS),
    ("08", "too many connections", Kind.CONNECTIONS),
    ("08", "query_wait_timeout", Kind.CONNECTIONS),
    ("08", "max_client_conn", Kind.CONNECTIONS),
    ("08", "query_timeout", Kind.TIMEOUT),
    ("08", "idle", Kind.LOST),  # an idle client or transaction
    ("08", "login failed", Kind.PASSWORD),
    ("08", "password authentication failed", Kind.PASSWORD),
    ("08", "no such database", Kind.NO_DATABASE),
    ("08", "no such user", Kind.PASSWORD),
    ("08", "server_login_retry", Kind.STOPPED),
    ("08", "server connection crashed", Kind.LOST),
    ("08", "server conn crashed", Kind.LOST),
    ("08", "pgbouncer cannot connect to server", Kind.STOPPED),
    ("08", "server login has been failing", Kind.STOPPED),
    ("08", "database is disabled", Kind.STOPPED),
    ("08", "the database is paused", Kind.STOPPED),
    ("08", "shutting down", Kind.STOPPED),
)
"""(beginning of the SQLSTATE, part of the message in lower case, kind): the first that fits. PgBouncer's own errors are
all 08P01, so there the message decides."""


def kind_of_state(state: str, words: str) -> Kind:
    """Return the kind of a server's error by its SQLSTATE and its message."""
    words = words.lower()
    for beginning, part, kind in _WORDS:
        if state.startswith(beginning) and part in words:
            return kind
    return _STATES.get(state) or _CLASSES.get(state[:2], Kind.OTHER)
