"""Statements that judge an attempt to sign in and count it, and that take back what was counted.

Law: a counter is shut for the longest wait at most. One that is shut for longer was written by a clock that was wrong,
and counts as open: the next attempt writes it anew.
"""

from __future__ import annotations

from typing import Final

from authcore.store.emails import folded
from authcore.store.session_statements import UNCHANGED

_WRONG_SECONDS: Final = 60
"""The clocks of two gateways differ by less. So what one writes is never further ahead of another's present than the
longest hold, the longest wait and this."""
_OPEN_AT: Final = f"""CASE WHEN f.open_at <= law.now + law.hold + make_interval(secs => law.longest + {_WRONG_SECONDS})
    THEN f.open_at ELSE 'epoch' END"""

# Add one failure to a leaky bucket. No row is returned, which refuses the attempt, if its turn is further away than the
# gateway holds a request. A bucket below its limit has 'epoch' as open_at, and not now: another replica's clock may be
# behind.
_COUNT: Final = """
    INSERT INTO gateway_sign_in_failures AS f (subject, level, seen_at, slot_at, open_at, expires_at)
    SELECT subject, 1, now, now, CASE WHEN delay > '0' THEN now + delay ELSE 'epoch' END,
           greatest(now + delay, now + make_interval(secs => law.span / {free}))
    FROM law, ({asking}) asking (subject),
         make_interval(secs => CASE WHEN {free} <= 1 THEN least(first, longest) ELSE 0 END) delay
    ON CONFLICT (subject) DO UPDATE SET (level, seen_at, slot_at, open_at, expires_at) = (
        SELECT counted.level, now, slot_at, CASE WHEN delay > '0' THEN slot_at + delay ELSE 'epoch' END,
               greatest(slot_at + delay, now + make_interval(secs => counted.level * law.span / {free}))
        FROM law,
             LATERAL (SELECT greatest(0, extract(epoch FROM now - f.seen_at)) * {free} / law.span AS leaked) past,
             LATERAL (SELECT 1 + greatest(0, f.level - leaked) AS level, greatest(now, {open_at}) AS slot_at) counted,
             make_interval(secs => CASE WHEN ceil(counted.level) < {free} THEN 0
                 ELSE least(longest, first * power(2, least(60, ceil(counted.level) - {free}))) END) delay)
    WHERE (SELECT {open_at} <= now + hold FROM law)
    RETURNING slot_at"""

_OF_ADDRESS: Final = _COUNT.format(
    free="free_of_address",
    open_at=_OPEN_AT,
    asking="SELECT address FROM asked, shut, law WHERE coalesce(until <= now + hold, true)",
)
_OF_EMAIL: Final = _COUNT.format(
    free="free",
    open_at=_OPEN_AT,
    asking="SELECT email FROM asked, known, of_address WHERE NOT known.here",
)
_OF_PAIR: Final = _COUNT.format(
    free="free",
    open_at=_OPEN_AT,
    asking="SELECT pair FROM asked, known, shut, law, (SELECT count(*) AS counted FROM of_address) before "
    "WHERE (known.here AND coalesce(until <= now + CASE WHEN passed > now + hold THEN '0' ELSE hold END, true)) "
    "OR (before.counted > 0 AND EXISTS (SELECT FROM of_email))",
)

# Each counter counts only what the one before it has counted. So rows are locked in this order, and an attempt that one
# counter refuses is not counted by the next. `shut` reads all of them first, so that none counts what a later one is
# about to refuse. Where an unknown address would be refused, a known one does not wait either: a wrong password from it
# would be answered later than one from an unknown address.
RESERVE: Final = f"""
WITH law AS (
    SELECT $4::timestamptz AS now, $5::timestamptz AS known_since, $6::double precision AS span,
           $7::double precision AS first, $8::double precision AS longest, make_interval(secs => $9) AS hold,
           $10::double precision AS free, $11::double precision AS free_of_address),
asked AS (
    SELECT sha256(convert_to('address ' || $2::text, 'UTF8')) AS address,
           sha256(convert_to($13::text || ' ' || {folded("$1::text")}, 'UTF8')) AS email,
           sha256(convert_to($13 || ' ' || {folded("$1")}, 'UTF8'))
               || sha256(convert_to('pair ' || coalesce($3::text, $2), 'UTF8')) AS pair),
known AS (
    SELECT $3 IS NOT NULL OR EXISTS (
        SELECT FROM gateway_sign_in_addresses k
        WHERE k.email = asked.email AND k.address = asked.address AND k.seen_at > known_since)
        OR EXISTS (
        SELECT FROM users u JOIN gateway_sessions s ON s.user_id = u.id
        WHERE {folded("u.email")} = {folded("$1")} AND u.deleted_at IS NULL AND s.address = nullif($12::text, '')
            AND s.revoked_at IS NULL AND s.expires_at > now AND {UNCHANGED}) AS here
    FROM asked, law),
shut AS (
    SELECT max(judged.open_at) FILTER (WHERE subject = pair OR NOT here) AS until,
           max(judged.open_at) FILTER (WHERE subject <> pair AND here AND $3 IS NULL) AS passed
    FROM asked, known, law, gateway_sign_in_failures f
    CROSS JOIN LATERAL (SELECT {_OPEN_AT} AS open_at) judged
    WHERE subject IN (address, email, pair)),
of_address AS ({_OF_ADDRESS}),
of_email AS ({_OF_EMAIL}),
of_pair AS ({_OF_PAIR})
SELECT address, CASE WHEN EXISTS (SELECT FROM of_address) THEN address END AS counted_address,
       CASE WHEN here THEN NULL ELSE email END AS counted_email, email, pair, here,
       CASE WHEN passed > now + hold THEN extract(epoch FROM greatest(passed, until) - now)::double precision
           END AS passed_seconds,
       EXISTS (SELECT FROM of_pair) AS is_reserved,
       extract(epoch FROM CASE WHEN EXISTS (SELECT FROM of_pair) THEN greatest(
           (SELECT slot_at FROM of_address), (SELECT slot_at FROM of_email), (SELECT slot_at FROM of_pair))
           ELSE greatest(until, passed) END - now)::double precision AS wait_seconds
FROM asked, known, shut, law
"""  # noqa: S608 - of the constants above

# The pair and the e-mail are lowered by the same: by one attempt, or to nothing when the attempt succeeded ($5 null).
# After a success the address is known, and the one known for longest is forgotten for it. Rows are locked in order.
TAKE_BACK: Final = f"""
WITH given (place, subject, taken, free) AS (
    SELECT 1, $10::bytea, 1::double precision, $7::double precision
    UNION ALL
    SELECT place, pair.subject, coalesce($5::double precision, f.level), $6::double precision
    FROM (VALUES (2, $2::bytea), (3, $3::bytea)) pair (place, subject), gateway_sign_in_failures f
    WHERE f.subject = $3),
locked AS (
    SELECT f.subject, f.level - taken AS level, free
    FROM gateway_sign_in_failures f JOIN given ON given.subject = f.subject ORDER BY place FOR UPDATE OF f),
remembered AS (
    INSERT INTO gateway_sign_in_addresses AS k (email, address, seen_at)
    SELECT $8::bytea, $1, $4::timestamptz WHERE $5 IS NULL
    ON CONFLICT (email, address) DO UPDATE SET
        seen_at = greatest(excluded.seen_at, least(k.seen_at, excluded.seen_at + interval '{_WRONG_SECONDS} seconds'))),
replaced AS (
    DELETE FROM gateway_sign_in_addresses WHERE $5 IS NULL AND email = $8 AND address IN (
        SELECT address FROM gateway_sign_in_addresses WHERE email = $8 AND address <> $1
        ORDER BY seen_at DESC OFFSET $9 FOR UPDATE SKIP LOCKED))
UPDATE gateway_sign_in_failures f
SET level = greatest(0, locked.level),
    open_at = CASE WHEN ceil(locked.level) < free THEN 'epoch' ELSE f.open_at END,
    expires_at = CASE WHEN locked.level <= 0 THEN $4 ELSE f.expires_at END
FROM locked WHERE f.subject = locked.subject
"""  # noqa: S608 - of the constants above
