"""Order of several tokens of one kind: the genuine ones among the candidates, the newest first.

Law: a token is genuine by its signature, kind and time. Only the store knows whether its session goes on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from authcore.errors import TokenRejected
from authcore.tokens.claims import AccessClaims, RefreshClaims

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authcore.tokens.issuer import Tokens

C = TypeVar("C", AccessClaims, RefreshClaims)


def newest_first(
    tokens: Tokens, candidates: Iterable[bytes], kind: type[C], now: float
) -> list[tuple[bytes, C]]:
    """Return the candidates that verify as tokens of `kind`, with their claims, the one issued last first.

    Args:
        tokens: Verifies them.
        candidates: Tokens in the order of the header that they came in.
        kind: Which claims a genuine one has.
        now: POSIX seconds.

    ``iat`` counts whole seconds. Of two tokens from the same second the later candidate comes first, because browsers
    send cookies with longer paths, and older cookies, first (RFC 6265 section 5.4).
    """
    genuine: list[tuple[bytes, C]] = []
    for candidate in candidates:
        try:
            genuine.append((candidate, tokens.verify(candidate, kind, now)))
        except TokenRejected:
            continue
    genuine.reverse()
    genuine.sort(key=lambda one: -math.inf if one[1].issued_at is None else one[1].issued_at, reverse=True)
    return genuine
