"""Models of the request and response bodies of ``/api/auth``.

Law: the contract of an existing Whatomate client holds to the letter; the user object is a superset of every version's.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, computed_field

from authcore.passwords.hasher import MAX_BYTES
from gateway.endpoints.describing import Answer

if TYPE_CHECKING:
    from pydantic.config import JsonDict


def _printable(text: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("must not hold control characters")
    return text


def _named(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("is required")
    return _printable(text)


# -- request bodies -----------------------------------------------------------------------------------------------

EMAIL_SCHEMA: Final[JsonDict] = {"format": "email", "maxLength": 255, "examples": ["alice@acme.example"]}
"""Description of a new e-mail; the domain decides (``authcore/accounts/texts.py``)."""
PASSWORD_SCHEMA: Final[JsonDict] = {"format": "password", "examples": ["correct horse battery"]}
"""Description of a password that exists already: every password may be tried."""
NEW_PASSWORD_SCHEMA: Final[JsonDict] = {**PASSWORD_SCHEMA, "maxLength": MAX_BYTES}
"""Description of a new password; the generator adds the configured minimum."""
NEW_PASSWORD_RULE: Final = (
    f"At most {MAX_BYTES} bytes of UTF-8, and no NUL; the fewest characters are a setting."
)


class RegisterBody(BaseModel):
    """Body of ``register``: an organization, or an invitation to one."""

    email: Annotated[str, Field(min_length=1, json_schema_extra=EMAIL_SCHEMA), AfterValidator(_printable)]
    password: Annotated[
        str, Field(min_length=1, description=NEW_PASSWORD_RULE, json_schema_extra=NEW_PASSWORD_SCHEMA)
    ]
    full_name: Annotated[
        str, Field(min_length=1, max_length=255, examples=["Alice Adams"]), AfterValidator(_named)
    ]
    organization_id: UUID | None = Field(
        None,
        description="Where to register. Required, unless there is an invitation, which names it.",
        examples=["6f1c1f7e-9d55-4a86-8f0e-2d6d1c1b7a10"],
    )
    invitation: Annotated[str, Field(min_length=1, max_length=8192)] | None = Field(
        None, description="The invitation; needed where registration is by invitation."
    )


class LoginBody(BaseModel):
    """Body of ``login``."""

    email: Annotated[str, Field(min_length=1, examples=["alice@acme.example"])]
    password: Annotated[str, Field(min_length=1, json_schema_extra=PASSWORD_SCHEMA)]


class RefreshBody(BaseModel):
    """Body of ``refresh``, and of ``logout``, where it may be missing."""

    refresh_token: Annotated[str, Field(min_length=1, examples=["<refresh token>"])]


class SwitchBody(BaseModel):
    """Body of ``switch-org``."""

    organization_id: UUID


# -- response bodies ----------------------------------------------------------------------------------------------


class PermissionAnswer(Answer):
    """Permission: an action on a resource."""

    resource: str
    action: str


class RoleAnswer(Answer):
    """Role with its permissions."""

    id: UUID
    name: str
    description: str
    is_system: bool
    permissions: list[PermissionAnswer]


class UserAnswer(Answer):
    """A user, acting in `organization_id` with the role they have there."""

    id: UUID
    organization_id: UUID
    email: str
    full_name: str
    role_id: UUID | None
    is_active: bool
    is_available: bool
    is_super_admin: bool
    created_at: datetime
    updated_at: datetime
    settings: dict[str, Any]
    role: RoleAnswer | None

    @computed_field
    def name(self) -> str:
        """The same as ``full_name``."""
        return self.full_name


def _may_be_absent(schema: JsonDict) -> None:
    schema.pop("default")


class TokensAnswer(Answer):
    """A pair of tokens; where they go into cookies only, how long they last."""

    access_token: str = Field(
        "", json_schema_extra=_may_be_absent, description="Absent where it is in a cookie only."
    )
    refresh_token: str = Field(
        "", json_schema_extra=_may_be_absent, description="Good once; absent like the other."
    )
    expires_in: int = Field(description="Seconds until the access token ends.")


class SignedInAnswer(TokensAnswer):
    """The user who signed in, and their tokens."""

    user: UserAnswer


class LoggedOutAnswer(Answer):
    """Confirmation that the caller is signed out."""

    status: Literal["logged_out"] = "logged_out"
    sso_logout_url: str = Field(
        "",
        json_schema_extra=_may_be_absent,
        description="Where a browser signs out of its identity provider, too; absent where there is no such place.",
    )
