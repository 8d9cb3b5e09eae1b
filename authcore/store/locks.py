"""Advisory lock of a user, taken before memberships, API keys or invitations are counted and added.

The gateway's advisory locks have two keys. The first is 1466457701 for e-mails (:mod:`authcore.store.accounts`),
1466457702 for users, 1466457703 for operations (:mod:`authcore.store.operations`). Whatomate takes none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from asyncpg import UniqueViolationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

LOCK_USER: Final = "SELECT pg_advisory_xact_lock(1466457702, hashtext($1::text))"
"""It is held until the end of the transaction. The count has to be a later statement, which sees earlier commits."""


async def despite_others(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work`, a transaction; once more if Whatomate added a row of the same key meanwhile, which it sees then."""
    try:
        return await work()
    except UniqueViolationError:
        return await work()
