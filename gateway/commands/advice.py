"""Advice for errors: the next step, for each error that a command meets.

Law: every error of the domain that a command can raise has its advice here (a test walks them), or, as an error of
the database, in :mod:`authcore.store.failures`. The error says what is wrong, in the words that clients know; the
advice says what an operator does about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.errors import (
    AlreadyMember,
    ApiKeyUnknown,
    EmailTaken,
    EmailUnacceptable,
    EmailUnproved,
    LastAdministrator,
    NameAmbiguous,
    NameUnacceptable,
    NotAMember,
    OrganizationUnknown,
    Overloaded,
    PasswordUnacceptable,
    RoleUnknown,
    SessionUnknown,
    SlugTaken,
    SlugUnacceptable,
    UserUnknown,
)
from authcore.store.migrate import MigrationChanged
from authcore.store.namespaces import Misplaced, NoNamespace
from authcore.store.schema import REMEDY, SchemaUnfit
from authcore.store.triggers import TriggersNewer, TriggersRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

NEXT: Final[Mapping[type[Exception], str]] = {
    MigrationChanged: "run the version of the gateway that migrated this database, or a later one",
    SchemaUnfit: REMEDY,
    Misplaced: "let the search_path of this role begin with the schema of Whatomate's tables: ALTER ROLE name SET "
    "search_path = schema, or ?options=-csearch_path%3Dschema in the URL",
    NoNamespace: "let the search_path of this role name the schema of Whatomate's tables, mostly public: ALTER ROLE "
    "name SET search_path = public, or ?options=-csearch_path%3Dpublic in the URL, and grant it USAGE on that schema",
    TriggersRefused: "let the owner of Whatomate's tables run migrate, or set GATEWAY_DATABASE_TRIGGERS=off and accept "
    "that revocations hold after GATEWAY_IDENTITY_CACHE_SECONDS",
    TriggersNewer: "run migrate of the version that installed them, or of a later one; `migrate "
    "--remove-triggers` takes them away",
    OrganizationUnknown: "`orgs list` shows those there are; `orgs create NAME` makes one and prints its id",
    UserUnknown: "`users list` shows those there are; `users create` makes a user",
    SessionUnknown: "`sessions list` shows those that are live",
    NameAmbiguous: "name one by its id",
    LastAdministrator: "make somebody else an admin first (`users role`), or add --even-last",
    RoleUnknown: "use a role of that organization's, such as admin, manager or agent",
    ApiKeyUnknown: "`api-keys list --organization ID` shows the ids of keys",
    EmailTaken: "the user is there already; `api-keys create --user` and sign-in take that e-mail",
    AlreadyMember: "nothing is left to do",
    NotAMember: "`users add-to` makes the user a member of that organization; `users show` lists their own",
    SlugTaken: "choose another with --slug",
    SlugUnacceptable: "give up to 100 of a-z, 0-9 and single -, such as acme-berlin, and not an id",
    PasswordUnacceptable: "choose another; GATEWAY_PASSWORD_MIN_LENGTH is the shortest, and 72 bytes the longest",
    EmailUnproved: "`users vouch --email` says that the e-mail is the account's",
    EmailUnacceptable: "give an address such as ada@example.com",
    NameUnacceptable: "give a name of 1 to 255 characters without control characters",
    Overloaded: "try again",
}


def advised(error: Exception) -> str:
    """Return the error's message and its advice."""
    advice = next((NEXT[kind] for kind in type(error).__mro__ if kind in NEXT), None)
    return str(error) if advice is None else f"{error}; {advice}"
