-- The tables that 0001 made get the shape that Whatomate's own migration leaves: unique indexes and foreign keys under
-- its names, its types and defaults. Its migration (GORM's) drops a unique constraint by a name of GORM's own and ends
-- where there is none of that name; an index it leaves. Tables that Whatomate made are told by their columns and left
-- alone: only 0001 gives created_at a default and lets it not be null.

DO $body$
DECLARE
    of_table text;
    was text;
    becomes text;
    columns text;
    made text[] := ARRAY[]::text[];
BEGIN
    FOREACH of_table IN ARRAY ARRAY['organizations', 'custom_roles', 'permissions', 'users', 'user_organizations',
                                    'api_keys', 'sso_providers'] LOOP
        IF EXISTS (
            SELECT FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = to_regclass(of_table) AND a.attname = 'created_at' AND a.attnotnull
                AND pg_get_expr(d.adbin, d.adrelid) = 'now()') THEN
            EXECUTE format('ALTER TABLE %I ALTER created_at DROP DEFAULT, ALTER created_at DROP NOT NULL, '
                           'ALTER updated_at DROP DEFAULT, ALTER updated_at DROP NOT NULL', of_table);
            made := made || of_table;
        END IF;
    END LOOP;

    FOR of_table, was, becomes, columns IN VALUES
        ('organizations', 'organizations_slug_key', 'idx_organizations_slug', 'slug'),
        ('users', 'users_email_key', 'idx_users_email', 'email'),
        ('permissions', 'permissions_resource_action_key', 'idx_permission_resource_action', 'resource, action') LOOP
        IF EXISTS (SELECT FROM pg_constraint
                   WHERE conrelid = to_regclass(of_table) AND conname = was AND contype = 'u') THEN
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', of_table, was);
            EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON %I (%s)', becomes, of_table, columns);
        END IF;
    END LOOP;

    -- 0001 made no constraint of these, so rows may be there that Whatomate's would refuse: its own migration says so.
    FOR of_table, becomes, columns IN VALUES
        ('user_organizations', 'idx_user_org', 'user_id, organization_id'),
        ('custom_roles', 'idx_custom_roles_org_name', 'organization_id, name'),
        ('sso_providers', 'idx_sso_providers_org_provider', 'organization_id, provider') LOOP
        IF of_table = ANY (made) THEN
            BEGIN
                EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON %I (%s)', becomes, of_table, columns);
            EXCEPTION WHEN unique_violation THEN
                RAISE NOTICE '% has rows that are equal in (%): without %', of_table, columns, becomes;
            END;
        END IF;
    END LOOP;

    FOR of_table, was, becomes IN VALUES
        ('users', 'users_organization_id_fkey', 'fk_organizations_users'),
        ('users', 'users_role_id_fkey', 'fk_users_role'),
        ('user_organizations', 'user_organizations_user_id_fkey', 'fk_users_user_organizations'),
        ('user_organizations', 'user_organizations_organization_id_fkey', 'fk_organizations_user_organizations'),
        ('user_organizations', 'user_organizations_role_id_fkey', 'fk_user_organizations_role'),
        ('custom_roles', 'custom_roles_organization_id_fkey', 'fk_custom_roles_organization'),
        ('role_permissions', 'role_permissions_custom_role_id_fkey', 'fk_role_permissions_custom_role'),
        ('role_permissions', 'role_permissions_permission_id_fkey', 'fk_role_permissions_permission'),
        ('api_keys', 'api_keys_organization_id_fkey', 'fk_api_keys_organization'),
        ('api_keys', 'api_keys_user_id_fkey', 'fk_api_keys_user'),
        ('sso_providers', 'sso_providers_organization_id_fkey', 'fk_sso_providers_organization') LOOP
        IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(of_table) AND conname = was)
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(of_table) AND conname = becomes) THEN
            EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT %I TO %I', of_table, was, becomes);
        END IF;
    END LOOP;

    IF 'sso_providers' = ANY (made) THEN
        ALTER TABLE sso_providers ALTER default_role_name TYPE varchar(50), ALTER default_role_name SET DEFAULT 'agent';
    END IF;
END
$body$;
