-- Where an account comes from, and for which e-mail that is so: an operator's command, an invitation to that e-mail, or a
-- registration that nothing proved. A foreign issuer's token finds an account by its e-mail only where somebody proved
-- it. Of accounts from before, those that came by an invitation to their e-mail are known; of the others nothing is, and
-- `users vouch` says what an operator knows. No foreign key points at Whatomate's tables.

CREATE TABLE gateway_account_origins (
    user_id uuid PRIMARY KEY,
    email text NOT NULL,
    origin text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO gateway_account_origins (user_id, email, origin)
SELECT DISTINCT ON (u.id) u.id, u.email, 'invitation'
FROM gateway_invitations i JOIN users u ON u.id = i.used_by
WHERE i.used_at IS NOT NULL AND i.email IS NOT NULL AND lower(btrim(i.email, E' \t\n\r\f\x0b')) = lower(btrim(u.email, E' \t\n\r\f\x0b'));
