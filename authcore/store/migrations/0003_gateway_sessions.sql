-- A session is a family of refresh tokens. Tokens are kept by digest only. No foreign key points at Whatomate's tables:
-- the gateway must never stand in the way of Whatomate deleting a row of its own.

CREATE TABLE gateway_sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX gateway_sessions_expires_at ON gateway_sessions (expires_at);
CREATE INDEX gateway_sessions_user ON gateway_sessions (user_id);

CREATE TABLE gateway_refresh_tokens (
    digest bytea PRIMARY KEY,
    family uuid NOT NULL REFERENCES gateway_sessions (id) ON DELETE CASCADE,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX gateway_refresh_tokens_family ON gateway_refresh_tokens (family);
