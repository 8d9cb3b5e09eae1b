"""Statement that finds, among many principals at once, those whose access has ended, for the watch over sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.revocation import RevocationReason
from authcore.store import key_lineage
from authcore.store.session_statements import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from authcore.principal import Principal
    from authcore.store.pool import DatabasePool

# The memberships by the law of rows.Subject.is_member. LATERAL with OFFSET 0 has the rows found by their indexes: the
# planner read all organizations for a few principals.
_FALLEN: Final = f"""
SELECT place, CASE WHEN NOT has_user THEN 'user' WHEN NOT is_member THEN 'membership'
                   WHEN NOT has_session THEN 'session' ELSE 'key' END AS why
FROM (
    SELECT h.place, coalesce(u.is_active, false) AS has_user,
           o.id IS NOT NULL AND (coalesce(u.is_super_admin, false)
               OR EXISTS (SELECT FROM user_organizations m WHERE m.user_id = h.user_id
                          AND m.organization_id = h.organization_id AND m.deleted_at IS NULL)
               OR (u.organization_id = h.organization_id AND NOT EXISTS (SELECT FROM user_organizations gone
                   WHERE gone.user_id = h.user_id AND gone.organization_id = h.organization_id
                   UNION ALL SELECT FROM gateway_former_memberships former
                   WHERE former.user_id = h.user_id AND former.organization_id = h.organization_id))) AS is_member,
           h.session_id IS NULL OR (s.revoked_at IS NULL AND coalesce(s.expires_at > $5, false) AND {UNCHANGED})
               AS has_session,
           h.key_id IS NULL
               OR (coalesce(k.is_active, false) AND coalesce(k.expires_at > $5, k.id IS NOT NULL)
                   AND before.is_active AND coalesce(before.expires_at > $5, true)) AS has_key
    FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[]), (SELECT $3::uuid[]), (SELECT $4::uuid[]))
        WITH ORDINALITY AS h (user_id, organization_id, session_id, key_id, place)
    LEFT JOIN LATERAL (
        SELECT id, organization_id, is_active, is_super_admin, password_hash, sso_provider, sso_provider_id
        FROM users WHERE id = h.user_id AND deleted_at IS NULL OFFSET 0) u ON true
    LEFT JOIN LATERAL (
        SELECT id FROM organizations WHERE id = h.organization_id AND deleted_at IS NULL OFFSET 0) o ON true
    LEFT JOIN LATERAL (
        SELECT id, user_id, revoked_at, expires_at, password_fingerprint
        FROM gateway_sessions WHERE id = h.session_id AND user_id = h.user_id OFFSET 0) s ON true
    LEFT JOIN LATERAL (
        SELECT id, is_active, expires_at FROM api_keys WHERE id = h.key_id AND deleted_at IS NULL OFFSET 0) k ON true
    {key_lineage.BEFORE.format(key="h.key_id")}) standing
WHERE NOT (has_user AND is_member AND has_session AND has_key)
"""  # noqa: S608 - of a constant of ours


class RevocationRows:
    """Reads whether principals still have access."""

    _pool: DatabasePool

    async def revoked_among(
        self, principals: Sequence[Principal], at: datetime
    ) -> Mapping[int, RevocationReason]:
        """Return the index of each of `principals` whose access has ended, and the reason."""
        rows = await self._pool.fetch(
            _FALLEN,
            [one.user_id for one in principals],
            [one.organization_id for one in principals],
            [one.session_id for one in principals],
            [one.key_id for one in principals],
            at,
        )
        return {row["place"] - 1: RevocationReason(row["why"]) for row in rows}
