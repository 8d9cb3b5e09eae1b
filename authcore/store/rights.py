"""Rights of the database's user, and rows that it sees, compared with what the statements need.

Laws:

- Compared is what the statements meet: tables by ``search_path``, columns one by one, rights however they came
  (to the user, a role that they are in, everybody).
- Row-level security that may hide a row, or refuse to write one, is named with the table: to a statement, a user with a
  hidden row does not exist. Policies that let every row pass hide none. Rows hidden behind a view are not noticed here.
- A table, column or function that is not there is ``schema``'s to name, not a right that is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from authcore.store.grants import ADDED_TO, FUNCTIONS, INSERTED, OWN, READ, UPDATED
from authcore.store.kinds import ADVICE, FailureKind
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


# For each command a policy has to let every row pass, and no restrictive one may stand beside it. pg_policy has r, a, w
# and d for the commands, and * for all. Of a and w what is written is checked too, by USING where there is no CHECK.
_HIDDEN: Final = """
WITH mine AS (
    SELECT polrelid, polcmd, polpermissive, pg_get_expr(polqual, polrelid) AS passes,
        coalesce(pg_get_expr(polwithcheck, polrelid), pg_get_expr(polqual, polrelid)) AS writes
    FROM pg_policy
    WHERE 0 = ANY (polroles)
        OR EXISTS (SELECT FROM unnest(polroles) AS one (role) WHERE pg_has_role(one.role, 'USAGE')))
SELECT asked.name FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (name, commands, place)
JOIN pg_class c ON c.oid = to_regclass(asked.name) AND row_security_active(c.oid)
WHERE EXISTS (
    SELECT FROM regexp_split_to_table(asked.commands, '') AS command
    WHERE EXISTS (SELECT FROM mine WHERE polrelid = c.oid AND NOT polpermissive AND polcmd::text IN ('*', command))
        OR NOT EXISTS (
            SELECT FROM mine WHERE polrelid = c.oid AND polpermissive AND polcmd::text IN ('*', command)
                AND (command = 'a' OR passes = 'true') AND (command IN ('r', 'd') OR writes = 'true')))
ORDER BY asked.place
"""
_COMMANDS: Final = {"SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}


def _commands() -> Iterator[tuple[str, str]]:
    for table in dict.fromkeys(right.table for right in NEEDS if right.privilege in _COMMANDS):
        privileges = dict.fromkeys(right.privilege for right in NEEDS if right.table == table)
        yield table, "".join(_COMMANDS[privilege] for privilege in privileges)


@dataclass(frozen=True, slots=True)
class Lacking:
    """Rights that the database's user lacks; the text is for an operator.

    Attributes:
        rights: Each as ``INSERT on gateway_sessions``. Of a right on some columns of a table, the columns stand in
            brackets: ``UPDATE (is_active) on api_keys``.
        hidden: Tables of which row-level security may hide rows.
    """

    rights: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rights or self.hidden)

    @property
    def kind(self) -> FailureKind:
        """The kind of failure that a statement meets."""
        return FailureKind.PRIVILEGE if self.rights else FailureKind.ROW_SECURITY

    @property
    def advice(self) -> str:
        """Advice to the operator, by what is lacking."""
        kinds = [FailureKind.PRIVILEGE] * bool(self.rights) + [FailureKind.ROW_SECURITY] * bool(self.hidden)
        return "; ".join(ADVICE[kind] for kind in kinds)

    @property
    def words(self) -> str:
        """Description of what is lacking, without the advice."""
        rights = [f"its user lacks {', '.join(self.rights)}"] * bool(self.rights)
        return "; ".join(
            [*rights, *([f"row-level security hides rows of {', '.join(self.hidden)}"] * bool(self.hidden))]
        )

    def __str__(self) -> str:
        return f"{self.words}; {self.advice}"


class RowsHidden(RuntimeError):
    """Row-level security hides rows: no statement is run, since a user with a hidden row would be unknown."""


async def hidden(connection: Any) -> tuple[str, ...]:
    """Return the tables of which row-level security may hide rows from the user of `connection`."""
    tables, commands = zip(*_commands(), strict=True)
    return tuple(row["name"] for row in await connection.fetch(_HIDDEN, tables, commands))


async def lacking(connection: Any) -> Lacking:
    """Return what the user of `connection` lacks; mostly nothing."""
    closed = [f"USAGE on schema {row['nspname']}" for row in await connection.fetch(_CLOSED)]
    tables, columns, privileges = zip(*NEEDS, strict=True)
    found: dict[tuple[str, str], list[str]] = {}
    lacking_rows = await connection.fetch(_LACKING, tables, columns, privileges)
    for row in (*lacking_rows, *await connection.fetch(_UNCALLABLE, list(FUNCTIONS))):
        found.setdefault((row["privilege"], row["name"]), []).append(row["part"])
    rights = (*closed, *(_named(privilege, table, parts) for (privilege, table), parts in found.items()))
    return Lacking(rights, await hidden(connection))


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
