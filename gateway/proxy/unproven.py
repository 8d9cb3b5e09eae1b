"""WebSockets that nobody has authenticated yet: which handshakes may be, and who may speak in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.errors import CredentialMissing, TokenRejected, UserDisabled

if TYPE_CHECKING:
    from authcore.errors import AuthError
    from authcore.principal import Principal
    from gateway.proxy.question import Question

EXTENSIONS: Final = frozenset({b"sec-websocket-extensions"})
"""What is not offered to an upstream where first messages are read: compressed ones, it alone could read."""


def is_unproven(question: Question, error: AuthError) -> bool:
    """Whether a handshake that is refused so may be made by nobody: its first message will say who it is.

    A cookie that is good no more comes by itself, and is as good as none. Whoever describes a handshake to have it
    decided on would show no message.
    """
    if question.decision or not question.head.upgrade:
        return False
    if question.credential == "cookie":
        return isinstance(error, TokenRejected | UserDisabled)
    return isinstance(error, CredentialMissing)


def is_same(one: Principal, other: Principal) -> bool:
    """Whether both act as the same user in the same organization."""
    return (one.user_id, one.organization_id) == (other.user_id, other.organization_id)
