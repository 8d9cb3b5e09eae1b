"""Triggers that note memberships whose rows are deleted for good, so that no deletion raises anybody's rights.

Laws:

- A row that is deleted, moved to another user or organization, or truncated away leaves its pair of ids in
  ``gateway_former_memberships``, in the writer's transaction. Rows that are marked as deleted need no note.
- The writer needs no right on that table, and never fails for its sake.
- They are installed and removed with the triggers of :mod:`authcore.store.triggers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIX: Final = "gateway_noted_"
_FUNCTION: Final = f"{_PREFIX}user_organizations"

# SECURITY DEFINER: the writer is Whatomate, which knows nothing of the table. The search path is the migration's.
_NOTE: Final = f"""
CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $body$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO gateway_former_memberships (user_id, organization_id)
        SELECT DISTINCT user_id, organization_id FROM user_organizations ON CONFLICT DO NOTHING;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO gateway_former_memberships (user_id, organization_id)
        SELECT user_id, organization_id FROM old_rows EXCEPT SELECT user_id, organization_id FROM new_rows
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO gateway_former_memberships (user_id, organization_id)
        SELECT DISTINCT user_id, organization_id FROM old_rows ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $body$
"""  # noqa: S608 -- only a constant is interpolated

_EVENTS: Final = {
    "delete": "AFTER DELETE ON user_organizations REFERENCING OLD TABLE AS old_rows",
    "update": "AFTER UPDATE ON user_organizations REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "truncate": "BEFORE TRUNCATE ON user_organizations",
}


def statements() -> Iterable[str]:
    """Return the statements that install the triggers, or install them anew."""
    yield _NOTE
    yield f"REVOKE ALL ON FUNCTION {_FUNCTION}() FROM PUBLIC"
    for event, when in _EVENTS.items():
        yield f"DROP TRIGGER IF EXISTS {_PREFIX}{event} ON user_organizations"
        yield f"CREATE TRIGGER {_PREFIX}{event} {when} FOR EACH STATEMENT EXECUTE FUNCTION {_FUNCTION}()"


async def remove(connection: Any) -> None:
    """Remove the triggers, in the caller's transaction."""
    await connection.execute(f"DROP FUNCTION IF EXISTS {_FUNCTION}() CASCADE")
