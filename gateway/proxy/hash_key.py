"""Hash key: the part of a request from which its endpoint follows, for a consistent hash.

A request that has none (no such header, nobody signed in) goes wherever the upstream's policy chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

if TYPE_CHECKING:
    from gateway.proxy.decision_context import DecisionContext

By = Literal["header", "cookie", "user", "organization", "address"]
_LONGEST: Final = 4096
"""Bytes of a key that count: enough for any cookie (RFC 6265bis section 5.6)."""


@dataclass(frozen=True, slots=True)
class HashKey:
    """Hash key of an upstream: which part of a request it is made of.

    Attributes:
        by: The kind of the part: a header, a cookie, the user's id, that of the organization they act in, or the
            client's address.
        name: The lower-case name of the header, or the exact name of the cookie; else empty.
    """

    by: By
    name: bytes = b""

    def __str__(self) -> str:
        return f"{self.by}:{self.name.decode('ascii')}" if self.name else self.by

    def of(self, context: DecisionContext) -> bytes | None:
        """Return the key of a request; None if it has none."""
        if self.by == "header":
            key = context.head.first.get(self.name)
        elif self.by == "cookie":
            key = self._cookie(context)
        elif self.by == "address":
            key = None if context.parsed is None else context.parsed.origin.client.encode()
        else:
            key = self._caller(context)
        return key[:_LONGEST] if key else None

    def _cookie(self, context: DecisionContext) -> bytes | None:
        for line in context.head.every(b"cookie"):
            for pair in line.split(b";"):
                name, equals, value = pair.strip(b" \t").partition(b"=")
                if equals and name == self.name:
                    return value
        return None

    def _caller(self, context: DecisionContext) -> bytes | None:
        principal = context.principal if context.permit is None else context.permit.principal
        if principal is None:
            return None
        caller = principal.user_id if self.by == "user" else principal.organization_id
        return None if caller is None else caller.bytes


def parse_hash_key(text: str | None) -> HashKey | None:
    """Parse ``user``, ``organization``, ``address``, ``header:Name`` or ``cookie:name``; None stays None."""
    if text is None:
        return None
    by, _, name = text.partition(":")
    written = name.lower() if by == "header" else name
    return HashKey(cast("By", by), written.encode("ascii"))
