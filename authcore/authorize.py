"""Authorization check: it holds a principal against a route's requirement and issues the permit.

Laws:

- This is the only module that makes a :class:`~authcore.permit.Permit`.
- Every requirement is written down: there is no default, and the anonymous principal passes only a public or optional
  one.
- A rule in shadow mode refuses nobody. Then :func:`permit_in_shadow` is called by that name, with the refusal in hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from authcore.errors import CredentialMissing, PermissionDenied
from authcore.permissions import covers
from authcore.permit import _PERMIT_KEY, Permit
from authcore.principal import AuthMethod, Principal


@dataclass(frozen=True, slots=True)
class Requirement:
    """Requirement of a route: what it asks of its caller.

    Attributes:
        public: No credential is asked for.
        optional: A caller without a credential passes as the anonymous principal; a credential that is sent is proved.
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
    def allows_anonymous(self) -> bool:
        """True if it lets in a caller who proves nothing."""
        return self.public or self.optional


PUBLIC: Final = Requirement(public=True)
AUTHENTICATED: Final = Requirement()
OPTIONAL: Final = Requirement(optional=True)
_ANONYMOUS: Final = AuthMethod.ANONYMOUS
"""A constant: compiled code finds it at hand, and a member of an enumeration through its metaclass."""


def asks_at_least(one: Requirement, other: Requirement) -> bool:
    """Return whether every principal that meets `one` meets `other` as well; False also if that cannot be known."""
    if other.public or one.public:
        return other.public
    if other.optional or one.optional:
        return other.optional
    return (
        one.all_of >= other.all_of
        and (
            not other.any_of
            or bool(one.all_of & other.any_of)
            or bool(one.any_of) & (one.any_of <= other.any_of)
        )
        and (other.methods is None or (one.methods is not None and one.methods <= other.methods))
    )


def authorize(principal: Principal, requirement: Requirement) -> Permit:
    """Issue a permit if `principal` meets `requirement`.

    Raises:
        CredentialMissing: the principal is anonymous, and the requirement is neither public nor optional.
        PermissionDenied: a permission is missing (the message names it), or the authentication method is not accepted.
    """
    if not requirement.public:
        if principal.method is _ANONYMOUS:
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
    """Issue a permit despite a refusal, for a rule that runs in shadow mode.

    Args:
        principal: The caller; the anonymous principal if nobody is proved.
        refusal: The error that an enforced rule would have raised.

    Raises:
        TypeError: there is no refusal: this function must not replace :func:`authorize`.
    """
    if not isinstance(refusal, Exception):
        raise TypeError("a permit in shadow needs a refusal")
    return Permit(_PERMIT_KEY, principal)
