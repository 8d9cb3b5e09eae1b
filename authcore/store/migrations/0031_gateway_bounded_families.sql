-- The id of a refresh token that is about to be written into Whatomate's Redis (GATEWAY_WHATOMATE_REDIS_URL), from the
-- statement on that inserts the token: what ends the session in between deletes it there. whatomate_jti is the same id once
-- it is known to have been written.
-- And when the latest token was issued whose row was deleted after its use because its session had too many: a genuine
-- token of the session that has no row and was issued up to then was used before.

ALTER TABLE gateway_refresh_tokens ADD COLUMN whatomate_offer text;
ALTER TABLE gateway_sessions ADD COLUMN forgotten_until timestamptz;
