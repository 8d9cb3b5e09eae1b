"""Made-up callers, for a service under test: identities that no database has to know.

Laws:

- The same words make the same ids, on every machine, so that what a service has stored under them is found again.
- Roles have the permissions that Whatomate gives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

from authcore.permissions import ROLES
from authcore.principal import AuthMethod, Principal
from gateway.dev.seed import DevError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMES: Final = UUID("6f0e6a3e-6a4c-5a55-9a43-0d6c4f7f2a10")
METHODS: Final = tuple(
    method.value for method in (AuthMethod.JWT, AuthMethod.COOKIE, AuthMethod.API_KEY, AuthMethod.WS)
)


def made_up(  # noqa: PLR0913 -- what may be said of a caller
    who: str,
    *,
    organization: str | None = None,
    role: str | None = None,
    permissions: Iterable[str] | None = None,
    name: str | None = None,
    is_super_admin: bool = False,
    method: str = "jwt",
) -> Principal:
    """Make up a caller.

    Args:
        who: ``name@organization`` or an e-mail address. A name that is a role's (``admin``, ``manager``, ``agent``) has
            that role, any other the role of newcomers.
        organization: Where they act: an id, or a word that an id is made of.
        role: Another role's name; one that is none of Whatomate's grants nothing.
        permissions: Other permissions than the role's.
        name: Their full name.
        is_super_admin: They have every permission.
        method: How they proved themselves, one of `METHODS`.

    Raises:
        DevError: `who` is neither of the two.
    """
    local, at, domain = who.partition("@")
    if not local or not at or not domain or "@" in domain:
        raise DevError(f"--as {who!r} should be name@organization, such as agent@demo, or an e-mail address")
    email = who if "." in domain else f"{who}.example"
    home = organization or domain.partition(".")[0]
    newcomers = next(one.name for one in ROLES.values() if one.is_default)
    held = role or (local if local in ROLES else newcomers)
    granted = ROLES[held].permissions if held in ROLES else frozenset()
    if permissions is not None:
        granted = frozenset(permissions)
    elif is_super_admin:
        granted = ROLES["admin"].permissions
    organization_id = _id_of("organization", home)
    return Principal(
        AuthMethod(method),
        uuid5(_NAMES, f"user {email}"),
        organization_id,
        email=email,
        name=local.replace(".", " ").title() if name is None else name,
        role_id=uuid5(organization_id, held),
        role=held,
        permissions=granted,
        is_super_admin=is_super_admin,
        key_id=uuid5(_NAMES, f"key {email}") if method == AuthMethod.API_KEY.value else None,
    )


def _id_of(kind: str, word: str) -> UUID:
    try:
        return UUID(word)
    except ValueError:
        return uuid5(_NAMES, f"{kind} {word}")
