-- WebSocket tickets that have been used, by digest, until they have expired: a ticket opens one socket, on whichever
-- gateway. Nothing of a ticket can be read from its digest.

CREATE TABLE gateway_used_tickets (
    digest bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX gateway_used_tickets_expires_at ON gateway_used_tickets (expires_at);
