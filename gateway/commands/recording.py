"""Recording of commands in the audit trail: what was changed, and which operating-system user did it.

Laws:

- What a command has changed is recorded after it, over the connection that the command has. If that fails, the command
  says so on standard error; the change is done.
- The user is that of the process, by its ids: no variable of the environment has a say.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import click

from authcore.errors import StoreUnavailable
from authcore.moments import moment
from authcore.store.failures import classify
from authcore.trail import AuditOutcome, AuditRecord, Event
from gateway.logs import masked
from gateway.trail.texts import clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from authcore.store.clock import DatabaseClock
    from authcore.store.postgres import PostgresStore

_LOGIN: Final = Path("/proc/self/loginuid")
_NO_LOGIN: Final = 0xFFFF_FFFF


def operator() -> str:
    """Return the operating-system user of this process, who they logged in as if that is another, and the host.

    By the ids of the process, and by no variable: ``deploy as root on host-1``.
    """
    if sys.platform == "win32":
        return f"somebody on {socket.gethostname()}"
    user, login = os.getuid(), _login()
    who = _name(user) if login in {None, user} else f"{_name(login)} as {_name(user)}"
    return f"{who} on {socket.gethostname()}"


def _login() -> int | None:
    try:
        found = int(_LOGIN.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if found == _NO_LOGIN else found


def _name(uid: int | None) -> str:
    import pwd  # noqa: PLC0415 -- Windows does not have it

    if uid is not None:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            pass
    return f"uid {uid}"


class CommandTrail:
    """Audit trail of one command; `is_on` is GATEWAY_AUDIT_TABLE."""

    def __init__(self, store: PostgresStore, clock: DatabaseClock, *, is_on: bool) -> None:
        self._store = store
        self._clock = clock
        self._is_on = is_on
        self._writer = uuid4()
        self._number = 0

    async def record(  # noqa: PLR0913 -- a record, by name
        self,
        event: Event,
        *,
        target: object = None,
        organization_id: UUID | None = None,
        session_id: UUID | None = None,
        email: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Record a change that is done; `target` is the id of what was changed."""
        if not self._is_on:
            return
        self._number += 1
        record = AuditRecord(
            at=moment(await self._clock.sure()),
            event=event,
            outcome=AuditOutcome.SUCCESS,
            operator=clean(operator()),
            target=None if target is None else clean(str(target)),
            organization_id=organization_id,
            session_id=session_id,
            email=clean(email),
            details=masked(json.dumps(details or {}, default=str)),
        )
        try:
            await self._store.append_trail(self._writer, self._number, [record])
        except StoreUnavailable as error:
            reason = classify(error.__cause__).sentence
            click.echo(f"warning: done, but not recorded in the audit trail: {reason}", err=True)
