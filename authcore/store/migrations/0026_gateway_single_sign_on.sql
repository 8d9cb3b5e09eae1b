-- Single sign-on hosted by the gateway (GATEWAY_SSO=hosted). Whatomate binds an account by users.sso_provider and
-- sso_provider_id; which issuer that was it does not say, and the gateway notes it, with the id that it is so for. The
-- sessions that a provider began are noted so that it can end them (back-channel logout), and its logouts for as long as a
-- sign-in may be on its way. No foreign key points at Whatomate's tables.

CREATE TABLE gateway_sso_identities (
    user_id uuid PRIMARY KEY,
    provider text NOT NULL,
    issuer text NOT NULL,
    account text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gateway_sso_sessions (
    session_id uuid PRIMARY KEY,
    provider_id uuid NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    sid text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX gateway_sso_sessions_subject ON gateway_sso_sessions (issuer, subject);
CREATE INDEX gateway_sso_sessions_sid ON gateway_sso_sessions (issuer, sid);

CREATE TABLE gateway_sso_logouts (
    digest bytea PRIMARY KEY,
    at timestamptz NOT NULL
);
CREATE INDEX gateway_sso_logouts_at ON gateway_sso_logouts (at);
