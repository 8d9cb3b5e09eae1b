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


class Kind(StrEnum):
    """What the statements take a column for."""

    UUID = "uuid"
    TEXT = "text or varchar"
    BOOLEAN = "boolean"
    TIME = "timestamp with time zone"
    JSON = "jsonb"


_FITTING: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.UUID: frozenset({"uuid"}),
    Kind.TEXT: frozenset({"text", "varchar", "bpchar", "citext"}),
    Kind.BOOLEAN: frozenset({"bool"}),
    Kind.TIME: frozenset({"timestamptz"}),
    Kind.JSON: frozenset({"json", "jsonb"}),
}

_ROW: Final = {"id": Kind.UUID, "created_at": Kind.TIME, "updated_at": Kind.TIME, "deleted_at": Kind.TIME}

NEEDED: Final[Mapping[str, Mapping[str, Kind]]] = {
    "organizations": {**_ROW, "name": Kind.TEXT, "slug": Kind.TEXT, "settings": Kind.JSON},
    "users": {
        **_ROW,
        "organization_id": Kind.UUID,
        "email": Kind.TEXT,
        "password_hash": Kind.TEXT,
        "full_name": Kind.TEXT,
        "role_id": Kind.UUID,
        "settings": Kind.JSON,
        "is_active": Kind.BOOLEAN,
        "is_available": Kind.BOOLEAN,
        "is_super_admin": Kind.BOOLEAN,
        "sso_provider": Kind.TEXT,
        "sso_provider_id": Kind.TEXT,
    },
    "user_organizations": {
        **_ROW,
        "user_id": Kind.UUID,
        "organization_id": Kind.UUID,
        "role_id": Kind.UUID,
        "is_default": Kind.BOOLEAN,
    },
    "custom_roles": {
        **_ROW,
        "organization_id": Kind.UUID,
        "name": Kind.TEXT,
        "description": Kind.TEXT,
        "is_system": Kind.BOOLEAN,
        "is_default": Kind.BOOLEAN,
    },
    "permissions": {
        "id": Kind.UUID,
        "deleted_at": Kind.TIME,
        "resource": Kind.TEXT,
        "action": Kind.TEXT,
        "description": Kind.TEXT,
    },
    "role_permissions": {"custom_role_id": Kind.UUID, "permission_id": Kind.UUID},
    "api_keys": {
        **_ROW,
        "organization_id": Kind.UUID,
        "user_id": Kind.UUID,
        "name": Kind.TEXT,
        "key_prefix": Kind.TEXT,
        "key_hash": Kind.TEXT,
        "last_used_at": Kind.TIME,
        "expires_at": Kind.TIME,
        "is_active": Kind.BOOLEAN,
    },
    "sso_providers": {
        "id": Kind.UUID,
        "deleted_at": Kind.TIME,
        "organization_id": Kind.UUID,
        "provider": Kind.TEXT,
        "client_id": Kind.TEXT,
        "client_secret": Kind.TEXT,
        "is_enabled": Kind.BOOLEAN,
        "allow_auto_create": Kind.BOOLEAN,
        "default_role_name": Kind.TEXT,
        "allowed_domains": Kind.TEXT,
        "auth_url": Kind.TEXT,
        "token_url": Kind.TEXT,
        "user_info_url": Kind.TEXT,
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
    """What a database lacks.

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
