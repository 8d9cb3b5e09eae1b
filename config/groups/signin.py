"""Settings of signing in and up: how many attempts may fail, and who may register."""

from __future__ import annotations

from pydantic import Field

from config.fields import Group, Seconds


class Signin(Group):
    """Failed attempts at passwords, counted in the database for all replicas."""

    free_failures: int = Field(
        5, ge=1, le=1000, description="Failures of one e-mail within the window that cost no wait."
    )
    address_free_failures: int = Field(
        50,
        ge=1,
        le=100_000,
        description="Failures from one client address (IPv6: one /64) within the window that cost no wait.",
    )
    window_seconds: Seconds = Field(3600, description="In this time the free failures are there again.")
    delay_seconds: Seconds = Field(
        1, description="Wait after the last free failure; each failure after it doubles the next."
    )
    delay_max_seconds: Seconds = Field(900, description="The longest wait.")
    hold_seconds: float = Field(
        2,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="A wait up to this is served by answering later; past it 429 with Retry-After.",
    )
    known_seconds: Seconds = Field(
        30 * 86_400,
        description="An address where a sign-in succeeded is not shut out by failures elsewhere for this long.",
    )
    known_addresses: int = Field(10, ge=1, le=1000, description="Such addresses of one e-mail at most.")


class Invitation(Group):
    """Invitations to register."""

    seconds: int = Field(
        7 * 86_400, ge=60, le=366 * 86_400, description="How long one is good for that says nothing else."
    )
    per_user: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Invitations that one user has made and whose time is not over, at most, used or not; one more is "
        "refused. Commands are not bound by it.",
    )
