-- What is used of quotas, one row for each subject and window. `used` counts what was let through and what gateways hold
-- as leases; `granted` is the lease of the last statement, so that this statement can return it; `most` is the quota that
-- it found. Each process numbers its batches: one whose answer was lost is sent again, and counts once.

CREATE TABLE gateway_quota_usage (
    kind text NOT NULL,
    subject uuid NOT NULL,
    period text NOT NULL,
    starts_at timestamptz NOT NULL,
    used bigint NOT NULL,
    granted bigint NOT NULL,
    most bigint,
    PRIMARY KEY (kind, subject, period, starts_at)
);
CREATE INDEX gateway_quota_usage_starts ON gateway_quota_usage (starts_at);

CREATE TABLE gateway_quota_batches (
    process uuid PRIMARY KEY,
    batch bigint NOT NULL,
    seen_at timestamptz NOT NULL
);
