"""Rights of the database's user, compared with what the statements need.

Laws:

- Compared is what the statements would meet: tables by ``search_path``, columns one by one, rights however they came
  (to the user, a role that they are in, everybody).
- A table, column or function that is not there is ``schema``'s to name, not a right that is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from authcore.store.grants import ADDED_TO, FUNCTIONS, INSERTED, OWN, READ, UPDATED
from authcore.store.schema import NEEDED

if TYPE_CHECKING:
    from collections.abc import Iterator


class Right(NamedTuple):
    """One right that a statement needs.

    Attributes:
        table: Of what: a table, or a function with the types of its parameters.
        column: Of which column; empty for the table.
        privilege: As GRANT writes it.
    """

    table: str
    column: str
    privilege: str


def _needed() -> Iterator[Right]:
    for table in (*READ, *OWN, *ADDED_TO):
        for column in NEEDED.get(table, [""]):
            yield Right(table, column, "SELECT")
    for table in (*INSERTED, *OWN, *ADDED_TO):
        yield Right(table, "", "INSERT")
    for table, columns in UPDATED.items():
        for column in columns:
            yield Right(table, column, "UPDATE")
    for table in OWN:
        yield Right(table, "", "UPDATE")
    for table in (*OWN, *ADDED_TO):
        yield Right(table, "", "DELETE")
    for function in FUNCTIONS:
        yield Right(function, "", "EXECUTE")


NEEDS: Final = tuple(_needed())
"""Every right that a statement of the store needs, beside USAGE on the schema."""

# Where a whole table is asked about, a right on some of its columns will do: which ones, the statements know.
_LACKING: Final = """
SELECT needed.name, needed.part, needed.privilege
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS needed (name, part, privilege, place)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(needed.name))
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = needed.part AND NOT a.attisdropped
WHERE NOT CASE
    WHEN needed.privilege = 'DELETE' THEN has_table_privilege(c.oid, 'DELETE')
    WHEN needed.part = '' THEN has_any_column_privilege(c.oid, needed.privilege)
    ELSE coalesce(has_column_privilege(c.oid, a.attnum, needed.privilege), TRUE)
END
ORDER BY needed.place
"""
_UNCALLABLE: Final = """
SELECT needed.name, '' AS part, 'EXECUTE' AS privilege FROM unnest($1::text[]) AS needed (name)
WHERE NOT has_function_privilege(to_regprocedure(needed.name), 'EXECUTE')
"""
# A schema without USAGE is passed over by search_path as if it were not there.
_CLOSED: Final = """
SELECT n.nspname FROM unnest(string_to_array(current_setting('search_path'), ',')) AS listed (name)
JOIN pg_namespace n ON n.nspname = btrim(listed.name, ' "')
WHERE NOT has_schema_privilege(n.oid, 'USAGE')
"""


async def lacking(connection: Any) -> tuple[str, ...]:
    """Return the rights that the user of `connection` lacks, each as ``INSERT on gateway_sessions``; none, mostly.

    Of a right on some columns of a table, the columns stand in brackets: ``UPDATE (is_active) on api_keys``.
    """
    closed = [f"USAGE on schema {row['nspname']}" for row in await connection.fetch(_CLOSED)]
    tables, columns, privileges = zip(*NEEDS, strict=True)
    found: dict[tuple[str, str], list[str]] = {}
    lacking_rows = await connection.fetch(_LACKING, tables, columns, privileges)
    for row in (*lacking_rows, *await connection.fetch(_UNCALLABLE, list(FUNCTIONS))):
        found.setdefault((row["privilege"], row["name"]), []).append(row["part"])
    return (*closed, *(_named(privilege, table, parts) for (privilege, table), parts in found.items()))


def _named(privilege: str, table: str, columns: list[str]) -> str:
    every = sum(one.table == table and one.privilege == privilege for one in NEEDS)
    if len(columns) == every and privilege != "UPDATE":
        return f"{privilege} on {table}"
    listed = f" ({', '.join(columns)})" if columns != [""] else ""
    return f"{privilege}{listed} on {table}"


_CONNECTIONS: Final = """
SELECT pg_backend_pid() AS process, least(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
    nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1)) AS most
FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()
"""


async def most_connections(connection: Any) -> int | None:
    """Return how many connections the server has for this user and database; None behind a pooler."""
    row = await connection.fetchrow(_CONNECTIONS)
    if row is None or row["process"] != connection.get_server_pid():
        return None
    return int(row["most"])
