"""GRANT statements: the rights that ``serve`` and the commands at run time need.

Laws:

- Whatomate's tables may be read whole. Rows may be inserted, and only the columns that a statement sets be updated.
- The gateway's own tables may be read and written whole; ``gateway_migrations`` may only be read.
- A test revokes each right in turn: some statement needs it, and no statement needs another.
- The audit trail may be read, and is written by calling ``FUNCTIONS``: no row of it can be changed or deleted.
- Triggers need no right here: what they write they write with the rights of their owner (SECURITY DEFINER).
- Rights are given to one existing role. PostgreSQL reads "public" as every role, even in quotes.
"""

from __future__ import annotations

from typing import Any, Final

from authcore.store import namespaces
from authcore.store.namespaces import quoted

READ: Final = (
    *("organizations", "custom_roles", "permissions", "role_permissions", "users"),
    *("user_organizations", "api_keys", "gateway_migrations", "gateway_former_memberships"),
    *(
        "gateway_account_origins",
        "gateway_sso_identities",
        "sso_providers",
        "gateway_audit",
        "gateway_audit_head",
    ),
)
INSERTED: Final = (
    *("organizations", "custom_roles", "role_permissions", "users", "user_organizations", "api_keys"),
    *("gateway_account_origins", "gateway_sso_identities"),
)
UPDATED: Final = {
    "users": ("password_hash", "is_active", "role_id", "updated_at", "sso_provider", "sso_provider_id"),
    "user_organizations": ("deleted_at", "role_id", "is_default", "updated_at"),
    "api_keys": ("is_active", "deleted_at", "last_used_at", "updated_at"),
    "gateway_account_origins": ("email", "origin", "noted_at"),
    "gateway_sso_identities": ("provider", "issuer", "account", "noted_at"),
}
OWN: Final = (
    *("gateway_sessions", "gateway_refresh_tokens", "gateway_api_key_digests", "gateway_sign_outs"),
    *("gateway_sign_in_failures", "gateway_sign_in_addresses", "gateway_invitations"),
    *("gateway_quotas", "gateway_quota_usage", "gateway_quota_batches"),
    "gateway_sso_logouts",
)
ADDED_TO: Final = ("gateway_used_tickets", "gateway_api_key_parents", "gateway_sso_sessions")
"""Tables of the gateway whose rows are inserted and deleted, and never updated."""
_ROLE: Final = "SELECT quote_ident($1::text)::regrole"
"""It fails as GRANT does where there is no such role; ``public`` and ``none`` never are roles."""
FUNCTIONS: Final = ("gateway_audit_append(uuid, bigint, jsonb)", "gateway_audit_upkeep(integer)")
"""Functions that statements call, which have the rights of their owner."""


def statements(database: str, schema: str, role: str) -> list[str]:
    """Return the statements that give `role` what it needs in a migrated `schema` of `database`.

    PUBLIC may connect to a database by default; then the first statement changes nothing, and gives a user who owns
    the tables but not the database a warning instead of an error.
    """
    to, place = f"TO {quoted(role)}", quoted(schema)

    def listed(tables: tuple[str, ...]) -> str:
        return ", ".join(f"{place}.{quoted(table)}" for table in tables)

    return [
        f"GRANT CONNECT ON DATABASE {quoted(database)} {to}",
        f"GRANT USAGE ON SCHEMA {place} {to}",
        f"GRANT SELECT ON {listed(READ)} {to}",
        f"GRANT INSERT ON {listed(INSERTED)} {to}",
        *(
            f"GRANT UPDATE ({', '.join(columns)}) ON {place}.{table} {to}"
            for table, columns in UPDATED.items()
        ),
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {listed(OWN)} {to}",
        f"GRANT SELECT, INSERT, DELETE ON {listed(ADDED_TO)} {to}",
        f"GRANT EXECUTE ON FUNCTION {', '.join(f'{place}.{one}' for one in FUNCTIONS)} {to}",
    ]


async def statements_on(connection: Any, role: str) -> list[str]:
    """Return the statements for the database of `connection`, and for the schema in which it finds the tables.

    Raises:
        SchemaUnfit: There is no such schema, or there are several.
        asyncpg.UndefinedObjectError: There is no such role.
    """
    schema = await namespaces.home(connection)
    await connection.fetchval(_ROLE, role)
    database = await connection.fetchval("SELECT current_database()::text")
    return statements(database, schema, role)


async def grant(connection: Any, role: str) -> list[str]:
    """Give `role` what it needs, in the caller's transaction, and return the statements.

    Raises:
        SchemaUnfit, asyncpg.UndefinedObjectError: As :func:`statements_on`.
    """
    given = await statements_on(connection, role)
    for statement in given:
        await connection.execute(statement)
    return given
