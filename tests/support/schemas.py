"""Whatomate's schema: as its own migrations leave it, as it was in December 2025, and the store's statements on it."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from typing import TYPE_CHECKING

import asyncpg

import authcore.store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OF_2025 = """
CREATE TABLE organizations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz,
    updated_at timestamptz, deleted_at timestamptz, name varchar(255), slug varchar(100), settings jsonb);
CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz, updated_at timestamptz,
    deleted_at timestamptz, organization_id uuid, email varchar(255), password_hash varchar(255),
    full_name varchar(255), role text DEFAULT 'agent', settings jsonb, is_active boolean, is_available boolean);
CREATE TABLE api_keys (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz, updated_at timestamptz,
    deleted_at timestamptz, organization_id uuid, user_id uuid, name varchar(255), key_prefix varchar(8),
    key_hash varchar(255), last_used_at timestamptz, expires_at timestamptz, is_active boolean);
"""
"""A database of Whatomate's of December 2025: a role is a word, and there are no memberships."""


COMMON = (
    "id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz, updated_at timestamptz, "
    "deleted_at timestamptz"
)


# As Whatomate's own migration leaves them: nullable throughout, with its own indexes.
SCHEMA = f"""
CREATE TABLE organizations ({COMMON}, name varchar(255) NOT NULL, slug varchar(100) NOT NULL,
    settings jsonb DEFAULT '{{}}');
CREATE UNIQUE INDEX idx_organizations_slug ON organizations (slug);
CREATE TABLE custom_roles ({COMMON}, organization_id uuid NOT NULL, name varchar(100) NOT NULL,
    description varchar(500), is_system boolean DEFAULT false, is_default boolean DEFAULT false);
CREATE TABLE permissions ({COMMON}, resource varchar(50) NOT NULL, action varchar(20) NOT NULL,
    description varchar(200));
CREATE UNIQUE INDEX idx_permissions ON permissions (resource, action);
CREATE TABLE role_permissions (custom_role_id uuid, permission_id uuid, PRIMARY KEY (custom_role_id, permission_id));
CREATE TABLE users ({COMMON}, organization_id uuid NOT NULL, email varchar(255) NOT NULL,
    password_hash varchar(255), full_name varchar(255), role_id uuid, settings jsonb DEFAULT '{{}}',
    is_active boolean DEFAULT true, is_available boolean DEFAULT true, is_super_admin boolean DEFAULT false,
    sso_provider varchar(50), sso_provider_id varchar(255), a_column_of_the_future integer DEFAULT 7);
CREATE UNIQUE INDEX idx_users_email ON users (email);
CREATE TABLE user_organizations ({COMMON}, user_id uuid NOT NULL, organization_id uuid NOT NULL, role_id uuid,
    is_default boolean DEFAULT false);
CREATE TABLE api_keys ({COMMON}, organization_id uuid NOT NULL, user_id uuid NOT NULL, name varchar(255) NOT NULL,
    key_prefix varchar(%d), key_hash varchar(255) NOT NULL, last_used_at timestamptz, expires_at timestamptz,
    is_active boolean DEFAULT true);
CREATE TABLE sso_providers ({COMMON}, organization_id uuid NOT NULL, provider varchar(50) NOT NULL,
    client_id varchar(255), client_secret varchar(255), is_enabled boolean, allow_auto_create boolean,
    default_role_name varchar(100), allowed_domains text, auth_url text, token_url text, user_info_url text);
"""


async def objects(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    await connection.close()
    return {row["relname"] for row in rows}


def _parts(found: object) -> Iterable[object]:
    if isinstance(found, dict):
        return found.values()
    return found if isinstance(found, tuple) else (found,)


def statements() -> Iterator[tuple[str, str]]:
    """Every statement of the store's modules, by where it stands."""
    for module in pkgutil.iter_modules(authcore.store.__path__):
        named = vars(import_module(f"authcore.store.{module.name}")).items()
        parts = ((name, part) for name, found in named for part in _parts(found))
        for name, value in parts:
            if (
                isinstance(value, str)
                and re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", value)
                and not re.search(r"\{\w+\}", value)  # a pattern of statements
                and name not in {"_OF_ADDRESS", "_OF_EMAIL", "_OF_PAIR"}  # parts of one
            ):
                yield f"{module.name}.{name}:{value[:60]}", value
