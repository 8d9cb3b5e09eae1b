"""Grants: the rights that serving and the runtime's commands need, as PostgreSQL's statements.

Laws:

- Whatomate's tables are read whole, and written by column wherever an update names its columns.
- The gateway's own tables are read and written whole; ``gateway_migrations`` is only read.
- A test revokes each right in turn: some statement needs it, and no statement needs another.
- Rights that a trigger needs are its function's owner's, and are not here (SECURITY DEFINER).
"""

from __future__ import annotations

from typing import Any, Final

READ: Final = (
    *("organizations", "custom_roles", "permissions", "role_permissions", "users"),
    *("user_organizations", "api_keys", "gateway_migrations", "gateway_former_memberships"),
)
INSERTED: Final = (
    *("organizations", "custom_roles", "role_permissions", "users", "user_organizations", "api_keys"),
)
UPDATED: Final = {
    "users": ("password_hash", "updated_at"),
    "user_organizations": ("deleted_at", "role_id", "is_default", "updated_at"),
    "api_keys": ("is_active", "deleted_at", "last_used_at", "updated_at"),
}
OWN: Final = (
    *("gateway_sessions", "gateway_refresh_tokens", "gateway_api_key_digests", "gateway_sign_outs"),
    *("gateway_sign_in_failures", "gateway_sign_in_addresses", "gateway_invitations"),
)
ADDED_TO: Final = ("gateway_used_tickets", "gateway_api_key_parents")
"""Tables of the gateway's whose rows come and go, and never change."""


def statements(schema: str, role: str) -> list[str]:
    """Return the statements that give `role` what it needs in `schema`, where migrate has been."""
    to, place = f"TO {_quoted(role)}", _quoted(schema)

    def listed(tables: tuple[str, ...]) -> str:
        return ", ".join(f"{place}.{_quoted(table)}" for table in tables)

    return [
        f"GRANT USAGE ON SCHEMA {place} {to}",
        f"GRANT SELECT ON {listed(READ)} {to}",
        f"GRANT INSERT ON {listed(INSERTED)} {to}",
        *(
            f"GRANT UPDATE ({', '.join(columns)}) ON {place}.{table} {to}"
            for table, columns in UPDATED.items()
        ),
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {listed(OWN)} {to}",
        f"GRANT SELECT, INSERT, DELETE ON {listed(ADDED_TO)} {to}",
    ]


async def grant(connection: Any, role: str) -> list[str]:
    """Give `role` what it needs, in the caller's transaction, and return the statements."""
    given = statements(await connection.fetchval("SELECT current_schema()"), role)
    for statement in given:
        await connection.execute(statement)
    return given


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
