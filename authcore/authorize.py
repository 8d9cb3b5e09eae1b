"""Principal + Requirement -> Permit: the one place where "may they?" is answered.

Laws:

- The only maker of a :class:`~authcore.principal.Permit`.
- A requirement is written down: there is no default, and the anonymous principal passes only a public one.
- A rule that is only being tried refuses nobody: :func:`permit_in_shadow` says so in so many words, and whoever calls
  it holds the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from authcore.errors import CredentialMissing, PermissionDenied
from authcore.permissions import covers
from authcore.principal import _PERMIT_KEY, AuthMethod, Permit, Principal


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a route asks of its caller.

    Attributes:
        public: No credential is asked for.
        optional: Who presents no credential passes as nobody; who presents one must prove it.
        all_of: Permissions that must all be held, as ``resource:action``.
        any_of: Permissions of which one must be held; empty asks for none.
        methods: Ways of authenticating that are accepted; None accepts each.
    """

    public: bool = False
    all_of: frozenset[str] = frozenset()
    methods: frozenset[AuthMethod] | None = None
    any_of: frozenset[str] = frozenset()
    optional: bool = False

    @property
    def opens(self) -> bool:
        """It lets in who proves nothing."""
        return self.public or self.optional


PUBLIC: Final = Requirement(public=True)
AUTHENTICATED: Final = Requirement()
OPTIONAL: Final = Requirement(optional=True)


def authorize(principal: Principal, requirement: Requirement) -> Permit:
    """Answer whether `principal` meets `requirement`.

    Raises:
        CredentialMissing: nobody proved anything, and the requirement is not public.
        PermissionDenied: a permission is missing (the message names it), or the way of authenticating is not taken.
    """
    if not requirement.public:
        if principal.method is AuthMethod.ANONYMOUS:
            if requirement.optional:
                return Permit(_PERMIT_KEY, principal)
            raise CredentialMissing
        if requirement.methods is not None and principal.method not in requirement.methods:
            raise PermissionDenied(f"Not available with this credential ({principal.method})")
        if requirement.all_of and not principal.is_super_admin:
            missing = [one for one in sorted(requirement.all_of) if not covers(principal.permissions, one)]
            if missing:
                raise PermissionDenied(f"Missing permission {', '.join(missing)}", missing=tuple(missing))
        if requirement.any_of and not principal.is_super_admin:
            wanted = sorted(requirement.any_of)
            if not any(covers(principal.permissions, one) for one in wanted):
                raise PermissionDenied(
                    f"Missing permission, any of {', '.join(wanted)}", any_of=tuple(wanted)
                )
    return Permit(_PERMIT_KEY, principal)


def permit_in_shadow(principal: Principal, refusal: Exception) -> Permit:
    """Permit what was refused, where the rule is only being tried.

    Args:
        principal: Who is proven to be asking: the anonymous principal where nobody is.
        refusal: What would have been said.

    Raises:
        TypeError: nothing was refused: a permit in shadow is no way around the question.
    """
    if not isinstance(refusal, Exception):
        raise TypeError("a permit in shadow needs a refusal")
    return Permit(_PERMIT_KEY, principal)
