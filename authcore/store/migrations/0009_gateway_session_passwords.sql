-- Which password a session began under: SHA-256 of the stored hash, which tells nothing of the password and nothing of
-- the hash. A session whose user has another hash by now is over, whoever wrote it. Sessions from before this column
-- are taken to have begun under the hash that is there now; those that a gateway of before begins yet are given theirs
-- at their next refresh, or by the chore that looks for them.

ALTER TABLE gateway_sessions ADD COLUMN password_fingerprint bytea;

UPDATE gateway_sessions s SET password_fingerprint = sha256(convert_to(coalesce(u.password_hash, ''), 'UTF8'))
FROM users u WHERE u.id = s.user_id AND s.revoked_at IS NULL;

CREATE INDEX gateway_sessions_without_password ON gateway_sessions (id)
    WHERE password_fingerprint IS NULL AND revoked_at IS NULL;
