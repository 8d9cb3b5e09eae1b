"""Provider identities: the values about a user that an identity provider vouches for, checked and shortened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from authcore.accounts.texts import acceptable_email
from authcore.errors import EmailUnacceptable


class ProviderKind(StrEnum):
    """Kind of provider, as ``sso_providers.provider`` and ``users.sso_provider`` have it."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"
    GITHUB = "github"
    FACEBOOK = "facebook"
    CUSTOM = "custom"

    @property
    def label(self) -> str:
        """Its name on the login page, as Whatomate has it."""
        return _TITLES[self]


_TITLES: Final = {
    ProviderKind.GOOGLE: "Google",
    ProviderKind.MICROSOFT: "Microsoft",
    ProviderKind.GITHUB: "GitHub",
    ProviderKind.FACEBOOK: "Facebook",
    ProviderKind.CUSTOM: "Custom SSO",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderIdentity:
    """Identity of a user at a provider, as the provider vouches for it.

    Attributes:
        kind: The kind of provider.
        issuer: Who says so: the issuer of the ID token, else the URL of the provider.
        account: The user's id there, as Whatomate stores it in ``users.sso_provider_id``.
        email: The user's e-mail, if the provider has verified it; None otherwise.
        name: The user's name; the e-mail's first part if the provider has none.
        subject: ``sub`` of the ID token; the same as `account` without one.
        sid: The provider's session, by which it may end ours; empty if it names none.
    """

    kind: ProviderKind
    issuer: str
    account: str
    email: str | None
    name: str
    subject: str
    sid: str = ""

    @property
    def domain(self) -> str:
        """The domain of the e-mail in lower case; empty without an e-mail."""
        return "" if self.email is None else self.email.rpartition("@")[2].lower()


def usable_email(email: object, *, is_verified: bool) -> str | None:
    """Return an e-mail that counts: verified, an address, and in ASCII; None for any other."""
    if not is_verified or not isinstance(email, str) or not email.isascii():
        return None
    try:
        return email if acceptable_email(email) == email else None  # no spaces around it either
    except EmailUnacceptable:
        return None


def usable_name(name: object, email: str | None) -> str:
    """Return a name for a new account: what the provider says without what no screen shows, else of the e-mail."""
    if isinstance(name, str):
        printable = "".join(one for one in name if one.isprintable()).strip()[:255]
        if printable:
            return printable
    return (email or "").partition("@")[0] or "Single sign-on"
