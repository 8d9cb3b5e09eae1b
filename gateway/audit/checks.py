"""List of all checks of the audit, in the order in which they run: failed sign-ins last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.audit import browsers, identity, messages, surface

if TYPE_CHECKING:
    from gateway.audit.check import Check

CHECKS: Final[tuple[Check, ...]] = (*identity.CHECKS, *messages.CHECKS, *surface.CHECKS, *browsers.CHECKS)
