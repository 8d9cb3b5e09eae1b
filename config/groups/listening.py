"""Settings of Unix sockets and of the PROXY protocol on the public listener."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.fields import Group, Networks, shaped

_Mode = Annotated[str, *shaped(r"^0?[0-7]{3}$", "should be the octal mode of a file, such as 0660")]
_Owner = Annotated[
    str,
    *shaped(
        r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
        "should be user, user:group or :group, by name or number",
    ),
]


class Unix(Group):
    """Unix sockets in GATEWAY_LISTEN: files that only processes of this machine, or pod, can connect to."""

    mode: _Mode = Field("0660", description="Mode of the socket's file: who may write to it may connect.")
    owner: _Owner = Field(
        "",
        description="Owner of the socket's file, user:group by name or number; without it the gateway's own. "
        "Another user needs CAP_CHOWN.",
    )
    trusted: bool = Field(
        default=False,
        description="Whether X-Forwarded-* and X-Request-ID are believed of whatever connects by a Unix socket, as "
        "of GATEWAY_TRUSTED_PROXIES. Such a client has no address of its own.",
    )


class Proxy(Group):
    """PROXY protocol: a proxy in front writes the client's address before the first byte of a connection."""

    protocol_from: Networks = Field(
        (),
        description="Networks whose connections begin with a PROXY header, version 1 or 2; one without is closed. "
        "Connections from elsewhere are not read for it. None by default.",
    )
    protocol_unix: bool = Field(
        default=False,
        description="Whether connections by a Unix socket in GATEWAY_LISTEN begin with one too.",
    )
