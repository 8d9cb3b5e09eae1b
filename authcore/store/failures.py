"""Error classifier: it gives every error of the database driver a kind, a text, and advice for an operator.

Laws:

- Every error that the driver raises has a kind here. One that is not listed is ``FailureKind.OTHER``, also an outage.
- The server's text about rows (a value that is too long, a duplicate key) is not repeated, as it may be personal. The
  driver's text about a URL is not repeated either, as it may contain a password.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import asyncpg
from asyncpg import exceptions as pg

from authcore.database_url import UrlRefused
from authcore.errors import StoreUnavailable
from authcore.store.kinds import ABSENT, ADVICE, FailureKind, kind_of_state
from authcore.store.rights import RowsHidden
from authcore.store.schema import SchemaUnfit

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_THE_DRIVER: Final = (
    (ConnectionError, "rejected SSL upgrade", FailureKind.TLS),
    (pg.ClientConfigurationError, "root certificate file", FailureKind.TLS),
)
"""(type, part of the message, kind) of errors that the driver raises itself."""

_PERSONAL: Final = frozenset({FailureKind.ROWS, FailureKind.ADDRESS})
_IMPERSONAL: Final = frozenset(
    {
        *(
            FailureKind.PRIVILEGE,
            FailureKind.ROW_SECURITY,
            FailureKind.SCHEMA,
            FailureKind.READ_ONLY,
            FailureKind.DISK_FULL,
            FailureKind.MEMORY,
        ),
        *(
            FailureKind.LOCKED,
            FailureKind.CANCELLED,
            FailureKind.CONFLICT,
            FailureKind.NO_DATABASE,
            FailureKind.TIMEOUT,
            FailureKind.POOLER,
        ),
    }
)
"""Kinds whose texts name objects and settings only; the texts of all others may name a host or a user."""


DRIVER_ERRORS: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ValueError,  # a URL, or a file named in it, that cannot be read
    OverflowError,  # a port above 65535
)
"""Everything that a connection can raise while it is opened, used or closed; ``TimeoutError`` is an ``OSError``."""
_OF_CONNECTIONS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
)


_UNSTORABLE: Final = frozenset({"22P05", "22021"})
"""SQLSTATEs of a text with a character that the database's encoding does not have."""


class CircuitOpen(ConnectionError):
    """The database has not answered recently, so it was not asked again."""


class NoConnection(TimeoutError):
    """Every connection that the pool may open was in use until the time limit."""


class HostsSilent(TimeoutError):
    """None of the hosts of the URL answered; the text says how many, and names none."""


class ReadsElsewhere(asyncpg.InterfaceError):
    """A pooler sends statements that only read to another server than those that write."""

    def __init__(self) -> None:
        super().__init__("a pooler reads from another server than it writes to")


class CertificateUnreadable(OSError):
    """A certificate or key file that the URL names cannot be read."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One error of the database, for the operator.

    Attributes:
        kind: Kind of the failure.
        sqlstate: The server's code; None if the error is not the server's.
        words: Text of the server or the system, without values of rows and without secrets.
        advice: What the operator can do about it.
    """

    kind: FailureKind
    sqlstate: str | None
    words: str
    advice: str

    @property
    def is_of_text(self) -> bool:
        """True if a text was sent that no row of this database can hold. This says nothing about the database."""
        return self.sqlstate in _UNSTORABLE

    @property
    def public(self) -> str:
        """Text without any host, user or address, for HTTP responses."""
        words = f": {self.words}" if self.kind in _IMPERSONAL else ""
        verb = "unreachable" if self.kind in ABSENT else "refuses"
        return f"{verb} ({self.kind}){words}; {self.advice}"

    @property
    def sentence(self) -> str:
        """Text with the cause and the advice, for the log and the command line."""
        verb = "does not answer" if self.kind in ABSENT else "refuses"
        return f"the database {verb}: {self.words}; {self.advice}"

    def of(self, setting: str) -> Failure:
        """Return the failure with advice about the URL in `setting` instead of ``GATEWAY_DATABASE_URL``."""
        return replace(self, advice=self.advice.replace("GATEWAY_DATABASE_URL", setting))


def classify(error: BaseException | None) -> Failure:
    """Return the failure behind `error`, which the driver or the system raised."""
    state = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
    kind = _kind_of(error, state)
    return Failure(kind, state, _words(error, kind), ADVICE[kind])


def is_of_server(error: BaseException) -> bool:
    """Return whether the database server reported `error`; its text may quote rows then."""
    return isinstance(error, asyncpg.PostgresError)


def is_of_connections(error: BaseException) -> bool:
    """Return whether `error` is an ordinary end of a connection, which needs no traceback in the log."""
    return isinstance(error, _OF_CONNECTIONS)


def is_mistake(error: BaseException) -> bool:
    """Return whether `error` is a fault of this program, such as an argument that cannot be encoded."""
    if isinstance(error, pg.DataError):
        # Raised by the driver before it sent anything: the server sets a severity.
        return error.severity is None
    return isinstance(error, ValueError | OverflowError)


@contextmanager
def translated(*, connecting: bool = False) -> Iterator[None]:
    """Translate errors of the driver into ``StoreUnavailable``, chained to the error; :func:`classify` describes it.

    A unique violation and a fault of this program are raised unchanged; while `connecting`, neither occurs.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        if not connecting and (isinstance(error, pg.UniqueViolationError) or is_mistake(error)):
            raise
        raise StoreUnavailable from error


def _kind_of(error: BaseException | None, state: str | None) -> FailureKind:
    if isinstance(error, pg.InvalidCachedStatementError):  # whatever the language of its text
        return FailureKind.CONFLICT
    if state is not None:
        return kind_of_state(state, str(error))
    for kinds, part, kind in _OF_THE_DRIVER:
        if isinstance(error, kinds) and part in str(error):
            return kind
    return next((kind for types, kind in _TYPES if isinstance(error, types)), FailureKind.OTHER)


_TYPES: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], FailureKind], ...]] = (
    (CircuitOpen, FailureKind.CIRCUIT),
    (NoConnection, FailureKind.CONNECTIONS),
    (SchemaUnfit, FailureKind.SCHEMA),
    (RowsHidden, FailureKind.ROW_SECURITY),
    (CertificateUnreadable, FailureKind.TLS),
    (TimeoutError, FailureKind.TIMEOUT),
    (socket.gaierror, FailureKind.UNKNOWN_HOST),
    (ssl.SSLError, FailureKind.TLS),
    (ConnectionRefusedError, FailureKind.REFUSED),
    (FileNotFoundError, FailureKind.REFUSED),  # there is no such unix socket
    (PermissionError, FailureKind.REFUSED),
    (ConnectionError, FailureKind.LOST),
    (OSError, FailureKind.REFUSED),  # several addresses that failed, or no route
    (pg.TargetServerAttributeNotMatched, FailureKind.READ_ONLY),
    (pg.ClientConfigurationError, FailureKind.ADDRESS),
    (ValueError, FailureKind.ADDRESS),
    (OverflowError, FailureKind.ADDRESS),
    (ReadsElsewhere, FailureKind.POOLER),
    (asyncpg.InterfaceError, FailureKind.LOST),
    (pg.ProtocolError, FailureKind.LOST),
    (asyncpg.InternalClientError, FailureKind.LOST),
)


def _words(error: BaseException | None, kind: FailureKind) -> str:
    if error is None:
        return "nothing more is known"
    if isinstance(error, UrlRefused | HostsSilent):
        return str(error)
    if kind in _PERSONAL:
        return f"{type(error).__name__}, whose text is not repeated"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return str(error)
    if kind is FailureKind.TIMEOUT:
        return "it took too long"
    # The server's detail may contain values of a row, and the driver adds a hint of its own: neither is repeated.
    message = error.message if isinstance(error, asyncpg.PostgresError) else None
    return " ".join((message or str(error)).split()) or type(error).__name__
