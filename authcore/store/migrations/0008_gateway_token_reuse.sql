-- What a used refresh token remembers, so that a second use can be told from theft: which token it followed, what the
-- client that used it called itself, until when that client may ask for the same pair again (its access token's end and
-- a minute), and since when its own successor has been used. Rows of before have none of it: a second use is theft, as
-- it was.

ALTER TABLE gateway_refresh_tokens
    ADD COLUMN follows bytea,
    ADD COLUMN used_by text,
    ADD COLUMN retry_until timestamptz,
    ADD COLUMN superseded_at timestamptz;
