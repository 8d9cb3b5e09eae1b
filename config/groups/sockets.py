"""Settings of WebSockets and streams."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.fields import Group, Seconds


class Ws(Group):
    """WebSockets of callers, and the tickets that open them."""

    ticket_seconds: int = Field(30, ge=1, le=600, description="Lifetime of a ticket; it opens one socket.")
    auth: Literal["message", "required"] = Field(
        "message",
        description="message: /ws is opened without a credential, and its first message brings one, as Whatomate's "
        "clients have it; required: the handshake has to bring one.",
    )
    auth_seconds: Seconds = Field(
        6,
        description="A socket that nobody has authenticated is closed with 1008 after this; Whatomate gives it 5.",
    )
    unproven: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="Sockets at once that nobody has authenticated yet; past that the oldest of the network with "
        "most of them gives way.",
    )
    # Less than a session, and Whatomate's pages lose their socket for good: they ask for one ticket, without a refresh.
    max_seconds: Seconds = Field(
        30 * 86_400,
        description="A socket is closed with 4401 after this, whatever it was opened with; 30 days, as long as a "
        "session lasts.",
    )


class Stream(Group):
    """Long requests and answers of callers: uploads, downloads, event streams."""

    max_seconds: Seconds = Field(
        43_200,
        description="A request or answer of a caller is broken off after this, if its body still flows; 12 hours.",
    )
