"""Tokens of a foreign issuer: verified by its key set, and mapped onto a user who exists here.

Laws:

- ``iss`` is the issuer's to the letter, ``aud`` names this gateway, ``exp`` is there: a token without them is refused,
  and so is one whose ``iat`` is far in the future.
- The signature comes first; ``iss`` before it only chooses whose keys are asked.
- A token says who somebody is, and nothing of what they may: organization membership, role and permissions are this
  installation's. Nobody is created.
- An e-mail counts only if the issuer verified it (:mod:`authcore.tokens.openid_claims`).
- An e-mail leads to an account only if somebody proved the e-mail of that account, too: a person who registers an
  address first must not own the account of the person who comes with a token for it (:mod:`authcore.store.origins`).
- Only an access token is replaced by it: nothing here is a refresh token or a ticket. A token that the issuer signed
  for another use, such as a logout token, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar
from uuid import uuid4

from authcore.crypto import jws
from authcore.crypto.remote_proof import prove_remotely
from authcore.errors import EmailUnproved, SubjectUnknown, TokenExpired, TokenMalformed, TokenRejected
from authcore.store.origins import ProofRule
from authcore.tokens.claims import AccessClaims, check_issued, moment, text, uuid
from authcore.tokens.openid_claims import audiences, verified_email

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from authcore.crypto.jwks_client import JwksClient
    from authcore.store.origins import Holder

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """Mapping of a foreign issuer's tokens onto users: the claims that are read, and the rules.

    Attributes:
        issuer: ``iss``.
        audiences: One of them is in ``aud``.
        user_id: The claim that holds a user's id here; empty when users are found by e-mail.
        email: The claim that holds their e-mail.
        organization: The claim that holds the id of the organization to act in; empty for the user's home.
        trusts_email: An e-mail counts without ``email_verified``.
        leeway_seconds: Clock skew forgiven.
        token_bytes: A token has so many bytes at most.
        takes_unproved: Accounts are found by an e-mail that nobody proved of them.
        custom_issuer: The custom provider of single sign-on that an operator has named; empty if none.
    """

    issuer: str
    audiences: frozenset[str]
    user_id: str = ""
    email: str = "email"
    organization: str = ""
    trusts_email: bool = False
    leeway_seconds: float = 0
    token_bytes: int = jws.MAX_TOKEN_BYTES
    takes_unproved: bool = False
    custom_issuer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignUser:
    """User whom a foreign token names, before the look-up in the database: one of `user_id` and `email` is there.

    Attributes:
        key: The name of the key that signed the token.
    """

    user_id: UUID | None
    email: str | None
    organization_id: UUID | None
    expires_at: float
    key: tuple[str, str | None, str]


class Users(Protocol):
    """Store of the look-up of foreign users."""

    async def home(self, user_id: UUID) -> UUID | None:
        """Return the organization a user lands in."""

    async def holders(self, email: str, custom_issuer: str = "") -> Sequence[Holder]:
        """Return the accounts with the e-mail in any case: those that it was proved of first.

        Of what custom providers say, that of `custom_issuer` is a proof.
        """


class ForeignIssuer:
    """Verifies one foreign issuer's tokens.

    Attributes:
        keys: Its key set.
        leeway_seconds: Clock skew forgiven.
        row: Stands for it among the rows that a verdict came from.
        rule: Which accounts an e-mail leads to.
        token_bytes: A token has so many bytes at most.
        steady: The clock by which `keys` are followed.
    """

    def __init__(self, keys: JwksClient, mapped: Mapped, users: Users, steady: Callable[[], float]) -> None:
        """`steady` is a clock that nobody sets, in seconds."""
        self.keys = keys
        self.leeway_seconds = mapped.leeway_seconds
        self.row = uuid4()
        self.token_bytes = mapped.token_bytes
        self.rule = ProofRule(mapped.custom_issuer, takes_unproved=mapped.takes_unproved)
        self._mapped = mapped
        self._users = users
        self.steady = steady

    def claims(self, token: bytes) -> bool:
        """Return whether a token says that it is this issuer's, which proves nothing yet."""
        try:
            return (
                jws.unproved(jws.bounded(token, self._mapped.token_bytes)).get("iss") == self._mapped.issuer
            )
        except TokenRejected:
            return False

    async def verify(self, token: bytes, now: float) -> ForeignUser:
        """Prove a token.

        Raises:
            TokenRejected: it is not to be believed (by subclass).
            IssuerUnavailable: The key set cannot be fetched, so the token cannot be judged.
        """
        payload, key = await prove_remotely(token, self.keys, self.steady(), self._mapped.token_bytes)
        if "events" in payload or _is_for_another_use(jws.read_header(token).get("typ")):
            raise TokenRejected
        expires_at = self._check(payload, now)
        mapped = self._mapped
        return ForeignUser(
            user_id=_required(uuid(payload, mapped.user_id)) if mapped.user_id else None,
            email=None if mapped.user_id else self._email(payload),
            organization_id=uuid(payload, mapped.organization) if mapped.organization else None,
            expires_at=expires_at,
            key=key.name,
        )

    def _check(self, payload: Mapping[str, object], now: float) -> float:
        mapped = self._mapped
        expires_at, not_before = moment(payload, "exp"), moment(payload, "nbf")
        if payload.get("iss") != mapped.issuer or not audiences(payload) & mapped.audiences:
            raise TokenRejected
        if expires_at is None:
            raise TokenMalformed
        if expires_at + mapped.leeway_seconds <= now:
            raise TokenExpired
        if not_before is not None and not_before > now + mapped.leeway_seconds:
            raise TokenRejected
        check_issued(payload, now + mapped.leeway_seconds)
        return expires_at

    def _email(self, payload: Mapping[str, object]) -> str:
        _required(text(payload, self._mapped.email))
        email = verified_email(payload, self._mapped.email, is_trusted=self._mapped.trusts_email)
        if email is None:
            raise TokenRejected
        return email

    async def find(self, user: ForeignUser) -> AccessClaims:
        """Return the claims that an own token of this user would have.

        Raises:
            SubjectUnknown: there is no such user here, or more than one.
            EmailUnproved: there is, and nobody has proved that the e-mail is theirs.
            StoreUnavailable: the database does not answer.
        """
        user_id = user.user_id
        if user_id is None:
            holders = await self._users.holders(user.email or "", self.rule.custom_issuer)
            user_id = self._one_of(holders)
        organization = user.organization_id or await self._users.home(user_id)
        if organization is None:
            raise SubjectUnknown
        return AccessClaims(user_id=user_id, organization_id=organization, expires_at=user.expires_at)

    def _one_of(self, holders: Sequence[Holder]) -> UUID:
        # store.revocation asks the same in SQL, of many tokens at once.
        taken = [one for one in holders if one.is_proved or self.rule.takes_unproved]
        if holders and not taken:
            raise EmailUnproved
        if len(taken) != 1:
            raise SubjectUnknown
        return taken[0].user_id


def _is_for_another_use(typ: object) -> bool:
    """Return whether a token's ``typ`` says that it is none to call with (RFC 8725 section 3.11, RFC 9068)."""
    if not isinstance(typ, str):
        return typ is not None
    kind = typ.lower().removeprefix("application/")
    return kind.endswith("+jwt") and kind != "at+jwt"


def _required(value: T | None) -> T:
    if value is None or value == "":
        raise TokenMalformed
    return value
