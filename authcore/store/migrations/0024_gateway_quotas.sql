-- Quotas: how many requests an API key or an organization may make in a UTC day or month. A subject without a row has the
-- quota of the settings; a row whose `most` is null has none at all. No foreign key points at Whatomate's tables.

CREATE TABLE gateway_quotas (
    kind text NOT NULL CHECK (kind IN ('api_key', 'organization')),
    subject uuid NOT NULL,
    period text NOT NULL CHECK (period IN ('day', 'month')),
    most bigint CHECK (most >= 0),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, subject, period)
);
