"""Table of identity headers: each row describes one header that tells an upstream about the caller.

A row gives an identity value its key, its header, the function that makes it, and the database columns it comes from.
Derived from the rows are the settings ``GATEWAY_HEADER_*``, the injected headers, the columns that the triggers report,
and the words that ``identity:`` accepts in a route file and in ``GATEWAY_UPSTREAM_IDENTITY``.
``tests/test_identity_headers.py`` compares README's table and the configurations in ``docs/integrations`` with the
rows.

Laws:

- This module imports nothing of ours at run time, so that ``config`` may import it. It may import one other module of
  ``authcore``, :mod:`authcore.database_url`.
- Every default name is in one of the ``FAMILIES``. A client's header of a family is never forwarded, whether a row
  names it or not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authcore.principal import Principal

FAMILIES: Final = ("x-user-", "x-org-", "x-auth-", "x-identity")
"""Prefixes of the names of identity headers, folded: lower case, with ``-`` for all but letters and digits."""

DASHED: Final = bytes(b if chr(b).isalnum() and b < 128 else ord("-") for b in range(256))  # noqa: PLR2004 -- ASCII
"""Translation table: all bytes but ASCII letters and digits become ``-``, as the most careless server reads a name."""

ALL: Final = "all"
NONE: Final = "none"
_LEFT_OUT: Final = "-"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class IdentityHeader:
    """One row of the table: an identity header.

    Attributes:
        key: The last part of the setting that names the header, ``GATEWAY_HEADER_<KEY>``, and the word for it in
            ``identity:``.
        name: The header's default name.
        description: What the header carries, for the settings' page.
        value: Makes the header's text from a principal; empty text sends no header. None if the text is made for each
            request, or if `select` gives it.
        columns: The columns it comes from, as ``table.column``: the triggers report a change of one.
        select: An SQL expression over the statement of ``authcore/store/subjects.py``, for a value that principals do
            not carry anyway; its text becomes an attribute of the principal.
        sent: True if it is sent under the default name. If not, it is sent when the setting names it.
        decides: True if services make decisions by it. Such a value is never sent other than as it is stored: a control
            character in it refuses the request. In the others, which are for display, it becomes a space.
    """

    key: str
    name: str
    description: str
    value: Callable[[Principal], str] | None
    columns: tuple[str, ...] = ()
    select: str = ""
    sent: bool = True
    decides: bool = True

    @property
    def setting(self) -> str:
        """Name of the setting that names the header."""
        return f"GATEWAY_HEADER_{self.key.upper()}"

    def of(self, principal: Principal) -> str:
        """Return the header's text for a principal; empty if there is none."""
        if self.value is not None:
            return self.value(principal)
        return dict(principal.attributes).get(self.key, "")


HEADERS: Final[tuple[IdentityHeader, ...]] = (
    IdentityHeader("user_id", "X-User-ID", "Carries the user's id.", lambda who: str(who.user_id)),
    IdentityHeader(
        "user_email", "X-User-Email", "Carries the user's e-mail.", lambda who: who.email, ("users.email",)
    ),
    IdentityHeader(
        "user_name",
        "X-User-Name",
        "Carries the user's full name.",
        lambda who: who.name,
        ("users.full_name",),
        decides=False,
    ),
    IdentityHeader(
        "user_role",
        "X-User-Role",
        "Carries the name of the role.",
        lambda who: who.role,
        ("users.role_id", "user_organizations.role_id", "custom_roles.name", "custom_roles.deleted_at"),
        decides=False,
    ),
    IdentityHeader(
        "user_role_id",
        "X-User-Role-ID",
        "Carries the role's id.",
        lambda who: str(who.role_id or ""),
        ("users.role_id", "user_organizations.role_id", "custom_roles.deleted_at"),
    ),
    IdentityHeader(
        "user_permissions",
        "X-User-Permissions",
        "Carries the permissions, comma-joined and sorted.",
        lambda who: ",".join(sorted(who.permissions)),
        (
            *("role_permissions.permission_id", "role_permissions.custom_role_id"),
            *("permissions.resource", "permissions.action", "permissions.deleted_at"),
        ),
    ),
    IdentityHeader(
        "user_super_admin",
        "X-User-Super-Admin",
        "Carries true or false.",
        lambda who: "true" if who.is_super_admin else "false",
        ("users.is_super_admin",),
    ),
    IdentityHeader(
        "org_id",
        "X-Org-ID",
        "Carries the organization acted in.",
        lambda who: str(who.organization_id),
        ("users.organization_id", "user_organizations.organization_id"),
    ),
    IdentityHeader(
        "auth_method",
        "X-Auth-Method",
        "Carries how the caller proved itself.",
        lambda who: who.method.public_name,
    ),
    IdentityHeader(
        "auth_key_id",
        "X-Auth-Key-ID",
        "Carries the API key used, when one was.",
        lambda who: str(who.key_id or ""),
    ),
    IdentityHeader(
        "identity",
        "X-Identity",
        "Carries the signed identity, with GATEWAY_SIGNED_IDENTITY.",
        None,  # made for each request, in gateway/proxy/signing.py
    ),
    IdentityHeader(
        "session_id",
        "X-Auth-Session-ID",
        "Carries the id of the session, when there is one; without a name it is not sent.",
        lambda who: str(who.session_id or ""),
        sent=False,
    ),
)

SIGNED: Final = "identity"
"""Key of the signed identity's row."""

SESSION: Final = "session_id"
"""Key of the session's row, which the gateway's own application is sent under the default name."""

BY_KEY: Final = {header.key: header for header in HEADERS}

SESSION_HEADER: Final = BY_KEY[SESSION].name
CREDENTIAL_HEADER: Final = "X-Auth-Credential"
OWN_KEY_HEADER: Final = "X-Auth-Own-Key-ID"
EXPIRY_HEADER: Final = "X-Auth-Expires-At"

HOSTED: Final[tuple[tuple[str, Callable[[Principal], str]], ...]] = (
    (SESSION_HEADER, lambda who: str(who.session_id or "")),
    (CREDENTIAL_HEADER, lambda who: who.method.value),
    (OWN_KEY_HEADER, lambda who: str(who.key_id or "")),
    (EXPIRY_HEADER, lambda who: "" if who.expires_at is None else str(who.expires_at)),
)
"""What the gateway's own application is sent besides, under these names alone: what a caller's credential may found."""

CLIENT_CERTIFICATE: Final = ("X-Auth-Client-Subject", "X-Auth-Client-SANs")
"""Names of the headers with subject and names of the client certificate, which are the connection's and no caller's."""

SELECTED: Final = tuple(header for header in HEADERS if header.select)
"""The rows whose value the statement of subjects selects."""


def holds_controls(text: str) -> bool:
    """Return whether a text holds a control character, which no header may hold."""
    return _CONTROL.search(text) is not None


def displayed(text: str) -> str:
    """Return a text for display as a header carries it: a space for each control character, and none at the ends."""
    return _CONTROL.sub(" ", text).strip()


def columns_of(table: str) -> frozenset[str]:
    """Return the columns of a table from which some header is made."""
    pairs = (column.split(".") for header in HEADERS for column in header.columns)
    return frozenset(column for of, column in pairs if of == table)


def withheld(words: Iterable[str]) -> frozenset[str]:
    """Return the keys of the headers that an upstream is not sent, from an operator's words.

    Args:
        words: ``all``; ``none``; keys of the headers to send; or keys with a ``-`` before each, to send all but those.

    Returns:
        The keys; equal sets are one object, so that they can be compared by identity (`is`).

    Raises:
        ValueError: a word is none of these, or they contradict each other; the text says what to write.
    """
    keys = _withheld(words)
    return _ONE_OF_EACH.setdefault(keys, keys)


def in_words(keys: frozenset[str]) -> str:
    """Describe, in the words of the setting, what an upstream is sent if the headers of these keys are withheld."""
    if len(keys) in {0, len(BY_KEY)}:
        return NONE if keys else ALL
    return ",".join(f"{_LEFT_OUT}{key}" for key in BY_KEY if key in keys)


_ONE_OF_EACH: Final[dict[frozenset[str], frozenset[str]]] = {}
"""Interned sets: as many as an operator has written."""


def _withheld(words: Iterable[str]) -> frozenset[str]:
    named = tuple(dict.fromkeys(words))
    if not named:
        raise ValueError(f"should be {ALL}, {NONE} or names of identity headers; {NONE} sends none")
    if named in {(ALL,), (NONE,)}:
        return frozenset() if named == (ALL,) else frozenset(BY_KEY)
    for alone in (ALL, NONE):
        if alone in named:
            raise ValueError(
                f"{alone} stands alone; to leave a header out of all, write its name with a - before it"
            )
    left_out = [word.startswith(_LEFT_OUT) for word in named]
    if any(left_out) != all(left_out):
        raise ValueError("names with a - before them are left out of all; keep either those or the others")
    keys = frozenset(word.removeprefix(_LEFT_OUT) for word in named)
    for unknown in sorted(keys - BY_KEY.keys()):
        raise ValueError(f"no identity header is called {unknown!r}; there are {', '.join(BY_KEY)}")
    return keys if all(left_out) else frozenset(BY_KEY) - keys
