-- Which API key made an API key (GATEWAY_KEYS_MINT_KEYS): a key is good for as long as every key that it comes from is, at
-- any depth. The link is read whenever a key is proved, so that a parent which is switched off, deleted or past its time by
-- plain SQL takes its children along. No foreign key points at Whatomate's tables.
-- And where a session comes from: one that a Whatomate refresh token was entered into is never forgotten before its time
-- (the token would be taken again), others may be once they have ended. Of sessions from before nothing is known.

CREATE TABLE gateway_api_key_parents (
    key_id uuid PRIMARY KEY,
    parent_id uuid NOT NULL
);
CREATE INDEX gateway_api_key_parents_parent ON gateway_api_key_parents (parent_id);

ALTER TABLE gateway_sessions ADD COLUMN is_entered boolean NOT NULL DEFAULT true;
CREATE INDEX gateway_invitations_inviter ON gateway_invitations (invited_by) WHERE invited_by IS NOT NULL;
