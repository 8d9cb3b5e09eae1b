-- Keyed digests of API keys that bcrypt has proved, so that no process has to prove them again. Without the gateway's
-- secret a digest tells nothing; key_hash_fingerprint (SHA-256) binds it to the hash it was proved against. No foreign
-- key points at Whatomate's tables: the gateway must never stand in the way of Whatomate deleting a row of its own.

CREATE TABLE gateway_api_key_digests (
    key_id uuid NOT NULL,
    digest bytea NOT NULL,
    key_hash_fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, digest)
);
CREATE INDEX gateway_api_key_digests_created_at ON gateway_api_key_digests (created_at);
