"""Verifier of signed identities, for the services behind the gateway. This file needs only PyJWT; copy it.

The gateway sends ``X-Identity``, a short-lived JWT that names the caller, the service, the method, the path and the
request id. A service that verifies it can tell the gateway's identity headers from those of a neighbour that reached it
directly::

    verifier = IdentityVerifier([PUBLIC_KEY_PEM], algorithm="EdDSA", audience="upstream")

    identity = verifier.verify(request.headers.get("X-Identity"), request.method, request.path, time.time(),
                               permissions=request.headers.get("X-User-Permissions", ""))

Laws:

- The algorithm is chosen here: a token's header chooses nothing (RFC 8725 section 3.1), and names its purpose (3.11).
- A token is for one method and one path of one service, for a minute. On any other request it proves nothing.
- Every defect of a token raises :class:`IdentityRejected`; no input raises anything else.
- The clock is the caller's: ``now`` is passed in.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import jwt

if TYPE_CHECKING:
    from collections.abc import Sequence

TYPE: Final = "identity+jwt"
ISSUER: Final = "whatomate-gateway"
_ALGORITHMS: Final = ("EdDSA", "HS256")
_LONGEST: Final = 8192
_TEXTS: Final = ("sub", "org", "email", "role", "auth", "permissions", "method", "path", "request_id")


class IdentityRejected(Exception):
    """A signed identity that proves nothing; the text says why, and may be logged."""


@dataclass(frozen=True, slots=True)
class SignedIdentity:
    """Verified identity of the caller, as the gateway signed it.

    Attributes:
        user_id: The user.
        organization_id: The organization they act in.
        email: Their e-mail address.
        role: Their role there; empty when there is none.
        is_super_admin: True if they have every permission.
        auth_method: How they proved themselves: ``jwt``, ``cookie``, ``api_key``, ``ws``.
        key_id: The API key used, if one was.
        permissions: Their permissions, if the header was passed to `verify`; else None.
        request_id: The request's id, as in ``X-Request-ID``.
        expires_at: POSIX seconds.
    """

    user_id: str
    organization_id: str
    email: str
    role: str
    is_super_admin: bool
    auth_method: str
    key_id: str | None
    permissions: frozenset[str] | None
    request_id: str
    expires_at: float


def digest(permissions: str) -> str:
    """Return the digest of ``X-User-Permissions`` that a token carries: the value itself would make it long."""
    hashed = hashlib.sha256(permissions.encode("utf-8", "surrogateescape")).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode("ascii")


class IdentityVerifier:
    """Verifier of signed identities for one service."""

    def __init__(
        self,
        keys: Sequence[str | bytes],
        *,
        algorithm: str,
        audience: str,
        issuer: str = ISSUER,
        leeway_seconds: float = 0,
    ) -> None:
        """Verify with any of `keys`, so that keys can be rotated.

        Args:
            keys: Public keys in PEM with EdDSA, secrets with HS256.
            algorithm: ``EdDSA`` or ``HS256``, as the gateway is configured.
            audience: The name of this service's upstream in the gateway's configuration.
            issuer: As the gateway is configured.
            leeway_seconds: The largest expected difference between the gateway's clock and this one.

        Raises:
            ValueError: there is no key, or no such algorithm.
        """
        if algorithm not in _ALGORITHMS or not keys:
            raise ValueError(f"at least one key, and one of {', '.join(_ALGORITHMS)}, are needed")
        self._keys = tuple(keys)
        self._algorithm = algorithm
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway_seconds

    def verify(
        self, token: str | None, method: str, path: str, now: float, *, permissions: str | None = None
    ) -> SignedIdentity:
        """Verify a token, and return the identity that it carries.

        Args:
            token: The value of ``X-Identity``; None or empty when the request has none.
            method: The request's method.
            path: Its path, with or without its query, decoded or not.
            now: POSIX seconds.
            permissions: The value of ``X-User-Permissions``, to be compared with the token; empty if there is none.

        Raises:
            IdentityRejected: the token does not prove that the gateway sent this request.
        """
        claims = self._claims(token)
        if not all(isinstance(claims.get(name), str) for name in _TEXTS):
            raise IdentityRejected("a claim is missing or no text")
        expires, issued = claims.get("exp"), claims.get("iat")
        if isinstance(expires, bool) or not isinstance(expires, int) or not isinstance(issued, int):
            raise IdentityRejected("exp or iat is missing or no number")
        if expires + self._leeway <= now:
            raise IdentityRejected("it has expired")
        if issued - self._leeway > now + 1:  # iat is cut to whole seconds, so it is never ahead by rounding
            raise IdentityRejected("it was issued in the future: do the clocks differ?")
        if claims["method"] != method:
            raise IdentityRejected("it is for another method")
        if claims["path"].encode() != unquote_to_bytes(path.partition("?")[0]):
            raise IdentityRejected("it is for another path")
        if permissions is not None and claims["permissions"] != digest(permissions):
            raise IdentityRejected("X-User-Permissions is not what was signed")
        key_id = claims.get("key_id")
        return SignedIdentity(
            user_id=claims["sub"],
            organization_id=claims["org"],
            email=claims["email"],
            role=claims["role"],
            is_super_admin=claims.get("super_admin") is True,
            auth_method=claims["auth"],
            key_id=key_id if isinstance(key_id, str) else None,
            permissions=None if permissions is None else frozenset(filter(None, permissions.split(","))),
            request_id=claims["request_id"],
            expires_at=float(expires),
        )

    def _claims(self, token: str | None) -> dict[str, Any]:
        if not token:
            raise IdentityRejected("the request has no signed identity")
        if len(token) > _LONGEST or not token.isascii():
            raise IdentityRejected("it is no signed identity")
        try:
            if jwt.get_unverified_header(token).get("typ") != TYPE:
                raise IdentityRejected("it is a token for something else")
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise IdentityRejected("it is no signed identity") from None
        wrong = "its signature is by none of the keys"
        for key in self._keys:
            try:
                return dict(
                    jwt.decode(
                        token,
                        key,
                        algorithms=[self._algorithm],
                        audience=self._audience,
                        issuer=self._issuer,
                        options={
                            "require": ["exp", "iat", "aud", "iss"],
                            "verify_exp": False,  # verify() compares exp with the caller's clock
                            "verify_iat": False,
                            "verify_nbf": False,
                        },
                    )
                )
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
                continue
            except (jwt.InvalidAlgorithmError, jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
                wrong = f"it is not for this service, or not by this gateway ({type(error).__name__})"
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                wrong = "it is no signed identity"
        raise IdentityRejected(wrong)
