"""Permit: the proof that a principal met a requirement.

Law: only :func:`authcore.authorize.authorize` makes one. ``tests/test_house.py`` verifies that no other module names
its constructor, and the constructor refuses callers without the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from authcore.principal import Principal

_PERMIT_KEY: Final = object()


class Permit:
    """Proof that a principal met a requirement; ``prepare`` takes nothing else.

    Attributes:
        principal: The caller.
    """

    __slots__ = ("principal",)

    def __init__(self, key: object, principal: Principal) -> None:
        if key is not _PERMIT_KEY:
            raise TypeError("a Permit is made by authorize() alone")
        self.principal: Final = principal
