"""Kinds of database failures: the enumeration, its groups, the advice of each, and the choice of a kind by SQLSTATE.

Law: a part of the message decides where one code has several causes, then the whole code, then its class. A server that
writes its messages in another language gets the kind of the code alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class FailureKind(StrEnum):
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


ADVICE: Final[Mapping[FailureKind, str]] = {
    FailureKind.UNKNOWN_HOST: "check the host name in GATEWAY_DATABASE_URL, and this machine's DNS",
    FailureKind.REFUSED: "check that PostgreSQL runs, and that GATEWAY_DATABASE_URL names its host and port",
    FailureKind.TIMEOUT: "check the network to PostgreSQL, its load, and who holds locks (pg_stat_activity); the "
    "limits are GATEWAY_DATABASE_CONNECT_TIMEOUT_SECONDS, _ACQUIRE_TIMEOUT_SECONDS and _STATEMENT_TIMEOUT_SECONDS",
    FailureKind.LOST: "check PostgreSQL's log, and proxies in between; the gateway connects again by itself",
    FailureKind.STOPPED: "wait until PostgreSQL accepts connections again, or start it",
    FailureKind.TLS: "check sslmode, sslrootcert, sslcert and sslkey in GATEWAY_DATABASE_URL, and ssl, the "
    "certificate and pg_hba.conf of the server",
    FailureKind.PASSWORD: "check user and password in GATEWAY_DATABASE_URL, and pg_hba.conf; a file that holds the "
    "URL or the password is read again for each connection",
    FailureKind.NO_DATABASE: "check the name of the database in GATEWAY_DATABASE_URL, create it, or let it accept "
    "connections",
    FailureKind.NO_ROLE: "check the role's name, or create it: CREATE ROLE name LOGIN",
    FailureKind.PARAMETER: "check what stands behind the ? of GATEWAY_DATABASE_URL; a pooler takes only those "
    "parameters that its ignore_startup_parameters names, and ALTER ROLE ... SET works in their place",
    FailureKind.PRIVILEGE: "let the owner of the tables run migrate --grant-to with the user of GATEWAY_DATABASE_URL",
    FailureKind.ROW_SECURITY: "the gateway has to see every row: ALTER ROLE ... BYPASSRLS for the user of "
    "GATEWAY_DATABASE_URL, a policy for it with USING (true), or ALTER TABLE ... DISABLE ROW LEVEL SECURITY",
    FailureKind.SCHEMA: "run migrate, with this version of the gateway; check that search_path leads to Whatomate's "
    "tables",
    FailureKind.READ_ONLY: "let GATEWAY_DATABASE_URL lead to the primary (of several hosts: "
    "target_session_attrs=read-write), or end default_transaction_read_only",
    FailureKind.CONNECTIONS: "lower GATEWAY_DATABASE_POOL_MAX or the number of workers, or raise max_connections, "
    "the role's CONNECTION LIMIT or the pooler's limits",
    FailureKind.DISK_FULL: "make room on PostgreSQL's disk",
    FailureKind.MEMORY: "give PostgreSQL more memory, or lower work_mem or max_connections",
    FailureKind.LOCKED: "find who holds the lock (pg_locks, pg_stat_activity) and try again",
    FailureKind.CONFLICT: "try again: the transaction collided with another one, or with a change of the tables",
    FailureKind.CANCELLED: "check who cancels statements, and the role's statement_timeout",
    FailureKind.POOLER: "a pooler in transaction mode gives each transaction another server connection: set "
    "GATEWAY_DATABASE_STATEMENT_CACHE=off, and GATEWAY_DATABASE_LISTEN_URL to PostgreSQL itself; one in statement mode "
    "(PgBouncer's pool_mode) has no transactions and cannot be used; one that reads from standbys has to read from the "
    "primary (pgpool: load_balance_mode = off)",
    FailureKind.ROWS: "compare the tables with those that Whatomate and migrate create: a column or constraint differs",
    FailureKind.ADDRESS: "write GATEWAY_DATABASE_URL as postgresql://user:password@host:5432/name, its password "
    "%-encoded",
    FailureKind.CIRCUIT: "look for an earlier event store_unavailable: it says why the database did not answer",
    FailureKind.OTHER: "look the SQLSTATE up in PostgreSQL's appendix of error codes, and read PostgreSQL's log",
}

_STATES: Final[Mapping[str, FailureKind]] = {
    "08P01": FailureKind.POOLER,  # PgBouncer's own errors, and PostgreSQL's when a pooler mixed up statements
    "25006": FailureKind.READ_ONLY,
    "25P03": FailureKind.LOST,
    "25P04": FailureKind.LOST,
    "26000": FailureKind.POOLER,
    "3D000": FailureKind.NO_DATABASE,
    "3F000": FailureKind.SCHEMA,
    "42501": FailureKind.PRIVILEGE,
    "42P05": FailureKind.POOLER,
    "53100": FailureKind.DISK_FULL,
    "53200": FailureKind.MEMORY,
    "53300": FailureKind.CONNECTIONS,
    "53400": FailureKind.OTHER,
    "55000": FailureKind.NO_DATABASE,  # "is not currently accepting connections"
    "55P02": FailureKind.PARAMETER,
    "55P03": FailureKind.LOCKED,
    "57014": FailureKind.CANCELLED,
    "57P05": FailureKind.LOST,
}
_CLASSES: Final[Mapping[str, FailureKind]] = {
    "08": FailureKind.LOST,
    "22": FailureKind.ROWS,
    "23": FailureKind.ROWS,
    "28": FailureKind.PASSWORD,
    "40": FailureKind.CONFLICT,
    "42": FailureKind.SCHEMA,  # a table, column or function does not exist, or is of another type
    "53": FailureKind.CONNECTIONS,
    "57": FailureKind.STOPPED,
}
_WORDS: Final = (
    ("28000", "[local]", FailureKind.PASSWORD),  # on a unix socket there is no TLS to ask for
    *(
        ("28000", part, FailureKind.TLS)
        for part in ("no encryption", "ssl off", "ssl connection is", "ssl required")
    ),
    ("42704", 'role "', FailureKind.NO_ROLE),
    ("42704", "configuration parameter", FailureKind.PARAMETER),
    ("22023", "parameter", FailureKind.PARAMETER),
    ("42501", "set parameter", FailureKind.PARAMETER),
    ("42501", "row-level security", FailureKind.ROW_SECURITY),
    ("22023", 'role "', FailureKind.NO_ROLE),  # of the parameter role of a URL
    # Two GRANTs at once, or a GRANT and another change of the table.
    ("XX000", "tuple concurrently", FailureKind.CONFLICT),
    ("08", "unsupported startup parameter", FailureKind.PARAMETER),
    # The driver reports it as the end of a connection, 08003.
    ("08", "transaction blocks not allowed", FailureKind.POOLER),
    ("08", "no more connections allowed", FailureKind.CONNECTIONS),
    ("08", "too many connections", FailureKind.CONNECTIONS),
    ("08", "query_wait_timeout", FailureKind.CONNECTIONS),
    ("08", "max_client_conn", FailureKind.CONNECTIONS),
    ("08", "query_timeout", FailureKind.TIMEOUT),
    ("08", "idle", FailureKind.LOST),  # an idle client or transaction
    ("08", "login failed", FailureKind.PASSWORD),
    ("08", "password authentication failed", FailureKind.PASSWORD),
    ("08", "no such database", FailureKind.NO_DATABASE),
    ("08", "no such user", FailureKind.PASSWORD),
    ("08", "server_login_retry", FailureKind.STOPPED),
    ("08", "server connection crashed", FailureKind.LOST),
    ("08", "server conn crashed", FailureKind.LOST),
    ("08", "pgbouncer cannot connect to server", FailureKind.STOPPED),
    ("08", "server login has been failing", FailureKind.STOPPED),
    ("08", "database is disabled", FailureKind.STOPPED),
    ("08", "the database is paused", FailureKind.STOPPED),
    ("08", "shutting down", FailureKind.STOPPED),
)
"""(beginning of the SQLSTATE, part of the message in lower case, kind): the first that fits. PgBouncer's own errors are
all 08P01, so there the message decides."""


ABSENT: Final = frozenset(
    {
        FailureKind.UNKNOWN_HOST,
        FailureKind.REFUSED,
        FailureKind.TIMEOUT,
        FailureKind.LOST,
        FailureKind.STOPPED,
        FailureKind.TLS,
        FailureKind.CIRCUIT,
    }
)
"""Kinds without an answer of the database; all others are an answer."""
SILENT: Final = ABSENT - {FailureKind.TLS, FailureKind.CIRCUIT}
"""Kinds of failures that count as silence of the server; all others are some answer."""
ENDED: Final = frozenset({FailureKind.LOST, FailureKind.STOPPED})
"""Kinds of failures that end an open connection."""
PASSING: Final = ABSENT | {
    *(
        FailureKind.CONNECTIONS,
        FailureKind.PASSWORD,
        FailureKind.NO_DATABASE,
        FailureKind.ADDRESS,
        FailureKind.PARAMETER,
        FailureKind.POOLER,
    ),
}
"""Kinds of failures that are over as soon as any statement is answered."""


def kind_of_state(state: str, words: str) -> FailureKind:
    """Return the kind of a server's error by its SQLSTATE and its message."""
    words = words.lower()
    for beginning, part, kind in _WORDS:
        if state.startswith(beginning) and part in words:
            return kind
    return _STATES.get(state) or _CLASSES.get(state[:2], FailureKind.OTHER)
