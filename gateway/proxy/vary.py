"""Vary of an answer: it names the client's fields in the place of those that the gateway made of them.

A service that answers by the caller says ``Vary: X-User-ID``. No client sends that field, so a cache between client and
gateway would find all callers' requests the same, and give one caller the answer of another. The gateway made the field
of the client's credential, so the answer varies by the fields that hold one.

Laws:

- Where an upstream's Vary names a field that the gateway makes, the answer's Vary names every field that it is made of.
  What the upstream named stays.
- An answer has one Vary line, with all its members: caches such as nginx before 1.23 read the last line alone.
- ``*`` says more than any name, and stands alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.identity_headers import FAMILIES
from gateway.proxy.headers import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ANYTHING: Final = b"*"
_ORIGIN: Final = b"Origin"
_FAMILIES: Final = tuple(family.encode("ascii") for family in FAMILIES)


class VaryPolicy:
    """Vary policy, compiled for one configuration of header names."""

    __slots__ = ("_made", "_sources")

    def __init__(self, names: Iterable[str | None] = (), *, cookies: bool = False) -> None:
        """`names` are those of the identity headers, whatever they are called. With `cookies`, a session may be in one.

        Then the upstream's Authorization may have been made of a cookie as well.
        """
        made = {fold(name.encode("ascii")) for name in names if name is not None}
        self._made = frozenset(made | {b"authorization"} if cookies else made)
        sources = (b"Authorization", b"X-API-Key", b"X-Organization-ID")
        self._sources = (*sources, b"Cookie") if cookies else sources

    def value(self, values: Sequence[bytes], *, origin: bool) -> bytes:
        """Return the value for the client.

        Args:
            values: The values of the upstream's lines.
            origin: The gateway's CORS policy decides about the answer, so it varies by Origin.
        """
        named = [member for value in values for one in value.split(b",") if (member := one.strip(b" \t"))]
        if _ANYTHING in named:
            return _ANYTHING
        if any(self._is_made(name) for name in named):
            named += self._sources
        if origin:
            named.append(_ORIGIN)
        once: dict[bytes, bytes] = {}
        for name in named:
            once.setdefault(name.lower(), name)
        return b", ".join(once.values())

    def _is_made(self, name: bytes) -> bool:
        folded = fold(name)
        return folded in self._made or folded.startswith(_FAMILIES)
