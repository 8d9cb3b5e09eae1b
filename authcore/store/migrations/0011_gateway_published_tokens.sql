-- The id of a refresh token that was written into Whatomate's Redis (GATEWAY_WHATOMATE_REDIS_URL): where it has gone from
-- there and the token is unused here, Whatomate has used it or logged it out.

ALTER TABLE gateway_refresh_tokens ADD COLUMN whatomate_jti text;
