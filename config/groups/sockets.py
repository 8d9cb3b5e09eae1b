"""Settings of WebSockets."""

from __future__ import annotations

from pydantic import Field

from config.fields import Group, Seconds


class Ws(Group):
    """WebSockets of callers, and the tickets that open them."""

    ticket_seconds: int = Field(30, ge=1, le=600, description="Lifetime of a ticket; it opens one socket.")
    max_seconds: Seconds = Field(
        43_200, description="A socket is closed with 4401 after this, whatever it was opened with; 12 hours."
    )
