-- One index for each of the gateway's statements on Whatomate's tables. An index changes no row and no column.

CREATE INDEX IF NOT EXISTS gateway_users_email ON users (lower(email));
CREATE INDEX IF NOT EXISTS gateway_user_organizations_pair ON user_organizations (user_id, organization_id);
CREATE INDEX IF NOT EXISTS gateway_api_keys_prefix ON api_keys (key_prefix);
CREATE INDEX IF NOT EXISTS gateway_api_keys_organization ON api_keys (organization_id);
CREATE INDEX IF NOT EXISTS gateway_custom_roles_organization ON custom_roles (organization_id);
CREATE INDEX IF NOT EXISTS gateway_organizations_slug ON organizations (slug);
