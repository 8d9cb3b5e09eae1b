"""Quotas in PostgreSQL: the quota of each subject, and what is used of it in each window.

Laws:

- A batch is settled in one statement. Rows are locked in one order everywhere, so that two never wait for each other.
- A batch whose number was counted before changes nothing, and is answered with the present counts.
- A lease is at most a quarter of what is left: several gateways near the end of a quota all get some.
- What was let through is counted, even beyond the quota. Leases never go beyond it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from authcore.errors import ApiKeyUnknown, OrganizationUnknown
from authcore.quotas import Period, QuotaKey, Standing, SubjectKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.quotas import Batch, Usual
    from authcore.store.pool import DatabasePool, Row

KEEP_DAYS: Final = 400
"""Windows are deleted so many days after their first moment: the same month of last year can still be seen."""

# The row that is proposed carries what is settled as the difference of two of its columns.
_SETTLE: Final = """
WITH fresh AS (
    INSERT INTO gateway_quota_batches AS b (process, batch, seen_at) VALUES ($1, $2, now())
    ON CONFLICT (process) DO UPDATE SET batch = excluded.batch, seen_at = excluded.seen_at
    WHERE b.batch < excluded.batch RETURNING 1),
asked AS (
    SELECT a.kind, a.subject, a.period, a.starts_at, a.settled * n AS settled, a.wanted * n AS wanted,
           CASE WHEN q.subject IS NULL THEN a.usual ELSE q.most END AS most
    FROM (SELECT count(*) AS n FROM fresh) f,
         unnest($3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::bigint[], $8::bigint[], $9::bigint[])
             AS a (kind, subject, period, starts_at, settled, wanted, usual)
    LEFT JOIN gateway_quotas q ON q.kind = a.kind AND q.subject = a.subject AND q.period = a.period)
INSERT INTO gateway_quota_usage AS u (kind, subject, period, starts_at, used, granted, most)
SELECT kind, subject, period, starts_at, settled + lease, lease, most
FROM asked, LATERAL (SELECT greatest(0, least(wanted, (most - settled + 3) / 4)) AS lease) l
ORDER BY kind, subject, period, starts_at
ON CONFLICT (kind, subject, period, starts_at) DO UPDATE SET (used, granted, most) = (
    SELECT greatest(0, u.used + settled + lease), lease, excluded.most
    FROM (SELECT excluded.used - excluded.granted AS settled) s,
         LATERAL (SELECT greatest(0, least(excluded.granted, (excluded.most - u.used - settled + 3) / 4)) AS lease) l)
RETURNING kind, subject, period, starts_at, used, granted, most
"""

_STANDINGS: Final = """
SELECT a.kind, a.subject, a.period, a.starts_at, coalesce(u.used, 0) AS used, 0 AS granted,
       CASE WHEN q.subject IS NULL THEN a.usual ELSE q.most END AS most
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bigint[])
    AS a (kind, subject, period, starts_at, usual)
LEFT JOIN gateway_quotas q ON q.kind = a.kind AND q.subject = a.subject AND q.period = a.period
LEFT JOIN gateway_quota_usage u
    ON u.kind = a.kind AND u.subject = a.subject AND u.period = a.period AND u.starts_at = a.starts_at
"""

_SET: Final = """
INSERT INTO gateway_quotas (kind, subject, period, most)
SELECT $1, id, $3, $4 FROM (
    SELECT id FROM organizations WHERE $1 = 'organization' AND id = $2 AND deleted_at IS NULL
    UNION ALL SELECT id FROM api_keys WHERE $1 = 'api_key' AND id = $2 AND deleted_at IS NULL) one
ON CONFLICT (kind, subject, period) DO UPDATE SET most = excluded.most, changed_at = now()
RETURNING subject
"""

_CLEAR: Final = """
DELETE FROM gateway_quotas WHERE kind = $1 AND subject = $2 AND period = ANY ($3::text[]) RETURNING period
"""

# What has a quota of its own or is used in a window of now; by the organization, and then its keys.
_LIST: Final = """
SELECT s.kind, s.subject, s.period, coalesce(k.name, o.name, '') AS name, coalesce(u.used, 0) AS used,
       q.subject IS NOT NULL AS is_own, q.most
FROM (SELECT kind, subject, period FROM gateway_quotas
      UNION SELECT kind, subject, period FROM gateway_quota_usage
      WHERE (period, starts_at) IN (('day', $2), ('month', $3))) s
LEFT JOIN gateway_quotas q USING (kind, subject, period)
LEFT JOIN gateway_quota_usage u ON u.kind = s.kind AND u.subject = s.subject AND u.period = s.period
    AND u.starts_at = CASE s.period WHEN 'day' THEN $2::timestamptz ELSE $3::timestamptz END
LEFT JOIN api_keys k ON s.kind = 'api_key' AND k.id = s.subject AND k.deleted_at IS NULL
LEFT JOIN organizations o ON s.kind = 'organization' AND o.id = s.subject AND o.deleted_at IS NULL
WHERE $1::uuid IS NULL OR k.organization_id = $1 OR s.subject = $1
ORDER BY coalesce(k.organization_id, s.subject), s.kind DESC, s.subject, s.period
"""

_PURGE: Final = """
WITH gone AS (DELETE FROM gateway_quota_usage WHERE starts_at < $1 RETURNING 1),
idle AS (DELETE FROM gateway_quota_batches WHERE seen_at < now() - interval '7 days' RETURNING 1)
SELECT (SELECT count(*) FROM gone)
"""


class Listed(NamedTuple):
    """A subject's quota and what is used of it.

    Attributes:
        kind, subject, period: Whose, and of which period.
        name: The name of the API key or organization; empty if it is deleted.
        used: Requests in the present window, with the leases of running gateways.
        is_own: The quota is the subject's own, and not that of the settings.
        most: The quota if it is the subject's own; None for none.
    """

    kind: SubjectKind
    subject: UUID
    period: Period
    name: str
    used: int
    is_own: bool
    most: int | None


class QuotaRows:
    """Reads and writes of quotas and of what is used of them."""

    _pool: DatabasePool

    async def settle_quotas(self, process: UUID, batch: Batch, usual: Usual) -> dict[QuotaKey, Standing]:
        """Settle a batch of the process; return where each of its counts stands."""
        asks = batch.asks
        keys = _columns([ask.key for ask in asks])
        rows = await self._pool.fetch(
            _SETTLE,
            process,
            batch.number,
            *keys,
            [ask.settled for ask in asks],
            [ask.wanted for ask in asks],
            [usual.get((ask.key.kind, ask.key.period)) for ask in asks],
        )
        return _standings(rows)

    async def quota_standings(self, keys: Sequence[QuotaKey], usual: Usual) -> dict[QuotaKey, Standing]:
        """Return where counts stand."""
        usuals = [usual.get((key.kind, key.period)) for key in keys]
        return _standings(await self._pool.fetch(_STANDINGS, *_columns(keys), usuals))

    async def set_quota(self, kind: SubjectKind, subject: UUID, period: Period, most: int | None) -> None:
        """Give an API key or organization a quota of its own; None is no quota, whatever the settings have.

        Raises:
            ApiKeyUnknown: there is no such API key.
            OrganizationUnknown: there is no such organization.
        """
        if not await self._pool.fetch(_SET, kind.value, subject, period.value, most):
            raise ApiKeyUnknown if kind is SubjectKind.API_KEY else OrganizationUnknown

    async def clear_quotas(self, kind: SubjectKind, subject: UUID, periods: Sequence[Period]) -> list[Period]:
        """Delete a subject's own quotas, so that those of the settings count; return of which periods."""
        rows = await self._pool.fetch(_CLEAR, kind.value, subject, [period.value for period in periods])
        return [Period(row["period"]) for row in rows]

    async def list_quotas(self, organization: UUID | None, day: float, month: float) -> list[Listed]:
        """Return the quotas that subjects have of their own, and what is used in the windows that begin then.

        Of `organization` and its API keys, or of all if it is None.
        """
        rows = await self._pool.fetch(_LIST, organization, _moment(day), _moment(month))
        return [
            Listed(
                SubjectKind(row["kind"]),
                row["subject"],
                Period(row["period"]),
                row["name"],
                row["used"],
                row["is_own"],
                row["most"],
            )
            for row in rows
        ]

    async def purge_quotas(self, now: float) -> int:
        """Delete windows that began more than :data:`KEEP_DAYS` ago; return how many."""
        return int(await self._pool.fetchval(_PURGE, _moment(now - KEEP_DAYS * 86_400)))


def _columns(keys: Sequence[QuotaKey]) -> tuple[list[object], ...]:
    return (
        [key.kind.value for key in keys],
        [key.subject for key in keys],
        [key.period.value for key in keys],
        [_moment(key.starts) for key in keys],
    )


def _standings(rows: Sequence[Row]) -> dict[QuotaKey, Standing]:
    return {
        QuotaKey(
            SubjectKind(row["kind"]), row["subject"], Period(row["period"]), row["starts_at"].timestamp()
        ): Standing(row["used"], row["granted"], row["most"])
        for row in rows
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
