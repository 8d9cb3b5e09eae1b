"""Verdict: the decision of the store on a credential, as the resolver makes it and the verdict cache holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from authcore.errors import AuthError
    from authcore.principal import Principal

UNKNOWN_KEY: Final = UUID(int=0)
"""Placeholder row of an unknown API key, which has no rows: a change of any API key counts as a change of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict of the store on a credential: the principal or the refusal, and the rows that it came from.

    Attributes:
        alias_of: The cache key of the credential without an organization, if the organization asked for was ignored:
            the principal is stored under that key. None otherwise.
    """

    rows: frozenset[UUID]
    principal: Principal | None = None
    refusal: type[AuthError] | None = None
    alias_of: bytes | None = None
