"""Finding users as operators name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store.emails import folded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.store.pool import DatabasePool

# This only finds the user. Whether they may act there is judged when they do.
_NAMESAKES: Final = f"""
SELECT u.id AS user_id, o.id AS organization_id, u.email
FROM organizations o JOIN users u ON u.deleted_at IS NULL AND (u.organization_id = o.id OR EXISTS (
    SELECT FROM user_organizations m WHERE m.user_id = u.id AND m.organization_id = o.id AND m.deleted_at IS NULL))
WHERE lower(o.slug) = lower($2::text) AND o.deleted_at IS NULL
    AND starts_with({folded("u.email")}, lower($1::text) || '@')
ORDER BY u.email LIMIT 5
"""  # noqa: S608 - of the folding alone


class UserLookupRows:
    """Reads of users by what they are called."""

    _pool: DatabasePool

    async def namesakes(self, name: str, slug: str) -> Sequence[tuple[UUID, UUID, str]]:
        """Return the members of the organization whose e-mail begins with ``name@``."""
        rows = await self._pool.fetch(_NAMESAKES, name, slug)
        return [(row["user_id"], row["organization_id"], row["email"]) for row in rows]
