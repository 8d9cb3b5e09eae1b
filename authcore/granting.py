"""Law of granting: whether somebody may hand out a role, and what they lack for it.

It is asked when an invitation is made, and again in the transaction that spends it: a right is judged when it is used.
So is the right to make an API key, in the statement that stores it (:mod:`authcore.store.keys`).

Laws:

- A user who hands out a role is active, acts in its organization, and may write users there.
- Nobody grants what they have not: the role permits nothing that they lack. A super admin lacks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.errors import ApiKeyRevoked, PermissionDenied, TokenRevoked

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from authcore.errors import AuthError
    from authcore.store.rows import NewApiKey, Subject

INVITE: Final = "users:write"
"""The permission to invite."""


def may_invite(inviter: Subject | None) -> bool:
    """Return whether a user, as seen in the organization of an invitation, may invite to it."""
    if inviter is None or not inviter.is_active or not inviter.may_act:
        return False
    return inviter.is_super_admin or INVITE in inviter.permissions


def lacking(inviter: Subject, granted: AbstractSet[str]) -> frozenset[str]:
    """Return the permissions of a role that the inviter lacks."""
    return frozenset() if inviter.is_super_admin else frozenset(granted) - set(inviter.permissions)


def why_no_key(key: NewApiKey, maker: Subject | None) -> AuthError:
    """Return the error for a key that was not stored: its maker no longer has the permission, or a credential ended."""
    is_good = maker is not None and maker.is_active and maker.may_act and not maker.is_session_over
    if maker is not None and is_good and key.permission is not None and lacking(maker, {key.permission}):
        return PermissionDenied(missing=(key.permission,))
    return TokenRevoked() if key.parent_id is None else ApiKeyRevoked()
