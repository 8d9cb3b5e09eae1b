"""Settings of TLS: towards upstreams, for clients, and for the admin listener."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from config.fields import shaped


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


class TlsEntry(BaseModel):
    """How an upstream behind https:// is proved to be the right one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    ca_file: str | None = Field(
        None, min_length=1, description="PEM file of the authorities to accept; the system's by default."
    )
    server_name: ServerName | None = Field(
        None,
        description="Name that the certificate has to have, and that is asked for; the URL's host by default.",
    )
    cert_file: str | None = Field(
        None, min_length=1, description="PEM file of the client certificate, with its chain."
    )
    key_file: str | None = Field(None, min_length=1, description="PEM file of the client certificate's key.")
    min_version: TlsVersion = Field("1.2", description="Lowest version of TLS that is spoken.")
    verify: Literal["full", "insecure"] = Field(
        "full",
        description="insecure: any certificate is accepted. Never in production; warned of at the start.",
    )
