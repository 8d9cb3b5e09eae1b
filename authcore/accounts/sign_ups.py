"""Sign-ups as attempts: the hashing of a new user's password, and an invitation that is no good, are counted.

Law: work that anybody may ask for goes on counting with the client's address although it succeeds. What an invitation
asks for does not: the invitation is used up.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from authcore.errors import LoginRejected
from authcore.fair_queue import Work
from authcore.store.attempt_rows import CountedName

if TYPE_CHECKING:
    from authcore.accounts.token_pairs import TokenPair
    from authcore.fair_queue import Lane
    from authcore.passwords.hasher import Passwords
    from authcore.sign_in_throttle import SignInThrottle
    from authcore.store.rows import UserProfile
    from authcore.store.session_rows import Visit


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user, and the token pair of the session that has begun for them."""

    user: UserProfile
    tokens: TokenPair


async def hash_new(  # noqa: PLR0913 - the hash, and the attempt it is
    attempts: SignInThrottle,
    passwords: Passwords,
    *,
    email: str,
    password: str,
    visit: Visit,
    now: float,
    invited: bool,
) -> str:
    """Hash the password of a new user; `invited` by an invitation that lets them in.

    Raises:
        PasswordUnacceptable: it breaks the rules; then nothing is counted.
        Throttled: too many attempts have failed, or too many have registered from there.
        Overloaded: too much password work is waiting.
        StoreUnavailable: the database does not answer.
    """
    passwords.check(password)
    hashed = await attempts.throttled(
        lambda lane: passwords.hash(password, lane),
        email=email,
        address=visit.address,
        now=now,
        work=Work.INVITATION if invited else Work.REGISTER,
        keeps=not invited,
    )
    if hashed is None:  # hashing has no other outcome than a hash or an error
        raise LoginRejected
    return hashed


async def count_failure(attempts: SignInThrottle, invitation: str, visit: Visit, now: float) -> None:
    """Count an invitation that has been refuted already: with the address, and by itself.

    Raises:
        Throttled: too many attempts have failed from there.
        StoreUnavailable: the database does not answer.
    """
    digest = sha256(invitation.encode(errors="replace")).hexdigest()
    await attempts.throttled(
        _refuted,
        email=digest,
        address=visit.address,
        now=now,
        work=Work.INVITATION,
        kind=CountedName.INVITATION,
    )


async def _refuted(_: Lane) -> None:
    """Fail."""
