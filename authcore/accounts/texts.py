"""Text rules: which e-mails and names are accepted, and which texts a row can hold."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from uuid import UUID

from authcore.errors import EmailUnacceptable, NameUnacceptable, SlugUnacceptable

SLUG_LENGTH: Final = 100
_LENGTH: Final = 255
_SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
# The mail server decides which addresses exist. These patterns exclude what could break a header, a log or a query.
_EMAIL: Final = re.compile(r"[^\s@\x00-\x20\x7f-\x9f\ud800-\udfff]+@[^\s@\x00-\x20\x7f-\x9f\ud800-\udfff]+\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Unicode's Default_Ignorable_Code_Point as far as str.isprintable() lets it pass, and the empty pattern of Braille.
_INVISIBLE: Final = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_UNWRITABLE: Final = re.compile(r"[\x00\ud800-\udfff]")


def as_id(text: str) -> UUID | None:
    """Return the id that `text` is, with hyphens or without; None if it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def is_searchable(email: str) -> bool:
    """Return whether a row may hold `email`: no column holds what PostgreSQL cannot store."""
    return len(email) <= _LENGTH and _UNWRITABLE.search(email) is None


def acceptable_name(name: str) -> str:
    """Return `name`, trimmed.

    Raises:
        NameUnacceptable: it is empty, too long, or would break out of a header.
    """
    name = name.strip()
    if not name or len(name) > _LENGTH or _CONTROL.search(name) is not None:
        raise NameUnacceptable
    return name


def acceptable_email(email: str) -> str:
    """Return `email`, trimmed.

    Raises:
        EmailUnacceptable: it cannot be an address, or it looks like another one: it holds what nobody sees (U+200B, a
            soft hyphen, a filler), ends with a dot, or is not in normalization form C (RFC 6532 section 3.1).
    """
    email = email.strip()
    looks_like_another = (
        not email.isprintable()
        or email.endswith(".")
        or _INVISIBLE.search(email) is not None
        or not unicodedata.is_normalized("NFC", email)
    )
    if len(email) > _LENGTH or _EMAIL.match(email) is None or looks_like_another:
        raise EmailUnacceptable
    return email


def acceptable_slug(slug: str) -> str:
    """Return `slug`.

    Raises:
        SlugUnacceptable: it is too long, is not words of a-z and 0-9 with a hyphen between, or is an id.
    """
    if len(slug) > SLUG_LENGTH or _SLUG.match(slug) is None or as_id(slug) is not None:
        raise SlugUnacceptable
    return slug


def slug_of(name: str, mark: str = "") -> str:
    """Return a slug for an organization's name, which ends with `mark` to tell it from another's."""
    room = SLUG_LENGTH - len(mark) - 1
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:room].strip("-") or "organization"
    slug = f"{words}-{mark}" if mark else words
    return slug if as_id(slug) is None else f"organization-{slug}"
