"""Triggers that note memberships whose rows are deleted for good, so that no deletion raises anybody's rights.

Laws:

- A row that is deleted, moved to another user or organization, or truncated away leaves its pair of ids in
  ``gateway_former_memberships``, in the writer's transaction. Rows that are marked as deleted need no note.
- The writer needs no right on that table, and never fails for its sake.
- The function has its owner's rights, and meets no object of the writer's: it names tables with their schema, and its
  search path ends with the temporary tables, which would come first otherwise.
- They are installed, enabled, watched and removed with the triggers of :mod:`authcore.store.triggers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from authcore.store.namespaces import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLE: Final = "user_organizations"
_PREFIX: Final = "gateway_noted_"
FUNCTION: Final = f"{_PREFIX}{TABLE}"

# SECURITY DEFINER: the writer is Whatomate, which knows nothing of the table.
_NOTE: Final = """
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO {schema}.gateway_former_memberships (user_id, organization_id)
        SELECT DISTINCT user_id, organization_id FROM {schema}.{table} ON CONFLICT DO NOTHING;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO {schema}.gateway_former_memberships (user_id, organization_id)
        SELECT user_id, organization_id FROM old_rows EXCEPT SELECT user_id, organization_id FROM new_rows
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO {schema}.gateway_former_memberships (user_id, organization_id)
        SELECT DISTINCT user_id, organization_id FROM old_rows ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $body$
"""

_EVENTS: Final = {
    "delete": f"AFTER DELETE ON {TABLE} REFERENCING OLD TABLE AS old_rows",
    "update": f"AFTER UPDATE ON {TABLE} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "truncate": f"BEFORE TRUNCATE ON {TABLE}",
}
NAMES: Final = tuple(f"{_PREFIX}{event}" for event in _EVENTS)


def statements(schema: str) -> Iterable[str]:
    """Return the statements that install the triggers, or install them anew, on the tables of `schema`."""
    yield _NOTE.format(function=FUNCTION, table=TABLE, schema=quoted(schema))
    yield f"REVOKE ALL ON FUNCTION {FUNCTION}() FROM PUBLIC"
    for name, when in zip(NAMES, _EVENTS.values(), strict=True):
        yield f"DROP TRIGGER IF EXISTS {name} ON {TABLE}"
        yield f"CREATE TRIGGER {name} {when} FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()"
        yield f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {name}"


async def remove(connection: Any) -> None:
    """Remove the triggers, in the caller's transaction."""
    await connection.execute(f"DROP FUNCTION IF EXISTS {FUNCTION}() CASCADE")
