"""Audit records and their hash chain: the canonical bytes of a row, its link to the row before it, and their check.

Laws:

- Two different rows have different canonical bytes: each part has its length before it.
- A row's hash is the SHA-256 of the hash before it and its own canonical bytes. So a row that is changed, missing,
  added or moved breaks the chain there, or at the next row.
- PostgreSQL computes the hashes (migration 0028), and this module computes them again without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

BEGINNING: Final = bytes(32)
"""The hash before the first row."""


class Event(StrEnum):
    """Event of the audit trail; the values are stable."""

    SIGN_IN = "sign_in"
    SSO_SIGN_IN = "sso_sign_in"
    REGISTER = "register"
    REFRESH_REUSE = "refresh_reuse"
    SWITCH_ORGANIZATION = "switch_organization"
    LOGOUT = "logout"
    END_SESSION = "end_session"
    END_SESSIONS = "end_sessions"
    SSO_LOGOUT = "sso_logout"
    CHANGE_PASSWORD = "change_password"  # noqa: S105 -- the name of an event
    CREATE_INVITATION = "create_invitation"
    REVOKE_INVITATION = "revoke_invitation"
    CREATE_API_KEY = "create_api_key"
    SWITCH_API_KEY = "switch_api_key"
    DELETE_API_KEY = "delete_api_key"
    REVOKE_API_KEY = "revoke_api_key"
    CREATE_ORGANIZATION = "create_organization"
    CREATE_USER = "create_user"
    DISABLE_USER = "disable_user"
    ENABLE_USER = "enable_user"
    SET_PASSWORD = "set_password"  # noqa: S105 -- the name of an event
    UNLOCK_USER = "unlock_user"
    UNLOCK_ADDRESS = "unlock_address"
    VOUCH_FOR_USERS = "vouch_for_users"
    ADD_MEMBER = "add_member"
    REMOVE_MEMBER = "remove_member"
    CHANGE_ROLE = "change_role"
    SET_QUOTA = "set_quota"
    CLEAR_QUOTA = "clear_quota"
    MIGRATE = "migrate"
    RECORDS_LOST = "records_lost"
    REFUSALS_OMITTED = "refusals_omitted"
    RETENTION = "retention"


class AuditOutcome(StrEnum):
    """Outcome of what was tried.

    ``refused`` by a rule, or ``failed`` by an outage or a fault of the gateway's.
    """

    SUCCESS = "success"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Audit record: what was tried, by whom, from where, and how it ended. Absent parts are None.

    Attributes:
        at: When it happened, by the clock that all gateways share.
        event, outcome: What, and how it ended; ``Event`` and ``AuditOutcome`` have the values.
        reason: Why it was refused or failed, as a bounded word.
        user_id, api_key_id, session_id: Who, as far as it is proved: the user, and the API key or session used.
        email: The e-mail that a sign-in named, proved or not.
        organization_id: The organization acted in.
        operator: The operating-system user of a command.
        target: The id or name of what was changed.
        address, user_agent, request_id: From where, as the gateway judged it, and the id of the request.
        details: Further facts as a JSON object.
    """

    at: datetime
    event: str
    outcome: str
    reason: str | None = None
    user_id: UUID | None = None
    email: str | None = None
    organization_id: UUID | None = None
    api_key_id: UUID | None = None
    session_id: UUID | None = None
    operator: str | None = None
    target: str | None = None
    address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    details: str = "{}"

    @property
    def facts(self) -> Mapping[str, object]:
        """The details, parsed; empty if they are no JSON object, as somebody has changed them."""
        try:
            found = json.loads(self.details)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def parts(self) -> Iterator[tuple[str, object]]:
        """Yield the name and value of every part that is there, except the details."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name != "details":
                yield field.name, value


class ChainedRow(NamedTuple):
    """Row of the trail: a record, and its place in the chain.

    Attributes:
        seq: Its number; the first is 1, and none is left out.
        written_at: When it was written.
        writer: The process that wrote it.
        hash: The hash that the row has.
        record: The record.
    """

    seq: int
    written_at: datetime
    writer: UUID
    hash: bytes
    record: AuditRecord


class ChainPosition(NamedTuple):
    """Position in the chain: a row's number and hash."""

    seq: int
    hash: bytes


class Head(NamedTuple):
    """Ends of the chain.

    Attributes:
        last: The last row.
        dropped: The last row that retention has dropped; number 0 if it has dropped none.
    """

    last: ChainPosition
    dropped: ChainPosition


def canonical(row: ChainedRow) -> bytes:
    """Return the bytes of a row that are hashed."""
    record = row.record
    parts = (
        str(row.seq),
        _moment(row.written_at),
        _moment(record.at),
        record.event,
        record.outcome,
        record.reason,
        _id(record.user_id),
        record.email,
        _id(record.organization_id),
        _id(record.api_key_id),
        _id(record.session_id),
        record.operator,
        record.target,
        record.address,
        record.user_agent,
        record.request_id,
        record.details,
        str(row.writer),
    )
    return ",".join("-" if part is None else f"{len(part.encode())}:{part}" for part in parts).encode()


def link(before: bytes, row: ChainedRow) -> bytes:
    """Return the hash that a row has after a row with the hash `before`."""
    return sha256(before + canonical(row)).digest()


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _id(one: UUID | None) -> str | None:
    return None if one is None else str(one)


class ChainCheck:
    """Check of a chain, row by row.

    Attributes:
        rows: How many rows have been checked.
        last: The last row that was checked, or what the chain begins after.
        broken: The first break, in words; empty while there is none.
    """

    def __init__(self, dropped: ChainPosition, expected: ChainPosition | None = None) -> None:
        """Begin after the row `dropped`; `expected` is a row that was noted elsewhere, at an earlier time."""
        self.rows = 0
        self.last = dropped
        self.broken = ""
        self._expected = expected

    def take(self, row: ChainedRow) -> None:
        """Check the next row, by number; nothing after the first break."""
        if self.broken:
            return
        wanted = self.last.seq + 1
        if row.seq > wanted:
            self.broken = f"{_rows(wanted, row.seq - 1)} missing before row {row.seq}"
        elif row.seq < wanted:
            self.broken = f"row {row.seq} is there twice, or was dropped already"
        elif row.hash != link(self.last.hash, row):
            before = f", or the hash of row {row.seq - 1}," if row.seq > 1 else ""
            self.broken = f"row {row.seq}{before} is not what was written"
        elif self._expected is not None and row.seq == self._expected.seq and row.hash != self._expected.hash:
            self.broken = f"row {row.seq} has another hash than the expected one: the chain was written anew"
        else:
            self.rows += 1
            self.last = ChainPosition(row.seq, row.hash)

    def end(self, head: Head) -> None:
        """Check that the chain ends where the head does."""
        if self.broken:
            return
        if self.last.seq < head.last.seq:
            self.broken = f"{_rows(self.last.seq + 1, head.last.seq)} missing at the end"
        elif self.last.seq > head.last.seq:
            self.broken = f"{_rows(head.last.seq + 1, self.last.seq)} beyond the end that the head names"
        elif self.last.hash != head.last.hash:
            self.broken = f"row {self.last.seq} has another hash than the head names"
        elif self._expected is not None and self.last.seq < self._expected.seq:
            self.broken = (
                f"{_rows(self.last.seq + 1, self._expected.seq)} missing at the end, and in the head"
            )


def _rows(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"
