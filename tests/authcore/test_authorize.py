"""Principal + Requirement -> Permit."""

from __future__ import annotations

from itertools import product
from uuid import uuid4

import pytest

from authcore.authorize import AUTHENTICATED, OPTIONAL, PUBLIC, Requirement, asks_at_least, authorize
from authcore.errors import AuthError, CredentialMissing, PermissionDenied
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


HELD = [frozenset(one) for one in ((), ("a:b",), ("c:d",), ("a:b", "c:d"))]
WAYS = [None, frozenset({AuthMethod.JWT}), frozenset({AuthMethod.JWT, AuthMethod.API_KEY})]
EVERY_REQUIREMENT = [
    PUBLIC,
    OPTIONAL,
    *(
        Requirement(all_of=all_of, any_of=any_of, methods=methods)
        for all_of, any_of, methods in product(HELD, HELD, WAYS)
    ),
]
EVERY_CALLER = [
    ANONYMOUS,
    *(
        caller(*held, method=method, is_super_admin=is_super_admin)
        for held, method, is_super_admin in product(
            HELD, (AuthMethod.JWT, AuthMethod.API_KEY, AuthMethod.COOKIE), (False, True)
        )
    ),
]


def admitted(requirement: Requirement) -> set[int]:
    found = set()
    for number, one in enumerate(EVERY_CALLER):
        try:
            authorize(one, requirement)
        except AuthError:
            continue
        found.add(number)
    return found


def test_what_asks_at_least_as_much_admits_nobody_more() -> None:
    lets_in = {requirement: admitted(requirement) for requirement in EVERY_REQUIREMENT}
    pairs = list(product(EVERY_REQUIREMENT, repeat=2))
    assert [pair for pair in pairs if asks_at_least(*pair) and not lets_in[pair[0]] <= lets_in[pair[1]]] == []


def test_every_requirement_asks_at_least_as_much_as_itself() -> None:
    assert [one for one in EVERY_REQUIREMENT if not asks_at_least(one, one)] == []


def test_a_requirement_that_only_adds_to_another_asks_at_least_as_much() -> None:
    a, both = frozenset({"a:b"}), frozenset({"a:b", "c:d"})
    for more, less in (
        (Requirement(all_of=both), Requirement(all_of=a)),
        (Requirement(all_of=a), Requirement(any_of=both)),
        (Requirement(any_of=a), Requirement(any_of=both)),
        (Requirement(methods=WAYS[1]), Requirement(methods=WAYS[2])),
        (Requirement(methods=WAYS[1]), AUTHENTICATED),
        (AUTHENTICATED, OPTIONAL),
        (OPTIONAL, PUBLIC),
    ):
        assert asks_at_least(more, less), (more, less)
        assert not asks_at_least(less, more), (less, more)
