"""Token claims as types, and the parser that tells the kinds of token apart.

Laws:

- Nothing is coerced: an ``exp`` that is a string, a boolean or not finite is malformed, as is a UUID in any but its
  canonical spelling.
- The kind is the gateway's own claim ``token_use`` where present. The gateway's access token of a session has ``s`` in
  place of that claim. Whatomate writes neither: there ``sub == "ws"`` is a ticket, else a ``jti`` makes a refresh
  token, else it is an access token. Claims that contradict one another are malformed: a token is never of two kinds.
- A token that has to be short names its session in ``s``, as the 16 bytes of the id in base64url; other tokens name it
  in ``sid``, as a UUID. A token with ``s`` may spell its UUIDs without hyphens (see :mod:`authcore.tokens.issuer`).
- An invitation authenticates nobody: it has no ``user_id`` and no ``organization_id``, so a server that takes every
  genuine token for an access token finds no user in it.
"""

from __future__ import annotations

import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

from authcore.errors import TokenMalformed, TokenRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_BARE_UUID: Final = re.compile(r"[0-9a-f]{32}\Z")
_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]\Z")
_LATEST: Final = 253_402_300_800  # 10000-01-01: no date type reaches further
_TEXT_LENGTH: Final = 1024
AHEAD_SECONDS: Final = 900
"""How far an ``iat`` may be in the future: the issuer's clock may be ahead."""


class TokenKind(StrEnum):
    """Kind of token: the purpose it was issued for, and the value of the claim ``token_use``."""

    ACCESS = "access"
    REFRESH = "refresh"
    TICKET = "ws"
    INVITATION = "invitation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Claims that every access token, refresh token and ticket has.

    Attributes:
        user_id: The user the token authenticates.
        organization_id: The organization it acts in.
        expires_at: ``exp``, POSIX seconds.
        issued_at: ``iat``, when present.
        not_before: ``nbf``, when present.
        issuer: ``iss``.
        is_ours: The gateway issued it (it carries ``token_use`` or ``s``); else Whatomate did.
        session_id: ``s`` or ``sid``, the session it belongs to; None when Whatomate issued it.
        until: ``until``, POSIX seconds: what is founded on it ends then, whatever that is; None for no such end. Only
            refresh tokens and tickets of ours say it (docs/founding.md).
    """

    kind: ClassVar[TokenKind]

    user_id: UUID
    organization_id: UUID
    expires_at: float
    issued_at: float | None = None
    not_before: float | None = None
    issuer: str | None = None
    is_ours: bool = False
    session_id: UUID | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims(Claims):
    """Claims of an access token, which opens the API for an hour."""

    kind = TokenKind.ACCESS

    email: str = ""
    role_id: UUID | None = None
    is_super_admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshClaims(Claims):
    """Claims of a refresh token, which is exchanged once for a new pair of tokens and opens nothing else."""

    kind = TokenKind.REFRESH

    jti: str
    email: str = ""
    role_id: UUID | None = None
    is_super_admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketClaims(Claims):
    """Claims of a WebSocket ticket, which may stand in a query and lasts seconds."""

    kind = TokenKind.TICKET


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationClaims:
    """Claims of an invitation, which lets one newcomer register and opens nothing else.

    Attributes:
        jti: The invitation's id.
        organization_id: ``org``, the organization it admits to.
        role_id: ``role``, the role it gives; None if it gives none.
        email: ``email``, the address it was issued for; None if anybody who holds it may use it.
    """

    kind: ClassVar[TokenKind] = TokenKind.INVITATION

    jti: UUID
    organization_id: UUID
    role_id: UUID | None
    email: str | None
    expires_at: float
    not_before: float | None = None
    issuer: str | None = None


AnyClaims = AccessClaims | RefreshClaims | TicketClaims | InvitationClaims


def parse_claims(payload: Mapping[str, object]) -> AnyClaims:
    """Parse a token's payload into the claims of its kind.

    Raises:
        TokenMalformed: a claim is missing, of the wrong type, or contradicts another.
    """
    kind, expires_at = _kind(payload), moment(payload, "exp")
    if expires_at is None:
        raise TokenMalformed
    if kind is TokenKind.INVITATION:
        return _invitation(payload, expires_at)
    is_short = "s" in payload
    user_id = uuid(payload, "user_id", bare=is_short)
    organization_id = uuid(payload, "organization_id", bare=is_short)
    if user_id is None or organization_id is None:
        raise TokenMalformed
    common: dict[str, Any] = {
        "user_id": user_id,
        "organization_id": organization_id,
        "expires_at": expires_at,
        "issued_at": moment(payload, "iat"),
        "not_before": moment(payload, "nbf"),
        "issuer": text(payload, "iss"),
        "is_ours": is_short or "token_use" in payload,
        "session_id": _session(payload),
        "until": moment(payload, "until") if "token_use" in payload else None,
    }
    about_user: dict[str, Any] = {
        "email": text(payload, "email") or "",
        "role_id": uuid(payload, "role_id", bare=is_short),
        "is_super_admin": _flag(payload, "is_super_admin"),
    }
    jti = text(payload, "jti")
    match kind:
        case TokenKind.TICKET:
            return TicketClaims(**common)
        case TokenKind.ACCESS:
            return AccessClaims(**common, **about_user)
        case TokenKind.REFRESH:
            if not jti:
                raise TokenMalformed
            return RefreshClaims(**common, **about_user, jti=jti)


def _invitation(payload: Mapping[str, object], expires_at: float) -> InvitationClaims:
    jti, organization_id = uuid(payload, "jti"), uuid(payload, "org")
    if jti is None or organization_id is None:
        raise TokenMalformed
    return InvitationClaims(
        jti=jti,
        organization_id=organization_id,
        role_id=uuid(payload, "role"),
        email=text(payload, "email"),
        expires_at=expires_at,
        not_before=moment(payload, "nbf"),
        issuer=text(payload, "iss"),
    )


def _kind(payload: Mapping[str, object]) -> TokenKind:
    is_ticket = text(payload, "sub") == "ws"
    if "token_use" in payload:
        use = payload["token_use"]
        try:
            kind = TokenKind(use) if isinstance(use, str) else None
        except ValueError:
            kind = None
        if kind is None or is_ticket != (kind is TokenKind.TICKET):
            raise TokenMalformed
        return kind
    if "s" in payload:
        if is_ticket or "jti" in payload:
            raise TokenMalformed
        return TokenKind.ACCESS
    if is_ticket:
        return TokenKind.TICKET
    return TokenKind.REFRESH if "jti" in payload else TokenKind.ACCESS


def moment(payload: Mapping[str, object], name: str) -> float | None:
    """Return the claim as POSIX seconds, or None if it is absent; the functions below treat absence in the same way."""
    value = payload.get(name)
    if value is None:
        return None
    # bool is a subclass of int in Python, and is no date.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenMalformed
    if not 0 <= value < _LATEST or not math.isfinite(value):
        raise TokenMalformed
    return value


def check_issued(payload: Mapping[str, object], now: float) -> None:
    """Check that a token was not issued long after `now`: a clock that was far ahead made it last for as long as that.

    Raises:
        TokenMalformed: ``iat`` is no moment.
        TokenRejected: it was.
    """
    issued_at = moment(payload, "iat")
    if issued_at is not None and issued_at > now + AHEAD_SECONDS:
        raise TokenRejected


def uuid(payload: Mapping[str, object], name: str, *, bare: bool = False) -> UUID | None:
    """Return the claim as a UUID in its canonical spelling, or with `bare` also in the spelling without hyphens."""
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise TokenMalformed
    if _UUID.match(value) is None and not (bare and _BARE_UUID.match(value) is not None):
        raise TokenMalformed
    return UUID(value)


def short_session(session_id: UUID) -> str:
    """Return a session's id as the claim ``s`` spells it: 22 characters."""
    return urlsafe_b64encode(session_id.bytes).rstrip(b"=").decode("ascii")


def _session(payload: Mapping[str, object]) -> UUID | None:
    """Return the session of a token of ours; None for any other token, whose ``sid`` names a session of its issuer."""
    if "s" not in payload:
        return uuid(payload, "sid") if "token_use" in payload else None
    value = payload["s"]
    if "sid" in payload or not isinstance(value, str) or _SESSION.match(value) is None:
        raise TokenMalformed
    return UUID(bytes=urlsafe_b64decode(value + "=="))


def text(payload: Mapping[str, object], name: str) -> str | None:
    """Return the claim as text that every encoder can write."""
    value = payload.get(name)
    if value is None:
        return None
    # Lone surrogates are legal JSON escapes, and no UTF-8 encoder writes them.
    if not isinstance(value, str) or len(value) > _TEXT_LENGTH or "\0" in value or not _is_encodable(value):
        raise TokenMalformed
    return value


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _flag(payload: Mapping[str, object], name: str) -> bool:
    value = payload.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise TokenMalformed
    return value
