-- Whatomate's tables, as far as the gateway needs them, for a database that has none. Where a table exists it is left
-- as it is: no column and no row of it is touched.

CREATE TABLE IF NOT EXISTS organizations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    name varchar(255) NOT NULL,
    slug varchar(100) UNIQUE,
    settings jsonb DEFAULT '{}'
);

CREATE TABLE IF NOT EXISTS custom_roles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    name varchar(100) NOT NULL,
    description varchar(500),
    is_system boolean DEFAULT false,
    is_default boolean DEFAULT false
);

CREATE TABLE IF NOT EXISTS permissions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    resource varchar(50) NOT NULL,
    action varchar(20) NOT NULL,
    description varchar(200),
    UNIQUE (resource, action)
);

CREATE TABLE IF NOT EXISTS role_permissions (
    custom_role_id uuid NOT NULL REFERENCES custom_roles (id),
    permission_id uuid NOT NULL REFERENCES permissions (id),
    PRIMARY KEY (custom_role_id, permission_id)
);

CREATE TABLE IF NOT EXISTS users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    email varchar(255) NOT NULL UNIQUE,
    password_hash varchar(255),
    full_name varchar(255) NOT NULL,
    role_id uuid REFERENCES custom_roles (id),
    settings jsonb DEFAULT '{}',
    is_active boolean DEFAULT true,
    is_available boolean DEFAULT true,
    is_super_admin boolean DEFAULT false,
    sso_provider varchar(50),
    sso_provider_id varchar(255)
);

CREATE TABLE IF NOT EXISTS user_organizations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    user_id uuid NOT NULL REFERENCES users (id),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    role_id uuid REFERENCES custom_roles (id),
    is_default boolean DEFAULT false
);

CREATE TABLE IF NOT EXISTS api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    user_id uuid NOT NULL REFERENCES users (id),
    name varchar(255) NOT NULL,
    key_prefix varchar(16) NOT NULL,
    key_hash varchar(255) NOT NULL,
    last_used_at timestamptz,
    expires_at timestamptz,
    is_active boolean DEFAULT true
);

CREATE TABLE IF NOT EXISTS sso_providers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    provider varchar(50) NOT NULL,
    client_id varchar(500),
    client_secret varchar(500),
    is_enabled boolean DEFAULT false,
    allow_auto_create boolean DEFAULT false,
    default_role_name varchar(100),
    allowed_domains text,
    auth_url varchar(500),
    token_url varchar(500),
    user_info_url varchar(500)
);
