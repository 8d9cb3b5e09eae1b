"""A row more in the table of identity headers, as a change to the project would add one.

A plugin of pytest: it is loaded before anything reads the table.
"""

from __future__ import annotations

from authcore import identity_headers
from authcore.identity_headers import IdentityHeader

ROW = IdentityHeader(
    "user_locale",
    "X-User-Locale",
    "Carries the user's locale.",
    None,
    columns=("users.settings",),
    select="u.settings->>'locale'",
)

identity_headers.HEADERS = (*identity_headers.HEADERS, ROW)  # type: ignore[misc]  # what editing the table does
identity_headers.SELECTED = (ROW,)  # type: ignore[misc]
identity_headers.BY_KEY[ROW.key] = ROW
