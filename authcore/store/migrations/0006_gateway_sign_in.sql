-- Failed sign-ins, as buckets that leak; where sign-ins succeeded from; and invitations. E-mails and addresses are kept
-- as digests: what is typed into the field of an e-mail is sometimes a password. No foreign key points at Whatomate's
-- tables: the gateway must never stand in the way of Whatomate deleting a row of its own.

CREATE TABLE gateway_sign_in_failures (
    subject bytea PRIMARY KEY,
    level double precision NOT NULL,
    seen_at timestamptz NOT NULL,
    slot_at timestamptz NOT NULL,
    open_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX gateway_sign_in_failures_expires_at ON gateway_sign_in_failures (expires_at);

CREATE TABLE gateway_sign_in_addresses (
    email bytea NOT NULL,
    address bytea NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (email, address)
);
CREATE INDEX gateway_sign_in_addresses_seen_at ON gateway_sign_in_addresses (seen_at);

CREATE TABLE gateway_invitations (
    id uuid PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    organization_id uuid NOT NULL,
    role_id uuid,
    email varchar(255),
    invited_by uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    used_by uuid,
    revoked_at timestamptz
);
CREATE INDEX gateway_invitations_organization ON gateway_invitations (organization_id);
CREATE INDEX gateway_invitations_expires_at ON gateway_invitations (expires_at);
