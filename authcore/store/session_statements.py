"""Statements on families of refresh tokens, and the two laws that they share.

Laws:

- The user's row in ``gateway_sign_outs`` orders the beginning of a session and the end of all sessions
  (:data:`_GATE`): both lock it first. The end then reads sessions in a new statement, which sees every session that
  began before. The beginning goes by the time in the row, which the last such end has written.
- A session is over while something that it was founded on has changed (:data:`UNCHANGED`), regardless of the writer:
  the user's password hash; for single sign-on the provider's row, which has to be enabled, and the user's binding to
  the account there. A session from before these were noted goes on.
- A family has at most :data:`MOST_TOKENS` rows, or a few more if several were added at once. The statement that adds
  a row deletes those beyond: superseded tokens first, and of these the oldest first. ``forgotten_until`` of the session
  is the issue time of the latest used token that lost its row. The first token's row stays, because a token of
  Whatomate's without a row would be entered again.
- A session that stays in one organization (``bound_to``) is over while its user is a super admin: the provider that a
  row alone names speaks for no super admin.
"""

from __future__ import annotations

from typing import Final

FINGERPRINT: Final = "sha256(convert_to(coalesce(u.password_hash, ''), 'UTF8'))"
"""SHA-256 of the password hash of the user ``u``."""
# A provider without an issuer has its token_url noted as the issuer: with another URL it is another provider. Gateways
# from before migration 0030 note no account.
_PROVIDER: Final = """NOT EXISTS (
    SELECT FROM gateway_sso_sessions noted WHERE noted.session_id = s.id AND NOT (
        (noted.bound_to IS NULL OR NOT coalesce(u.is_super_admin, false)) AND EXISTS (
            SELECT FROM sso_providers p JOIN gateway_sso_identities i ON i.user_id = s.user_id
                AND i.provider = p.provider AND i.issuer = noted.issuer
                AND i.account = coalesce(noted.account, i.account)
            WHERE p.id = noted.provider_id AND p.is_enabled AND p.deleted_at IS NULL
                AND (noted.bound_to IS NULL OR p.token_url = noted.issuer)
                AND u.sso_provider = i.provider AND u.sso_provider_id = i.account)))"""
UNCHANGED: Final = f"(coalesce(s.password_fingerprint = {FINGERPRINT}, true) AND {_PROVIDER})"
"""True if the session ``s`` of the user ``u`` still has its foundation: the password hash, and the provider if any."""

# The user's last sign-out: the row as it is once locked, whatever the statement's snapshot showed. A time more than a
# minute ahead was written by a wrong clock. It is lowered, or no session could be founded until then.
_GATE: Final = """gate AS (
    INSERT INTO gateway_sign_outs (user_id, at) VALUES ({user}, 'epoch')
    ON CONFLICT (user_id) DO UPDATE SET
        at = least(gateway_sign_outs.at, {now}::timestamptz + interval '1 minute') RETURNING at)"""

MOST_TOKENS: Final = 100
# Delete the tokens of a family beyond MOST_TOKENS. Four are not ranked and stay: the first token, the new one, the used
# one and the one before it. The planner expects few rows of an array, and looks them up by their index. Locked rows are
# passed over, as by TRIM below.
_BOUND: Final = f"""ranked AS (
    SELECT t.digest FROM gateway_refresh_tokens t JOIN {{family}} ON t.family = {{family}}.session_id
    WHERE t.issued_at > {{family}}.began_at {{but}}
    ORDER BY t.superseded_at IS NULL DESC, t.issued_at DESC OFFSET {MOST_TOKENS - 4}),
beyond AS (
    SELECT digest FROM gateway_refresh_tokens WHERE digest = ANY (ARRAY(SELECT digest FROM ranked))
    FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM gateway_refresh_tokens WHERE digest = ANY (ARRAY(SELECT digest FROM beyond))
    RETURNING issued_at, used_at, coalesce(whatomate_jti, whatomate_offer) AS jti)"""  # noqa: S608 - of the constant
_BUT_USED: Final = """AND turned.effect = 'issue' AND t.digest <> turned.digest
        AND t.digest IS DISTINCT FROM turned.follows"""
_FORGOTTEN: Final = "greatest(s.forgotten_until, (SELECT max(issued_at) FROM gone WHERE used_at IS NOT NULL))"
_DISPLACED: Final = "ARRAY(SELECT jti FROM gone WHERE used_at IS NULL AND jti IS NOT NULL) AS displaced"

OPEN: Final = f"""
WITH {_GATE.format(user="$2::uuid", now="$5")},
session AS (
    INSERT INTO gateway_sessions
        (id, user_id, organization_id, created_at, last_used_at, expires_at, device, address, password_fingerprint,
         is_entered)
    SELECT $1, u.id, $3, $5, $5, $6, $7, $8, {FINGERPRINT}, false FROM gate, users u
    WHERE u.id = $2 AND u.deleted_at IS NULL AND coalesce({FINGERPRINT} = $9::bytea, true)
        AND coalesce(gate.at < $10::timestamptz, true)
    RETURNING id)
INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at, whatomate_offer)
SELECT $4, id, $5, $6, $11 FROM session RETURNING family
"""  # noqa: S608 - of the constants above

EXTEND: Final = f"""
WITH found AS (
    SELECT s.id AS session_id, s.created_at AS began_at FROM gateway_sessions s JOIN users u ON u.id = s.user_id
    WHERE s.id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL AND {UNCHANGED} FOR UPDATE OF s),
{_BOUND.format(family="found", but="")},
session AS (
    UPDATE gateway_sessions s SET organization_id = $3, last_used_at = $5, expires_at = greatest(s.expires_at, $6),
        device = $7, address = $8, forgotten_until = {_FORGOTTEN}
    FROM found WHERE s.id = found.session_id),
added AS (
    INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at, whatomate_offer)
    SELECT $4::bytea, session_id, $5, $6, $9::text FROM found)
SELECT {_DISPLACED} FROM found
"""  # noqa: S608 - of the constants above

# FOR UPDATE returns the rows as they are once locked (PostgreSQL re-evaluates the query on their newest versions), and
# so does each UPDATE after it: what the statement's snapshot showed of them decides nothing.
ROTATE: Final = f"""
WITH found AS (
    SELECT t.digest, t.follows, t.successor, s.id AS session_id, s.created_at AS began_at,
        {FINGERPRINT} AS fingerprint,
        CASE WHEN t.reused_at IS NOT NULL THEN 'reused'
             WHEN s.revoked_at IS NOT NULL OR NOT {UNCHANGED} THEN 'revoked'
             WHEN t.expires_at <= $5 OR s.created_at <= $6 THEN 'expired'
             WHEN t.used_at IS NULL THEN 'issued'
             WHEN t.superseded_at IS NOT NULL THEN 'superseded'
             ELSE 'rotated' END AS state,
        CASE WHEN $2::text <> 'refresh' OR t.used_at IS NULL THEN $2::text
             WHEN t.used_at > $4 THEN 'race'
             WHEN t.used_by IS DISTINCT FROM $15::text THEN 'refresh'
             WHEN t.retry_until > $3 THEN 'retry'
             ELSE 'return' END AS event
    FROM gateway_sessions s JOIN gateway_refresh_tokens t ON t.family = s.id LEFT JOIN users u ON u.id = s.user_id
    WHERE t.digest = $1
    FOR UPDATE OF s, t),
turned AS (
    SELECT found.*, law.next, law.effect FROM found
    JOIN unnest($7::text[], $8::text[], $9::text[], $10::text[]) AS law (state, event, next, effect)
        USING (state, event)),
token AS (
    UPDATE gateway_refresh_tokens t SET
        used_at = CASE WHEN turned.effect = 'issue' THEN $3 ELSE t.used_at END,
        used_by = CASE WHEN turned.effect = 'issue' THEN $15 ELSE t.used_by END,
        retry_until = CASE WHEN turned.effect = 'issue' THEN $17::timestamptz ELSE t.retry_until END,
        reused_at = CASE WHEN turned.next = 'reused' THEN $3 END,
        successor = CASE WHEN turned.effect = 'issue' THEN $13::bytea END
    FROM turned WHERE t.digest = turned.digest AND turned.next <> turned.state),
before AS (
    UPDATE gateway_refresh_tokens t SET superseded_at = $3
    FROM turned WHERE t.digest = turned.follows AND turned.effect = 'issue'),
added AS (
    INSERT INTO gateway_refresh_tokens (digest, family, follows, issued_at, expires_at, whatomate_offer)
    SELECT $11::bytea, session_id, digest, $3, $12::timestamptz, $19::text FROM turned WHERE effect = 'issue'),
{_BOUND.format(family="turned", but=_BUT_USED)},
used AS (
    UPDATE gateway_sessions s SET last_used_at = $3,
        expires_at = greatest(s.expires_at, $18::timestamptz,
            CASE turned.effect WHEN 'issue' THEN $12::timestamptz END),
        organization_id = $14::uuid, device = $15::text, address = $16::text,
        password_fingerprint = coalesce(s.password_fingerprint, turned.fingerprint), forgotten_until = {_FORGOTTEN}
    FROM turned WHERE s.id = turned.session_id AND turned.effect IN ('issue', 'renew')),
ended AS (
    UPDATE gateway_sessions s SET revoked_at = $3
    FROM turned WHERE s.id = turned.session_id AND turned.effect = 'end')
SELECT session_id, state, effect, successor, {_DISPLACED} FROM turned
"""  # noqa: S608 - of the constants above

# A genuine token of the session that has no row and was issued up to forgotten_until was used before.
USE_FORGOTTEN: Final = """
UPDATE gateway_sessions SET revoked_at = $4
WHERE id = $1 AND user_id = $2 AND forgotten_until >= $3 AND revoked_at IS NULL RETURNING id
"""

# A token that was entered before stays in its family: a second caller that enters it gets that family.
ADOPT: Final = f"""
WITH {_GATE.format(user="$3::uuid", now="$5")},
token AS (
    INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at)
    SELECT $1, $2, $5, $6 FROM gate
    WHERE EXISTS (SELECT FROM gateway_refresh_tokens known WHERE known.digest = $1) OR gate.at < $7::timestamptz
    ON CONFLICT (digest) DO UPDATE SET family = gateway_refresh_tokens.family RETURNING family),
session AS (
    INSERT INTO gateway_sessions
        (id, user_id, organization_id, created_at, last_used_at, expires_at, device, address, password_fingerprint)
    SELECT family, $3, $4::uuid, $5, $5, $6, $8, $9, {FINGERPRINT}
    FROM token LEFT JOIN users u ON u.id = $3 WHERE family = $2)
SELECT token.family AS id, coalesce(s.created_at, $5) AS created_at
FROM token LEFT JOIN gateway_sessions s ON s.id = token.family
"""  # noqa: S608 - of the constants above

# Locks the gate, so that no sign-out comes between this look and what follows it in the transaction.
IS_OVER: Final = f"""
WITH {_GATE.format(user="$1::uuid", now="$4")}
SELECT gate.at > $3::timestamptz OR ($2::uuid IS NOT NULL AND NOT EXISTS (
    SELECT FROM gateway_sessions s JOIN users u ON u.id = s.user_id
    WHERE s.id = $2 AND s.user_id = $1 AND s.revoked_at IS NULL AND {UNCHANGED}))
FROM gate
"""  # noqa: S608 - of the constants above

SIGN_OUT: Final = """
INSERT INTO gateway_sign_outs (user_id, at) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET
    at = greatest(least(gateway_sign_outs.at, excluded.at + interval '1 minute'), excluded.at)
"""

END_ALL: Final = """
UPDATE gateway_sessions SET revoked_at = $3
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $4 AND id IS DISTINCT FROM $2::uuid RETURNING id
"""

# The session that goes on ($4) counts as begun under the new hash, if it began under the old one. An operator replaces
# any hash ($2 null).
REPLACE_HASH: Final = """
WITH changed AS (
    UPDATE users SET password_hash = $3, updated_at = now()
    WHERE id = $1 AND coalesce(coalesce(password_hash, '') = $2, true) AND deleted_at IS NULL RETURNING id),
spared AS (
    UPDATE gateway_sessions s SET password_fingerprint = sha256(convert_to($3, 'UTF8')) FROM changed
    WHERE s.id = $4::uuid AND s.user_id = changed.id
        AND coalesce(s.password_fingerprint = sha256(convert_to($2, 'UTF8')), true)),
ended AS (
    UPDATE gateway_sessions s SET revoked_at = $5 FROM changed
    WHERE s.user_id = changed.id AND s.revoked_at IS NULL AND s.expires_at > $6 AND s.id IS DISTINCT FROM $4::uuid
    RETURNING s.id)
SELECT EXISTS (SELECT FROM changed) AS is_changed, ARRAY(SELECT id FROM ended) AS ended
"""

# A session that began at a gateway from before the fingerprints is taken to have begun under the present hash.
NOTE_PASSWORDS: Final = f"""
WITH noted AS (
    UPDATE gateway_sessions s SET password_fingerprint = {FINGERPRINT} FROM users u
    WHERE u.id = s.user_id AND s.password_fingerprint IS NULL AND s.revoked_at IS NULL AND s.id = ANY (ARRAY(
        SELECT one.id FROM gateway_sessions one JOIN users ON users.id = one.user_id
        WHERE one.password_fingerprint IS NULL AND one.revoked_at IS NULL LIMIT $1)) RETURNING s.id)
SELECT count(*) FROM noted
"""  # noqa: S608 - of the constants above

LIVE: Final = f"""
SELECT EXISTS (SELECT FROM gateway_sessions s JOIN users u ON u.id = s.user_id
    WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND s.created_at > $3 AND {UNCHANGED})
"""  # noqa: S608 - of the constants above

LIST: Final = f"""
SELECT s.id, s.organization_id, s.device, s.address, s.created_at,
       coalesce(s.last_used_at, s.created_at) AS last_used_at, s.expires_at
FROM gateway_sessions s JOIN users u ON u.id = s.user_id
WHERE s.user_id = $1 AND s.revoked_at IS NULL AND s.expires_at > $3 AND s.created_at > $4 AND {UNCHANGED}
ORDER BY s.id IS NOT DISTINCT FROM $2::uuid DESC, coalesce(s.last_used_at, s.created_at) DESC, s.id LIMIT 100
"""  # noqa: S608 - of the constants above

# Locked rows are passed over, so that nothing here waits for a statement that waits for this one: the next sign-in
# finds them. A session that a token of Whatomate's was entered into stays till its time, or it would be taken again.
TRIM: Final = """
WITH ranked AS (
    SELECT id, row_number() OVER (ORDER BY revoked_at IS NOT NULL, coalesce(last_used_at, created_at) DESC, id) AS place
    FROM gateway_sessions WHERE user_id = $1 AND expires_at > $3),
beyond AS (
    SELECT s.id, s.revoked_at IS NULL AS is_live, s.is_entered FROM gateway_sessions s
    WHERE s.id IN (SELECT id FROM ranked WHERE place > $2::bigint) FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM gateway_sessions WHERE id IN (SELECT id FROM beyond WHERE NOT is_live AND NOT is_entered))
UPDATE gateway_sessions SET revoked_at = $3 WHERE id IN (SELECT id FROM beyond WHERE is_live) RETURNING id
"""
