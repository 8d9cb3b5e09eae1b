"""PostgreSQL schemas of the tables: where ``search_path`` finds them, and where new ones would be made.

Law: a statement finds a table in the first schema of ``search_path`` that has it. ``CREATE TABLE`` makes one in the
first schema that exists, whatever stands in the others: there it hides the table of the same name. So nothing is made
unless both are the same schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from authcore.store.schema import NEEDED, SchemaUnfit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TABLES: Final = (*NEEDED, "gateway_migrations")

_FOUND: Final = """
SELECT n.nspname::text AS namespace, array_agg(asked.name ORDER BY asked.place) AS tables
FROM unnest($1::text[]) WITH ORDINALITY AS asked (name, place)
JOIN pg_class c ON c.oid = to_regclass(asked.name) AND c.relkind IN ('r', 'p', 'v', 'f')
JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY 1 ORDER BY min(asked.place)
"""


class NoNamespace(SchemaUnfit):
    """``search_path`` names no schema that exists and that the database's user may use."""


class Misplaced(SchemaUnfit):
    """Tables are in another schema than the one in which new ones would be made, or in several."""


async def current(connection: Any) -> str:
    """Return the schema in which ``CREATE TABLE`` makes a table.

    Raises:
        NoNamespace: There is none.
    """
    name, path = await connection.fetchrow("SELECT current_schema()::text, current_setting('search_path')")
    if name is None:
        raise NoNamespace(f"the search_path, {path}, leads to no schema that there is and that may be used")
    return str(name)


async def home(connection: Any) -> str:
    """Return the schema of Whatomate's tables and of the gateway's; while there are none, where they would be made.

    Raises:
        NoNamespace: There is none.
        Misplaced: They are in several.
    """
    found: Mapping[str, Sequence[str]] = {
        row["namespace"]: row["tables"] for row in await connection.fetch(_FOUND, list(_TABLES))
    }
    if not found:
        return await current(connection)
    if len(found) > 1:
        places = "; ".join(f"{', '.join(tables)} in {name}" for name, tables in found.items())
        raise Misplaced(f"by search_path the tables are in several schemas: {places}")
    return next(iter(found))


async def require_one(connection: Any) -> None:
    """Raise unless new tables would be made beside those that there are.

    Raises:
        NoNamespace: They would be made nowhere.
        Misplaced: They would be made in another schema, or there are several.
    """
    target, place = await current(connection), await home(connection)
    if target != place:
        raise Misplaced(
            f"by search_path the tables are in schema {place}, and new ones would be made in schema {target}, "
            "where they hide those"
        )


def quoted(name: str) -> str:
    """Return `name` as an identifier in a statement."""
    return '"' + name.replace('"', '""') + '"'
