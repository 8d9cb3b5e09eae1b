-- What a session of single sign-on is founded on: the user's account at the provider, and for a provider that a row alone
-- names the organization that the session stays in. Of sessions from before, the account is taken from the binding that
-- there is now, and a provider by its row's URLs is known by the issuer that was noted for it, which is its token_url.
-- A gateway of before this migration writes neither column; its sessions are judged by their provider's row and by the
-- user's binding for the same issuer.

ALTER TABLE gateway_sso_sessions ADD COLUMN account text, ADD COLUMN bound_to uuid;

UPDATE gateway_sso_sessions n SET account = i.account
FROM gateway_sessions s JOIN gateway_sso_identities i ON i.user_id = s.user_id
WHERE s.id = n.session_id AND i.issuer = n.issuer;

UPDATE gateway_sso_sessions n SET bound_to = p.organization_id
FROM sso_providers p WHERE p.id = n.provider_id AND p.provider = 'custom' AND p.token_url = n.issuer;

-- A custom provider proves an e-mail only if an operator has named it, which the database does not know. Where one did,
-- the binding for its issuer proves the e-mail all the same.
UPDATE gateway_account_origins o SET origin = 'registration'
FROM gateway_sso_identities i WHERE i.user_id = o.user_id AND i.provider = 'custom' AND o.origin = 'provider';
