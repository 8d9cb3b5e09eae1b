"""Verifier of requests: it reads the signed identity of one, and puts the signed values in the place of plain headers.

Laws:

- The algorithm is chosen by the kind of keys: a token's header chooses nothing (RFC 8725 section 3.1).
- A token is for one method and one path of one service, for a minute. On any other request it proves nothing.
- A header that has to be there once refuses the request if it is there twice.
- No input raises anything but :class:`IdentityRejected` and :class:`KeysUnavailable`.
- Of the headers in the gateway's families, in any spelling, an application is given what is signed and nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from jwt import PyJWS, PyJWTError

from whatomate_identity.identity import Identity, IdentityRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from whatomate_identity.keys import Keys

    Headers = Sequence[tuple[bytes, bytes]]

TYPE: Final = "identity+jwt"
ISSUER: Final = "whatomate-gateway"
FAMILIES: Final = (b"x-user-", b"x-org-", b"x-auth-", b"x-identity")
"""How the names of identity headers begin, in lower case and with ``-`` for all but letters and digits."""

_DASHED: Final = bytes(b if chr(b).isalnum() and b < 128 else ord("-") for b in range(256))  # noqa: PLR2004 -- ASCII
_LONGEST: Final = 8192
_COMPACT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TEXTS: Final = ("sub", "org", "email", "role", "auth", "permissions", "method", "path", "request_id")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_JWS: Final = PyJWS()


class Verifier:
    """Verifier of the requests to one service."""

    def __init__(  # noqa: PLR0913 -- what the gateway's settings say
        self,
        keys: Keys,
        *,
        audience: str,
        issuer: str = ISSUER,
        leeway_seconds: float = 5,
        header: str = "X-Identity",
        permissions_header: str = "X-User-Permissions",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Verify with `keys`.

        Args:
            keys: A `KeySet`, `PublicKeys`, or `SharedSecrets`.
            audience: The name of this service's upstream in the gateway's configuration.
            issuer: As ``GATEWAY_SIGNED_ISSUER`` is set.
            leeway_seconds: The largest expected difference between the gateway's clock and this one.
            header: As ``GATEWAY_HEADER_IDENTITY`` is set.
            permissions_header: As ``GATEWAY_HEADER_USER_PERMISSIONS`` is set.
            clock: Returns POSIX seconds.
        """
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway_seconds
        self._header = header.lower().encode("ascii")
        self._permissions = permissions_header.lower().encode("ascii")
        self._clock = clock

    def verify(self, method: str, path: bytes, headers: Headers) -> Identity:
        """Verify a request.

        Args:
            method: Its method.
            path: Its path, decoded once, as :func:`path_of` does; decoded twice, it could be another's.
            headers: Its field lines, with the bytes of the wire.

        Raises:
            IdentityRejected: it is not proved that the gateway sent it: 401.
            KeysUnavailable: the keys to prove it with could not be fetched: 503.
        """
        now = self._clock()
        token, kid = self._token(headers)
        claims = self._claims(token, self._keys.find(kid, now))
        self._check(claims, method, path, now)
        return _identity(claims, self._granted(claims, headers))

    async def verify_async(self, method: str, path: bytes, headers: Headers) -> Identity:
        """Verify a request as :meth:`verify` does; a fetch of keys is waited for in a thread."""
        _, kid = self._token(headers)
        if self._keys.waits(kid, self._clock()):
            return await asyncio.to_thread(self.verify, method, path, headers)
        return self.verify(method, path, headers)

    def is_signed(self, headers: Headers) -> bool:
        """Return whether a request has a signed identity, be it good or not."""
        return any(self._values(headers, self._header))

    def without_claims(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return `headers` without those of the gateway's families."""
        return [line for line in headers if not _is_ours(line[0])]

    def with_claims(self, headers: Headers, identity: Identity) -> list[tuple[bytes, bytes]]:
        """Return `headers` with the signed values in the place of whatever the gateway's families had."""
        signed = [line for line in headers if line[0].lower() == self._header]
        if identity.permissions is not None:
            signed += [line for line in headers if line[0].lower() == self._permissions]
        lines = [(name.encode(), value.encode()) for name, value in _plain(identity) if value]
        others = [line for line in self.without_claims(headers) if line not in signed]
        return [*others, *signed, *lines]

    @staticmethod
    def _values(headers: Headers, name: bytes) -> list[bytes]:
        return [value for given, value in headers if given.lower() == name]

    def _token(self, headers: Headers) -> tuple[bytes, str | None]:
        """Return the token, and the kid that its header names; check all that its header says."""
        values = self._values(headers, self._header)
        if not any(values):
            raise IdentityRejected("missing")
        if len(values) > 1 or b"," in values[0]:  # some servers join two lines by a comma, which no token has
            raise IdentityRejected("repeated")
        token = values[0]
        if len(token) > _LONGEST or not _COMPACT.fullmatch(token):
            raise IdentityRejected("malformed")
        header = _object(token.partition(b".")[0])
        if header.get("typ") != TYPE:
            raise IdentityRejected("type")
        if header.get("alg") != self._keys.algorithm:
            raise IdentityRejected("algorithm")
        if "crit" in header:
            raise IdentityRejected("malformed")
        kid = header.get("kid")
        return token, kid if isinstance(kid, str) else None

    def _claims(self, token: bytes, keys: Sequence[Any]) -> dict[str, Any]:
        if not keys:
            raise IdentityRejected("key")
        for key in keys:
            try:
                _JWS.decode(token, key, algorithms=[self._keys.algorithm])
            except (PyJWTError, ValueError, TypeError):
                continue
            return _object(token.split(b".")[1])
        raise IdentityRejected("signature")

    def _check(self, claims: dict[str, Any], method: str, path: bytes, now: float) -> None:
        if not all(isinstance(claims.get(name), str) for name in _TEXTS):
            raise IdentityRejected("malformed")
        expires, issued = claims.get("exp"), claims.get("iat")
        if type(expires) is not int or type(issued) is not int:
            raise IdentityRejected("malformed")
        holds = (
            ("issuer", claims.get("iss") == self._issuer),
            ("audience", claims.get("aud") == self._audience),
            ("expired", now < expires + self._leeway),
            ("future", issued - self._leeway <= now + 1),  # iat is cut to whole seconds
            ("method", claims["method"] == method),
            ("path", claims["path"].encode("utf-8", "surrogatepass") == path),
        )
        for reason, is_so in holds:
            if not is_so:
                raise IdentityRejected(reason)

    def _granted(self, claims: dict[str, Any], headers: Headers) -> frozenset[str] | None:
        values = self._values(headers, self._permissions)
        if len(values) > 1:
            raise IdentityRejected("repeated")
        listed = values[0] if values else b""
        digest = base64.urlsafe_b64encode(hashlib.sha256(listed).digest()).rstrip(b"=").decode("ascii")
        if claims["permissions"] == digest:
            return frozenset(filter(None, listed.decode("utf-8", "replace").split(",")))
        if values:
            raise IdentityRejected("permissions")
        return None


def path_of(target: bytes) -> bytes:
    """Return the path of a request's target: without the query, decoded once."""
    return unquote_to_bytes(target.partition(b"?")[0])


def _object(segment: bytes) -> dict[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        raise IdentityRejected("malformed") from None
    if not isinstance(found, dict):
        raise IdentityRejected("malformed")
    return found


def _is_ours(name: bytes) -> bool:
    return name.lower().translate(_DASHED).startswith(FAMILIES)


def _text(claims: dict[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) else None


def _identity(claims: dict[str, Any], permissions: frozenset[str] | None) -> Identity:
    return Identity(
        user_id=claims["sub"],
        organization_id=claims["org"],
        email=claims["email"],
        name=_text(claims, "name") or "",
        role=claims["role"],
        role_id=_text(claims, "role_id"),
        is_super_admin=claims.get("super_admin") is True,
        auth_method=claims["auth"],
        key_id=_text(claims, "key_id"),
        permissions=permissions,
        request_id=claims["request_id"],
        expires_at=claims["exp"],
    )


def _plain(identity: Identity) -> Iterable[tuple[str, str]]:
    """Yield the plain headers that say what is signed, the list of permissions aside."""
    lines = (
        ("x-user-id", identity.user_id),
        ("x-user-email", identity.email),
        ("x-user-name", identity.name),
        ("x-user-role", identity.role),
        ("x-user-role-id", identity.role_id or ""),
        ("x-user-super-admin", "true" if identity.is_super_admin else "false"),
        ("x-org-id", identity.organization_id),
        ("x-auth-method", identity.auth_method),
        ("x-auth-key-id", identity.key_id or ""),
    )
    return ((name, _CONTROLS.sub(" ", value)) for name, value in lines)
