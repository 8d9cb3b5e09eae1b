-- What a session remembers of where it is used from, and what a refresh token remembers of its second use.
-- successor is the pair that followed a used token, sealed under a key that only the used token yields; it is dropped
-- after the grace. gateway_sign_outs tells since when refresh tokens that Whatomate issued are not taken any more.

ALTER TABLE gateway_sessions
    ADD COLUMN device text NOT NULL DEFAULT '',
    ADD COLUMN address text NOT NULL DEFAULT '',
    ADD COLUMN last_used_at timestamptz;

ALTER TABLE gateway_refresh_tokens
    ADD COLUMN reused_at timestamptz,
    ADD COLUMN successor bytea;
CREATE INDEX gateway_refresh_tokens_expires_at ON gateway_refresh_tokens (expires_at);
CREATE INDEX gateway_refresh_tokens_successor ON gateway_refresh_tokens (used_at) WHERE successor IS NOT NULL;

CREATE TABLE gateway_sign_outs (
    user_id uuid PRIMARY KEY,
    at timestamptz NOT NULL
);
