"""Principal + Requirement -> Permit."""

from __future__ import annotations

from uuid import uuid4

import pytest

from authcore.authorize import AUTHENTICATED, PUBLIC, Requirement, authorize
from authcore.errors import CredentialMissing, PermissionDenied
from authcore.permit import Permit
from authcore.principal import ANONYMOUS, AuthMethod, Principal


def caller(*permissions: str, method: AuthMethod = AuthMethod.JWT, is_super_admin: bool = False) -> Principal:
    return Principal(
        method,
        user_id=uuid4(),
        organization_id=uuid4(),
        permissions=frozenset(permissions),
        is_super_admin=is_super_admin,
    )


def test_a_permit_carries_the_very_principal() -> None:
    for principal, requirement in ((ANONYMOUS, PUBLIC), (caller(), AUTHENTICATED), (caller(), PUBLIC)):
        assert authorize(principal, requirement).principal is principal


def test_nobody_else_makes_a_permit() -> None:
    for key in (None, object(), caller()):
        with pytest.raises(TypeError):
            Permit(key, ANONYMOUS)


def test_the_anonymous_pass_only_what_is_public() -> None:
    for requirement in (AUTHENTICATED, Requirement(), Requirement(all_of=frozenset({"chat:read"}))):
        with pytest.raises(CredentialMissing):
            authorize(ANONYMOUS, requirement)


def test_every_permission_asked_for_must_be_held_and_the_missing_are_named() -> None:
    requirement = Requirement(all_of=frozenset({"chat:read", "chat:write"}))
    authorize(caller("chat:read", "chat:write", "tags:read"), requirement)
    with pytest.raises(PermissionDenied, match=r"chat:write$"):
        authorize(caller("chat:read", "chat:*", "*:*"), requirement)


def test_a_super_admin_holds_every_permission_but_not_every_way_of_authenticating() -> None:
    root = caller(is_super_admin=True)
    authorize(root, Requirement(all_of=frozenset({"users:delete"})))
    with pytest.raises(PermissionDenied):
        authorize(root, Requirement(methods=frozenset({AuthMethod.API_KEY})))
