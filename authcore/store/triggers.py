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
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from asyncpg import InsufficientPrivilegeError

from authcore.identity_headers import columns_of
from authcore.store import former_memberships
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
            *(
                "created_at",
                "updated_at",
                "client_id",
                "client_secret",
                "allow_auto_create",
                "default_role_name",
            ),
            *("allowed_domains", "auth_url", "user_info_url"),
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

_INSTALLED: Final = """
SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE p.proname LIKE 'gateway\\_changed\\_%' AND t.tgenabled IN ('O', 'A')
    AND t.tgrelid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
    AND obj_description(p.oid, 'pg_proc') = $2
"""

# As _INSTALLED, but for triggers of any version, as this program may be older or newer than they are. The marks change
# as soon as any trigger is disabled, enabled or created again.
COUNT: Final = """
SELECT count(*), coalesce(string_agg(t.oid || '.' || t.xmin, ' ' ORDER BY t.oid), '') AS marks
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE p.proname LIKE 'gateway\\_changed\\_%' AND t.tgenabled IN ('O', 'A')
    AND t.tgrelid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
"""

NAMES: Final = tuple(TABLES)
TRIGGERS: Final = len(TABLES) * (len(_SOURCES) + 1)


class TriggersRefused(RuntimeError):
    """Error: the database user has no right to install triggers."""


def statements() -> Iterable[str]:
    """Yield the statements that make every trigger, with its function."""
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
    yield from former_memberships.statements()


_VERSION: Final = hashlib.sha256("\n".join(statements()).encode()).hexdigest()


async def are_installed(connection: Any) -> bool:
    """Return whether exactly the triggers of this program are installed and enabled."""
    return bool(await connection.fetchval(_INSTALLED, list(NAMES), _VERSION) == TRIGGERS)


async def install(connection: Any) -> bool:
    """Install the triggers in the caller's transaction; return False if they were installed already.

    Raises:
        TriggersRefused: The database user does not own the tables.
    """
    if await are_installed(connection):
        return False
    try:
        for statement in statements():
            await connection.execute(statement)
        for table in NAMES:
            await connection.execute(f"COMMENT ON FUNCTION {_PREFIX}{table}() IS '{_VERSION}'")
    except InsufficientPrivilegeError as error:
        raise TriggersRefused(f"the database's user may not install triggers: {error}") from error
    return True


async def remove(connection: Any) -> bool:
    """Remove the triggers in the caller's transaction; return False if there were none."""
    found = await connection.fetchval(COUNT, list(NAMES))
    for table in NAMES:
        await connection.execute(f"DROP FUNCTION IF EXISTS {_PREFIX}{table}() CASCADE")
    await former_memberships.remove(connection)
    return bool(found)


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
