"""Statement that finds, among many principals at once, those whose access has ended, for the watch over sockets.

Of those whose access goes on it returns when the rows of their API keys end it.

Law: a principal is checked by the same conditions as a new request with its credential, so that each revocation that
refuses the request ends the socket or stream, too. The conditions of users and organizations are the SQL of
:mod:`authcore.store.subjects`. Those of the session's end and of API keys are written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.revocation import RevocationReason, Standings
from authcore.store import key_lineage
from authcore.store.origins import ProofRule, holders_of
from authcore.store.subjects import may_act, subject_of
from authcore.store.timestamps import readable_or_null

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from authcore.principal import Principal
    from authcore.store.pool import DatabasePool

# LATERAL with OFFSET 0 has the rows found by their indexes: the planner read all organizations for a few principals.
# Columns of a subject that are not used here, such as its permissions, are not computed. The e-mail's accounts are
# judged as ForeignIssuer does, and CASE spares other principals the search.
_STANDINGS: Final = f"""
SELECT place, CASE WHEN NOT has_user THEN 'user' WHEN NOT is_member THEN 'membership'
                   WHEN NOT has_session THEN 'session' WHEN NOT has_key THEN 'key' END AS why, key_ends_at
FROM (
    SELECT h.place, coalesce(own.is_active, false) AS has_user,
           coalesce({may_act("own", "h.own_id")}, false)
               AND (h.elsewhere_id IS NULL OR coalesce({may_act("there", "h.elsewhere_id")}, false)) AS is_member,
           NOT coalesce(own.is_session_over, true)
               AND (h.session_id IS NULL OR EXISTS (
                   SELECT FROM gateway_sessions t WHERE t.id = h.session_id AND t.expires_at > $9::timestamptz))
               AND CASE WHEN h.email IS NULL THEN true ELSE (
                   SELECT count(*) = 1 AND bool_and(one.id = h.user_id)
                   FROM ({holders_of("h.email", "$10::text")}) one WHERE one.is_proved OR $11::boolean) END
               AS has_session,
           h.key_id IS NULL
               OR (coalesce(k.is_active, false) AND coalesce(k.expires_at > $9, k.id IS NOT NULL)
                   AND before.is_active AND coalesce(before.expires_at > $9, true)) AS has_key,
           {readable_or_null("least(k.expires_at, before.expires_at)")} AS key_ends_at
    FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[]), (SELECT $3::uuid[]), (SELECT $4::uuid[]),
                (SELECT $5::timestamptz[]), (SELECT $6::uuid[]), (SELECT $7::bytea[]), (SELECT $8::text[]))
        WITH ORDINALITY AS h (user_id, own_id, elsewhere_id, session_id, founded_at, key_id, fingerprint, email, place)
    LEFT JOIN LATERAL (
        {subject_of("h.user_id", "h.own_id", "h.session_id", "h.founded_at")} OFFSET 0) own ON true
    LEFT JOIN LATERAL (
        {subject_of("CASE WHEN h.elsewhere_id IS NOT NULL THEN h.user_id END", "h.elsewhere_id", "h.session_id")}
        OFFSET 0) there ON true
    LEFT JOIN LATERAL (
        SELECT id, is_active, expires_at FROM api_keys
        WHERE id = h.key_id AND user_id = h.user_id AND organization_id = h.own_id AND deleted_at IS NULL
            AND coalesce(sha256(convert_to(key_hash, 'UTF8')) = h.fingerprint, h.fingerprint IS NULL)
        OFFSET 0) k ON true
    {key_lineage.BEFORE.format(key="h.key_id")}) standing
WHERE NOT (has_user AND is_member AND has_session AND has_key) OR key_ends_at IS NOT NULL
"""  # noqa: S608 - of constants of ours


class RevocationRows:
    """Reads whether principals still have access."""

    _pool: DatabasePool

    async def standings(
        self,
        principals: Sequence[Principal],
        at: datetime,
        rule: ProofRule = ProofRule(),  # noqa: B008 - immutable
    ) -> Standings:
        """Return whose access has ended among `principals`, with the reason, and when that of others ends.

        `rule` is the proof rule of the foreign issuer whose tokens are accepted, if any.
        """
        own = [one.own_organization_id or one.organization_id for one in principals]
        rows = await self._pool.fetch(
            _STANDINGS,
            [one.user_id for one in principals],
            own,
            [
                None if one.organization_id == home else one.organization_id
                for one, home in zip(principals, own, strict=True)
            ],
            [one.session_id for one in principals],
            [one.founded_at for one in principals],
            [one.key_id for one in principals],
            [one.key_fingerprint for one in principals],
            [None if one.foreign is None else one.foreign.email for one in principals],
            at,
            *rule,
        )
        return Standings(
            {row["place"] - 1: RevocationReason(row["why"]) for row in rows if row["why"] is not None},
            {row["place"] - 1: row["key_ends_at"].timestamp() for row in rows if row["why"] is None},
        )
