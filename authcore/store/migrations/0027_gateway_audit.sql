-- The audit trail (docs/audit-trail.md). Rows are numbered without a gap, and each has the SHA-256 of itself and the row
-- before it. A row is in the partition of the month in which it was written; gateway_audit_rest takes what has no partition
-- yet. gateway_audit_head names the last row, and the last one that retention has dropped. The gateway may read the two
-- tables, and writes by the functions of the next migration alone. No foreign key points at Whatomate's tables.

CREATE TABLE gateway_audit (
    seq bigint NOT NULL,
    written_at timestamptz NOT NULL,
    at timestamptz NOT NULL,
    event text NOT NULL,
    outcome text NOT NULL,
    reason text,
    user_id uuid,
    email text,
    organization_id uuid,
    api_key_id uuid,
    session_id uuid,
    operator text,
    target text,
    address text,
    user_agent text,
    request_id text,
    details text NOT NULL,
    writer uuid NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (seq, written_at)
) PARTITION BY RANGE (written_at);
CREATE INDEX gateway_audit_user ON gateway_audit (user_id, seq);
CREATE INDEX gateway_audit_organization ON gateway_audit (organization_id, seq);
CREATE INDEX gateway_audit_target ON gateway_audit (target, seq);
CREATE INDEX gateway_audit_at ON gateway_audit (at);

CREATE TABLE gateway_audit_rest PARTITION OF gateway_audit DEFAULT;

CREATE TABLE gateway_audit_head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    seq bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    written_at timestamptz NOT NULL DEFAULT '-infinity',
    dropped_seq bigint NOT NULL DEFAULT 0,
    dropped_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
);
INSERT INTO gateway_audit_head DEFAULT VALUES;

-- The last batch of each process that writes, so that a batch whose answer was lost is not written twice.
CREATE TABLE gateway_audit_writers (
    writer uuid PRIMARY KEY,
    batch bigint NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
