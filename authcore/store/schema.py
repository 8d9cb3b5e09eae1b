"""Whatomate's tables as the statements here need them: one declaration, and the comparison of a database with it.

Laws:

- ``NEEDED`` names every column of Whatomate's that a statement of the gateway names, and no other; a test prepares all
  statements against tables of exactly these columns.
- What is compared is what the statements would meet: the relation that ``search_path`` finds by the name, be it a
  table, a partitioned one or a view. A column that the database's user may not read is there all the same.
- A column of more than one possible type fits with each type that the statements work with: ``text`` or ``varchar``
  of any width, ``json`` or ``jsonb``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ColumnKind(StrEnum):
    """Kind of a column: the type that the statements expect of it."""

    UUID = "uuid"
    TEXT = "text or varchar"
    BOOLEAN = "boolean"
    TIME = "timestamp with time zone"
    JSON = "jsonb"


_FITTING: Final[Mapping[ColumnKind, frozenset[str]]] = {
    ColumnKind.UUID: frozenset({"uuid"}),
    ColumnKind.TEXT: frozenset({"text", "varchar", "bpchar", "citext"}),
    ColumnKind.BOOLEAN: frozenset({"bool"}),
    ColumnKind.TIME: frozenset({"timestamptz"}),
    ColumnKind.JSON: frozenset({"json", "jsonb"}),
}

_ROW: Final = {
    "id": ColumnKind.UUID,
    "created_at": ColumnKind.TIME,
    "updated_at": ColumnKind.TIME,
    "deleted_at": ColumnKind.TIME,
}

NEEDED: Final[Mapping[str, Mapping[str, ColumnKind]]] = {
    "organizations": {**_ROW, "name": ColumnKind.TEXT, "slug": ColumnKind.TEXT, "settings": ColumnKind.JSON},
    "users": {
        **_ROW,
        "organization_id": ColumnKind.UUID,
        "email": ColumnKind.TEXT,
        "password_hash": ColumnKind.TEXT,
        "full_name": ColumnKind.TEXT,
        "role_id": ColumnKind.UUID,
        "settings": ColumnKind.JSON,
        "is_active": ColumnKind.BOOLEAN,
        "is_available": ColumnKind.BOOLEAN,
        "is_super_admin": ColumnKind.BOOLEAN,
        "sso_provider": ColumnKind.TEXT,
        "sso_provider_id": ColumnKind.TEXT,
    },
    "user_organizations": {
        **_ROW,
        "user_id": ColumnKind.UUID,
        "organization_id": ColumnKind.UUID,
        "role_id": ColumnKind.UUID,
        "is_default": ColumnKind.BOOLEAN,
    },
    "custom_roles": {
        **_ROW,
        "organization_id": ColumnKind.UUID,
        "name": ColumnKind.TEXT,
        "description": ColumnKind.TEXT,
        "is_system": ColumnKind.BOOLEAN,
        "is_default": ColumnKind.BOOLEAN,
    },
    "permissions": {
        "id": ColumnKind.UUID,
        "deleted_at": ColumnKind.TIME,
        "resource": ColumnKind.TEXT,
        "action": ColumnKind.TEXT,
        "description": ColumnKind.TEXT,
    },
    "role_permissions": {"custom_role_id": ColumnKind.UUID, "permission_id": ColumnKind.UUID},
    "api_keys": {
        **_ROW,
        "organization_id": ColumnKind.UUID,
        "user_id": ColumnKind.UUID,
        "name": ColumnKind.TEXT,
        "key_prefix": ColumnKind.TEXT,
        "key_hash": ColumnKind.TEXT,
        "last_used_at": ColumnKind.TIME,
        "expires_at": ColumnKind.TIME,
        "is_active": ColumnKind.BOOLEAN,
    },
    "sso_providers": {
        "id": ColumnKind.UUID,
        "deleted_at": ColumnKind.TIME,
        "organization_id": ColumnKind.UUID,
        "provider": ColumnKind.TEXT,
        "client_id": ColumnKind.TEXT,
        "client_secret": ColumnKind.TEXT,
        "is_enabled": ColumnKind.BOOLEAN,
        "allow_auto_create": ColumnKind.BOOLEAN,
        "default_role_name": ColumnKind.TEXT,
        "allowed_domains": ColumnKind.TEXT,
        "auth_url": ColumnKind.TEXT,
        "token_url": ColumnKind.TEXT,
        "user_info_url": ColumnKind.TEXT,
    },
}
"""Table -> column -> what it is taken for."""

_MAY_LACK: Final = frozenset({"user_organizations", "sso_providers"})
"""Tables that are made beside the others: a Whatomate of before 2026-02-06 or 2026-01-01 does not have them yet."""

# A name may also be that of an index or a sequence, which has no rows to read.
_COLUMNS: Final = """
WITH RECURSIVE types AS (
    SELECT oid AS declared, oid, typname, typbasetype FROM pg_type
    UNION ALL
    SELECT types.declared, t.oid, t.typname, t.typbasetype FROM types JOIN pg_type t ON t.oid = types.typbasetype)
SELECT asked.name AS relation, a.attname AS name, t.typname AS kind, format_type(a.atttypid, a.atttypmod) AS written
FROM unnest($1::text[]) AS asked (name)
JOIN pg_class c ON c.oid = to_regclass(asked.name) AND c.relkind IN ('r', 'p', 'v', 'f')
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN types t ON t.declared = a.atttypid AND t.typbasetype = 0
"""


REMEDY: Final = (
    "run Whatomate's own migration (its server of beta-0.5 or newer, with -migrate), or let GATEWAY_DATABASE_URL name "
    "the database and the search_path where that was done"
)
"""What an operator does about it."""


class SchemaUnfit(RuntimeError):
    """Whatomate's tables are not those that the gateway needs: nothing was written."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """Tables and columns that a database lacks.

    Attributes:
        missing: Tables, and columns as ``table.column``.
        other: Columns of another type, each with the type that it has and the one that is needed.
    """

    missing: Sequence[str] = ()
    other: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.other)

    def __str__(self) -> str:
        parts = []
        if self.missing:
            parts.append(f"it has no {', '.join(self.missing)}")
        if self.other:
            parts.append(", ".join(self.other))
        lacks = "; ".join(parts)
        return (
            f"the database does not have the tables that Whatomate has since beta-0.5 (2026-02-06): {lacks}"
        )


async def gaps(connection: Any, *, makes_tables: bool) -> Gaps:
    """Compare the tables that `connection` meets with ``NEEDED``.

    Args:
        connection: An open asyncpg connection.
        makes_tables: Migrations are about to make the tables that are missing. They do so where there is none of
            Whatomate's; beside older ones they make only what came last.
    """
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for row in await connection.fetch(_COLUMNS, list(NEEDED)):
        columns = found.setdefault(row["relation"], {})
        if row["name"] is not None:
            columns[row["name"]] = row["kind"], row["written"]
    if makes_tables and not found:
        return Gaps()
    missing: list[str] = []
    other: list[str] = []
    for table, needed in NEEDED.items():
        if table not in found:
            if not (makes_tables and table in _MAY_LACK):
                missing.append(f"table {table}")
            continue
        for column, kind in needed.items():
            if column not in found[table]:
                missing.append(f"{table}.{column}")
                continue
            has, written = found[table][column]
            if has not in _FITTING[kind]:
                other.append(f"{table}.{column} is {written}, not {kind}")
    return Gaps(tuple(missing), tuple(other))
