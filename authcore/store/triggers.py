"""Notification triggers: they notify the gateway of changed rows, regardless of the writer.

Laws:

- They are enabled ``ALWAYS``, so that changes by writers with ``session_replication_role = replica`` are notified too.
- A trigger notifies one channel of ids and does nothing else. It writes nothing, and never makes the writer fail: on
  an error it notifies "everything of this table". The triggers of :mod:`authcore.store.former_memberships`, which do
  write, are installed with them.
- A statement causes one message, or one for each hundred rows; over a thousand rows, "everything of this table".
- A change is not notified if it is of columns alone that no verdict depends on (``last_used_at``, ``is_available``).
  Columns that an identity header comes from always are: :mod:`authcore.identity_headers` overrides the table here.
- They are not part of the migrations: without them the database is complete, and revocations take longer. Installing is
  idempotent, and takes no lock if the same triggers exist.
- Both families are one set with one version: installed, enabled, watched and removed together. Triggers of a later
  version are not replaced; what an older program cannot read of theirs is "everything" to it.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asyncpg import InsufficientPrivilegeError

from authcore.identity_headers import columns_of
from authcore.store import former_memberships, namespaces
from authcore.store.rows import Change

if TYPE_CHECKING:
    from collections.abc import Iterable

from uuid import UUID

CHANNEL: Final = "gateway_changes"
_PREFIX: Final = "gateway_changed_"

# table: (expression that identifies a row, columns on which no verdict depends). The columns are subtracted as JSON
# keys, so that the triggers also work where a table lacks one of them, or has more columns.
_ID: Final = "r.id::text"
TABLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "organizations": (_ID, ("updated_at", "settings", "name", "slug")),
    "users": (
        _ID,
        ("updated_at", "settings", "is_available"),
    ),
    "user_organizations": ("r.user_id::text || '/' || r.organization_id::text", ("updated_at", "is_default")),
    "custom_roles": (_ID, ("updated_at", "description", "is_default", "is_system")),
    "permissions": (_ID, ("updated_at", "description")),
    "role_permissions": ("r.custom_role_id::text", ()),
    "api_keys": (_ID, ("updated_at", "last_used_at", "name")),
    "gateway_sessions": (
        _ID,
        (
            "organization_id",
            "device",
            "address",
            "created_at",
            "last_used_at",
            "expires_at",
            "password_fingerprint",
        ),
    ),
    "gateway_sign_outs": ("r.user_id::text", ()),
    "gateway_sso_identities": ("r.user_id::text", ("noted_at",)),
    "sso_providers": (
        _ID,
        (
            "created_at",
            "updated_at",
            "client_id",
            "client_secret",
            "allow_auto_create",
            "default_role_name",
            "allowed_domains",
            "auth_url",
            "user_info_url",
        ),
    ),
}

_NOT_NOTIFIED: Final = {
    ("gateway_sessions", "INSERT"): "false",
    ("gateway_sessions", "DELETE"): "r.expires_at > now()",
    ("gateway_sign_outs", "INSERT"): "r.at > 'epoch'",
    ("gateway_sign_outs", "DELETE"): "false",
    ("sso_providers", "INSERT"): "false",
}
"""(table, event) -> condition for a row to be notified, if not all are. Sessions that begin or have expired change no
verdict, and hundreds of them are inserted or purged at once; no session is founded on a provider that is new. Nor does
a row by which a session begins that is the first of its user, or one that is purged."""

_SOURCES: Final = {
    "INSERT": (
        "REFERENCING NEW TABLE AS new_rows",
        "SELECT {row_id} AS row_id FROM new_rows r WHERE {which}",
    ),
    "DELETE": (
        "REFERENCING OLD TABLE AS old_rows",
        "SELECT {row_id} AS row_id FROM old_rows r WHERE {which}",
    ),
    "UPDATE": (
        "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
        (
            "SELECT row_id FROM ("
            "(SELECT {row} FROM old_rows r EXCEPT ALL SELECT {row} FROM new_rows r) UNION ALL "
            "(SELECT {row} FROM new_rows r EXCEPT ALL SELECT {row} FROM old_rows r)) differing"
        ),
    ),
}

_FUNCTION: Final = """
CREATE OR REPLACE FUNCTION {prefix}{table}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    {branches}
    ELSE
        PERFORM pg_notify('{channel}', '{table} *');
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    PERFORM pg_notify('{channel}', '{table} *');
    RETURN NULL;
END $body$
"""

_BRANCH: Final = """IF TG_OP = '{event}' THEN
        PERFORM pg_notify('{channel}', '{table} ' || CASE WHEN total > 1000 THEN '*' ELSE string_agg(row_id, ',') END)
        FROM (SELECT row_id, total, CASE WHEN total > 1000 THEN 0 ELSE (place - 1) / 100 END AS part
              FROM (SELECT row_id, count(*) OVER () AS total, row_number() OVER () AS place
                    FROM (SELECT DISTINCT row_id FROM ({source}) named) each_once) numbered) parted
        GROUP BY total, part;"""

_STATE: Final = """
SELECT count(*) AS found, coalesce(string_agg(t.oid || '.' || t.xmin, ' ' ORDER BY t.oid), '') AS marks,
    count(*) FILTER (WHERE t.tgenabled = 'A' AND one.comment = $3) AS own,
    min(coalesce(substring(one.comment FROM '^version ([0-9]{1,9}) '), '0')::int) AS oldest,
    max(coalesce(substring(one.comment FROM '^version ([0-9]{1,9}) '), '0')::int) AS newest
FROM unnest($1::text[], $2::text[]) AS wanted (relation, name)
JOIN pg_trigger t ON t.tgrelid = to_regclass(wanted.relation) AND t.tgname = wanted.name AND t.tgenabled IN ('O', 'A')
JOIN pg_proc p ON p.oid = t.tgfoid AND p.proname ~ '^gateway_(changed|noted)_'
CROSS JOIN LATERAL (SELECT obj_description(p.oid, 'pg_proc') AS comment) one
"""

NAMES: Final = tuple(TABLES)
_WANTED: Final = (
    *((table, f"{_PREFIX}{event.lower()}") for table in TABLES for event in (*_SOURCES, "TRUNCATE")),
    *((former_memberships.TABLE, name) for name in former_memberships.NAMES),
)


class State(StrEnum):
    """State of the triggers in a database, seen from this program."""

    CURRENT = "current"
    """They are those of this program."""
    DIFFERENT = "older or altered"
    """They notify, but migrate would replace them."""
    NEWER = "newer"
    """They notify, and are of a later program: they may notify more than this one reads, and migrate leaves them."""
    MISSING = "missing"
    """Some are missing or disabled."""


TRIGGER_NOTES: Final = {
    State.DIFFERENT: "the triggers are of an older version, or altered; run migrate, with this version of the gateway",
    State.NEWER: "the triggers are of a newer version of the gateway; run that one, or take them away with migrate "
    "--remove-triggers and run migrate with this one",
    State.MISSING: "triggers that tell of changes are missing or disabled; run migrate",
}
"""What an operator is to do about triggers, by their state."""


class TriggersRefused(RuntimeError):
    """Error: the database user has no right to install triggers."""


class TriggersNewer(TriggersRefused):
    """Error: triggers of a later program are there, and incomplete; older ones would miss what those notify."""


def statements(schema: str) -> Iterable[str]:
    """Yield the statements that make every trigger, with its function, on the tables of `schema`."""
    for table, (row_id, ignored) in TABLES.items():
        unwatched = [column for column in ignored if column not in columns_of(table)]
        row = f"{row_id} AS row_id, to_jsonb(r) - ARRAY[{', '.join(map(repr, unwatched))}]::text[] AS rest"
        branches = "\n    ELS".join(
            _BRANCH.format(
                event=event,
                channel=CHANNEL,
                table=table,
                source=source.format(row_id=row_id, row=row, which=_NOT_NOTIFIED.get((table, event), "true")),
            )
            for event, (_, source) in _SOURCES.items()
        )
        yield _FUNCTION.format(prefix=_PREFIX, table=table, channel=CHANNEL, branches=branches)
        for event in (*_SOURCES, "TRUNCATE"):
            name = f"{_PREFIX}{event.lower()}"
            rows = _SOURCES[event][0] if event in _SOURCES else ""
            yield f"DROP TRIGGER IF EXISTS {name} ON {table}"
            yield (
                f"CREATE TRIGGER {name} AFTER {event} ON {table} {rows} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {_PREFIX}{table}()"
            )
            yield f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
    yield from former_memberships.statements(schema)


VERSION: Final = 1
"""Number of these triggers: the next one whenever a statement changes. Triggers of before have none."""
HASH: Final = hashlib.sha256("\n".join(statements("schema")).encode()).hexdigest()
_COMMENT: Final = f"version {VERSION} {HASH}"


class Seen(NamedTuple):
    """State of the triggers in a database.

    Attributes:
        state: Compared with the triggers of this program.
        marks: They change as soon as any trigger is disabled, enabled or created again.
        found: How many there are and are enabled.
        newest: The highest version among them; 0 for those of before the versions.
    """

    state: State
    marks: str
    found: int
    newest: int


async def look(connection: Any) -> Seen:
    """Return the state of the triggers in the database."""
    tables, names = zip(*_WANTED, strict=True)
    row = await connection.fetchrow(_STATE, tables, names, _COMMENT)
    if row["found"] < len(_WANTED):
        state = State.MISSING
    elif row["own"] == len(_WANTED):
        state = State.CURRENT
    else:
        state = State.NEWER if row["oldest"] > VERSION else State.DIFFERENT
    return Seen(state, row["marks"], row["found"], row["newest"] or 0)


async def are_installed(connection: Any) -> bool:
    """Return whether exactly the triggers of this program, or those of a later one, are installed and enabled."""
    return (await look(connection)).state in {State.CURRENT, State.NEWER}


async def install(connection: Any) -> bool:
    """Install the triggers in the caller's transaction; return False if they, or later ones, were installed already.

    Raises:
        TriggersRefused: The database user does not own the tables.
        TriggersNewer: A later program's are there, and some of them are missing or disabled.
        SchemaUnfit: The tables are in several schemas.
    """
    seen = await look(connection)
    if seen.state in {State.CURRENT, State.NEWER}:
        return False
    if seen.newest > VERSION:
        raise TriggersNewer(
            f"triggers of version {seen.newest} are there, not all of them or not all enabled; this program's are "
            f"version {VERSION}"
        )
    functions = (*(f"{_PREFIX}{table}" for table in NAMES), former_memberships.FUNCTION)
    try:
        for statement in statements(await namespaces.home(connection)):
            await connection.execute(statement)
        for function in functions:
            await connection.execute(f"COMMENT ON FUNCTION {function}() IS '{_COMMENT}'")
    except InsufficientPrivilegeError as error:
        raise TriggersRefused(f"the database's user may not install triggers: {error}") from error
    return True


async def remove(connection: Any) -> bool:
    """Remove the triggers in the caller's transaction; return False if there were none."""
    seen = await look(connection)
    for table in NAMES:
        await connection.execute(f"DROP FUNCTION IF EXISTS {_PREFIX}{table}() CASCADE")
    await former_memberships.remove(connection)
    return bool(seen.found)


def parse(payload: str) -> Change:
    """Parse a notification. One that cannot be parsed means "everything": newer triggers may send more."""
    table, _, ids = payload.partition(" ")
    if ids == "*" or table not in TABLES or table == "permissions":
        return Change(everything=True)
    try:
        if table == "user_organizations":
            pairs = (one.partition("/") for one in ids.split(","))
            return Change(memberships=tuple((UUID(user), UUID(home)) for user, _, home in pairs))
        return Change(rows=tuple(UUID(one) for one in ids.split(",")), of_keys=table == "api_keys")
    except ValueError:
        return Change(everything=True)
