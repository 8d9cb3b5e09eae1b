-- Signing in finds an e-mail in any case, and with spaces around it: Whatomate stores it as it was typed.
-- The expression is that of authcore/store/emails.py.
CREATE INDEX IF NOT EXISTS gateway_users_email_folded ON users (lower(btrim(email, E' \t\n\r\f\x0b')));
