"""Anonymous WebSocket handshakes: which are allowed, and whether a first message proves the same caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.errors import CredentialMissing, TokenRejected, UserDisabled

if TYPE_CHECKING:
    from authcore.errors import AuthError
    from authcore.principal import Principal
    from gateway.proxy.decision_context import DecisionContext

EXTENSIONS: Final = frozenset({b"sec-websocket-extensions"})
"""Extensions that are not offered to an upstream where first messages are read: only it could read compressed ones."""


def is_unproven(context: DecisionContext, error: AuthError) -> bool:
    """Return whether a handshake that is refused with `error` may be anonymous: its first message authenticates it.

    A browser sends an expired cookie by itself, so it counts as none. A described handshake may not be anonymous: the
    gateway would not see its messages.
    """
    if context.decision or not context.head.upgrade:
        return False
    if context.credential == "cookie":
        return isinstance(error, TokenRejected | UserDisabled)
    return isinstance(error, CredentialMissing)


def is_same(one: Principal, other: Principal) -> bool:
    """Return whether both act as the same user in the same organization."""
    return (one.user_id, one.organization_id) == (other.user_id, other.organization_id)
