"""Frozen rows about attempts at a password, which the store is given or returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """Limits of the sign-in throttle.

    Attributes:
        free_failures: Failures of one e-mail within the window that cost no wait.
        address_free_failures: The same of one address, over all e-mails.
        window_seconds: In this time a full bucket leaks empty.
        delay_seconds: The first wait; each failure after it doubles the next.
        delay_max_seconds: The longest wait.
        hold_seconds: A wait up to this is served by the gateway; past it the attempt is refused.
        known_seconds: An address where a sign-in succeeded is known for this long.
        known_addresses: Known addresses of one e-mail at most; the newest stay.
    """

    free_failures: int = 5
    address_free_failures: int = 50
    window_seconds: float = 3600
    delay_seconds: float = 1
    delay_max_seconds: float = 900
    hold_seconds: float = 2
    known_seconds: float = 30 * 86_400
    known_addresses: int = 10


class CountedName(StrEnum):
    """Kind of the name that attempts are counted by, beside their address. Names of two kinds share no counter."""

    EMAIL = "email"
    KEY = "key"
    INVITATION = "invitation"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAttempt:
    """An attempt that asks for its turn.

    Attributes:
        email: The name that it is counted by: an e-mail, or what stands for a key or an invitation.
        kind: Kind of that name.
        address: Where it comes from.
        network: What of that is counted as one client.
        known_since: Addresses used since then are known.
        has_session: It is counted with those of the account's sessions, instead of with those of its e-mail.
    """

    email: str
    address: str
    network: str
    at: datetime
    known_since: datetime
    has_session: bool = False
    kind: CountedName = CountedName.EMAIL


@dataclass(frozen=True, slots=True)
class Reserved:
    """The counters in which an attempt has been counted.

    Attributes:
        address: Where the attempt comes from.
        counted_address: The address's own counter; None where it was passed.
        counted_email: The e-mail's own counter; None where it was passed.
    """

    address: bytes
    counted_address: bytes | None
    counted_email: bytes | None
    email: bytes
    pair: bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """Turn of an attempt: when it may be tried.

    Attributes:
        reserved: Where it has been counted; None when it is refused.
        wait_seconds: From now to its turn.
        is_known: It comes from where the e-mail was signed in before, or with a session of it.
        passed_seconds: Wait of an unknown address in its place; None if an unknown address would not wait.
    """

    reserved: Reserved | None
    wait_seconds: float
    is_known: bool = False
    passed_seconds: float | None = None
