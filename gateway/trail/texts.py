"""Texts of clients as the audit trail stores them: printable, shortened, and without what looks like a credential."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from gateway.logs import masked

if TYPE_CHECKING:
    from authcore.trail import AuditRecord

LONGEST: Final = 256
"""Characters of a text in a record; what is longer is cut."""
_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_NO_TEXT: Final = ("Cc", "Cf", "Cs")
"""Controls, marks of direction, and bytes that were no UTF-8: they would forge lines, or be refused by PostgreSQL."""


def clean(text: str | None) -> str | None:
    """Return a text for a record; None if nothing is left of it."""
    if text is None:
        return None
    text = text[: 4 * LONGEST]
    if not text.isprintable():
        text = "".join(one for one in text if unicodedata.category(one) not in _NO_TEXT)
    return masked(text)[:LONGEST].strip() or None


def named_email(text: str | None) -> str | None:
    """Return the e-mail that a sign-in names; None if it has not the form of one: it may be a mistyped password."""
    found = clean(text)
    return found if found is not None and _EMAIL.fullmatch(found) else None


def plain(record: AuditRecord) -> AuditRecord:
    """Return a record whose texts are ASCII, for a database that cannot hold their characters: others are escaped."""
    texts = {name: value for name, value in record.parts() if isinstance(value, str) and not value.isascii()}
    details = json.dumps(record.facts) if not record.details.isascii() else record.details
    if not texts and details == record.details:
        return record
    escaped: dict[str, Any] = {
        name: value.encode("ascii", "backslashreplace").decode() for name, value in texts.items()
    }
    return replace(record, **escaped, details=details)
