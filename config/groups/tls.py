"""Settings of TLS: towards upstreams, for clients, and for the admin listener."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from config.entries import Entry
from config.fields import FileName, FileNames, Group, Listen, Seconds, shaped


def _version(value: Any) -> Any:
    return str(value) if isinstance(value, float) else value


TlsVersion = Annotated[
    Literal["1.2", "1.3"], BeforeValidator(_version, json_schema_input_type=Literal["1.2", "1.3", 1.2, 1.3])
]
ServerName = Annotated[
    str,
    *shaped(
        r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$",
        "should be the host name in the certificate, without scheme and port",
    ),
]


class TlsEntry(Entry):
    """TLS towards an upstream behind https://: how it proves that it is the right one."""

    ca_file: FileName | None = Field(
        None, min_length=1, description="PEM file of the authorities to accept; the system's by default."
    )
    server_name: ServerName | None = Field(
        None,
        description="Name that the certificate has to have, and that is asked for; the URL's host by default.",
    )
    cert_file: FileName | None = Field(
        None, min_length=1, description="PEM file of the client certificate, with its chain."
    )
    key_file: FileName | None = Field(
        None, min_length=1, description="PEM file of the client certificate's key."
    )
    min_version: TlsVersion = Field("1.2", description="Lowest version of TLS that is spoken.")
    verify: Literal["full", "insecure"] = Field(
        "full",
        description="insecure: any certificate is accepted. Never in production; warned of at the start.",
    )


class Tls(Group):
    """TLS for clients at GATEWAY_LISTEN; off without a certificate. Files are read again when they change."""

    cert_file: FileNames = Field(
        (),
        description="PEM files of the certificates, each with its chain; comma-separated. The name that a client asks "
        "for (SNI) chooses; the first is for names that no certificate has.",
    )
    key_file: FileNames = Field((), description="PEM files of their keys, in the same order.")
    min_version: Literal["1.2", "1.3"] = Field("1.2", description="Lowest version of TLS that is spoken.")
    client_auth: Literal["off", "optional", "required"] = Field(
        "off",
        description="Client certificates: not asked for; checked if there is one; demanded. Upstreams are sent its "
        "subject and its names in X-Auth-Client-Subject and X-Auth-Client-SANs.",
    )
    client_ca_file: FileName | None = Field(
        None, description="PEM file of the authorities whose client certificates are accepted."
    )
    handshake_seconds: Seconds = Field(10, description="To complete a handshake; past that closed.")
    handshakes: int = Field(
        512,
        ge=1,
        le=65_535,
        description="Handshakes under way at most; past that the oldest one gives way to the newest.",
    )
    redirect_listen: Listen | None = Field(
        None,
        description="Address, host:port, at which HTTP without TLS is answered by 308 to https:// of the host that was "
        "asked for; paths below /.well-known/acme-challenge/ are served there as by GATEWAY_LISTEN. None by default.",
    )
    redirect_port: int = Field(443, ge=1, le=65_535, description="Port that those redirects lead to.")
