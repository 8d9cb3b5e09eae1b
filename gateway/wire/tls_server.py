"""TLS contexts of a listener: chosen by the name that a client asks for, and made anew when the files change.

Laws:

- All contexts are made, or none: a key that is not its certificate's, or a file that is missing for the moment, leaves
  the last good ones in use. Open connections keep the context that they began with.
- Every name demands the same of clients, so that no certificate can be avoided by asking for another name.
- What a client certificate says leaves here as field lines, in which nothing can end a line or a name.
"""

from __future__ import annotations

import ssl
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config.certificates import FileUnusable, client_identity, read_certificate
from gateway.wire.tls import CIPHERS, VERSIONS, FileWatch
from gateway.wire.tls_files import load_authorities, load_pair

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

MOST_IDENTITY_BYTES: Final = 2048
"""A subject, or a list of names, that is longer is not sent: no service would read half of it rightly."""

_DEMANDS: Final = {
    "off": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class ServerTlsTerms:
    """Terms of TLS for clients; files by their paths.

    Attributes:
        pairs: PEM files of certificates and of their keys; the first is for names that no certificate has.
        min_version: ``1.2`` or ``1.3``.
        client_auth: Client certificates are ``off``, ``optional`` or ``required``.
        authorities: PEM file of the authorities of client certificates.
    """

    pairs: tuple[tuple[str, str], ...]
    min_version: str = "1.2"
    client_auth: str = "off"
    authorities: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all files."""
        of_clients = () if self.authorities is None else (self.authorities,)
        return (*(path for pair in self.pairs for path in pair), *of_clients)


class _AlertingObject(ssl.SSLObject):
    """TLS object that gives the error of a failed handshake the alert for the client, which event loops would drop."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            vars(error)[_ALERT] = self.outgoing.read()
            raise


_ALERT: Final = "alert"


def alert_of(error: ssl.SSLError) -> bytes:
    """Return the record with the alert that belongs to a failed handshake; empty if there is none."""
    alert: bytes = vars(error).get(_ALERT, b"")
    return alert


class ServerContext(ssl.SSLContext):
    """Server context whose failed handshakes have their alert."""

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **named: Any) -> ssl.SSLObject:  # type: ignore[override]  # as the event loops call it
        """Make the object of a new connection, as the event loop asks for it."""
        made = super().wrap_bio(incoming, outgoing, **named)
        if isinstance(made, _AlertingObject):
            made.outgoing = outgoing
        return made


class ServerTls:
    """TLS for the clients of a listener.

    Attributes:
        context: The context of the next connection.
        entry: A context that never changes, and gives each connection over to the present one; for servers that take
            one context for good. It asks for no client certificate.
        expires: POSIX seconds at which each certificate ends, by its file.
    """

    def __init__(self, terms: ServerTlsTerms) -> None:
        """Make the contexts.

        Raises:
            OSError: a file cannot be read, or a key is not its certificate's.
            FileUnusable: a certificate cannot be read.
        """
        self._terms = terms
        self._watch = FileWatch(terms.files)
        self.expires: Mapping[str, float] = {}
        self._make()
        self.entry = _context(terms, terms.pairs[0])
        self.entry.sni_callback = lambda connection, name, _: self.enter(connection, name)

    def look(self) -> bool:
        """Make the contexts anew if a file has changed; return whether they were made.

        Raises:
            OSError: a file cannot be read, or a key is not its certificate's; the last contexts stay in use.
            FileUnusable: a certificate cannot be read; likewise.
        """
        return self._watch.look(self._make)

    def _make(self) -> None:
        terms = self._terms
        names: dict[str, ServerContext] = {}
        contexts: list[ServerContext] = []
        expires: dict[str, float] = {}
        for pair in terms.pairs:
            context = _context(terms, pair)
            contexts.append(context)
            certificate = read_certificate(Path(pair[0]))
            expires[pair[0]] = certificate.expires
            for name in certificate.names:
                names.setdefault(name, context)

        # By a weak reference: contexts that referred to each other by this function would be a cycle. One that a long
        # collection has exempted would stay in memory when its files have changed.
        reference = weakref.ref(self)

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            server = reference()
            if server is not None:
                server.enter(connection, name)

        contexts[0].sni_callback = choose
        self._names = names
        self.context = contexts[0]
        self.expires = expires

    def enter(self, connection: Any, name: str | None) -> None:
        """Give a connection over to the context of the name that it asks for, or to the first one."""
        connection.context = _named(self._names, name) or self.context


def _named(names: Mapping[str, ServerContext], name: str | None) -> ServerContext | None:
    if name is None:
        return None
    asked = name.lower().removesuffix(".")
    return names.get(asked) or names.get(f"*.{asked.partition('.')[2]}")


def _context(terms: ServerTlsTerms, pair: tuple[str, str]) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _AlertingObject
    context.minimum_version = VERSIONS[terms.min_version]
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    context.verify_mode = _DEMANDS[terms.client_auth]
    if terms.authorities is not None and terms.client_auth != "off":
        load_authorities(context, terms.authorities)
    load_pair(context, *pair)
    return context


def client_lines(transport: asyncio.BaseTransport, names: tuple[str, str]) -> bytes | None:
    """Return the field lines about the client certificate of a TLS connection; None for a connection without TLS.

    Args:
        transport: The connection, its handshake complete.
        names: The names of the fields for its subject and for its alternative names.
    """
    secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if secured is None:
        return None
    der = secured.getpeercert(binary_form=True)
    if der is None:
        return b""
    subject, others = client_identity(der)
    values = zip(names, (subject, ",".join(others)), strict=True)
    return b"".join(
        f"{name}: {value}\r\n".encode("ascii")
        for name, value in values
        if value and len(value) <= MOST_IDENTITY_BYTES
    )


UNUSABLE: Final = (OSError, FileUnusable)
"""What the making of contexts raises."""
