"""Single sign-on service: it begins a sign-in at a provider, and ends it with a session.

Laws:

- A state is used up before the provider is asked anything, and once on any number of gateways.
- The row that a sign-in began with is the row that it ends with; a row that was switched off meanwhile ends nothing.
- The session is an ordinary one. It is refused if all of the user's sessions were ended, or the provider logged the
  user out, since the sign-in began.
- What a provider founds that no operator has named stays in the organization whose row names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authcore.accounts.sso.exchange import AuthorizationGrant
from authcore.accounts.sso.urls import with_query
from authcore.errors import (
    NotAMember,
    SsoDenied,
    SsoParametersInvalid,
    SsoStateRejected,
    SsoStateUsed,
    TokenRevoked,
    UserDisabled,
)
from authcore.moments import moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.accounts.sessions import Sessions
    from authcore.accounts.sso.account_finder import AccountFinder
    from authcore.accounts.sso.configured import ConfiguredProviders
    from authcore.accounts.sso.departures import Departures
    from authcore.accounts.sso.discovery import Endpoints
    from authcore.accounts.sso.identities import ProviderKind
    from authcore.accounts.sso.states import SignInStates
    from authcore.accounts.token_pairs import TokenPair
    from authcore.store.rows import Subject
    from authcore.store.session_rows import Visit
    from authcore.store.sso_rows import SsoStore

_TENANT: Final = "{tenantid}"
_KNOWN_ERRORS: Final = frozenset(
    {
        *("access_denied", "login_required", "consent_required", "interaction_required"),
        *("account_selection_required", "temporarily_unavailable", "server_error"),
        *("invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope"),
    }
)


@dataclass(frozen=True, slots=True)
class Redirection:
    """Redirection of a browser to its provider, with the binding that it has to bring back."""

    url: str = field(repr=False)
    binding: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """Parameters with which a provider sent a browser back; an absent one is empty.

    Attributes:
        url: The callback's own URL, as the sign-in named it.
        bindings: The bindings that the browser sent.
        issuer: ``iss`` (RFC 9207); None if absent.
    """

    url: str
    bindings: Sequence[str] = field(repr=False)
    state: str = field(repr=False)
    code: str = field(repr=False)
    error: str
    issuer: str | None


class SingleSignOn:
    """Single sign-on service.

    Attributes:
        configured: The providers.
        departures: The ends of sessions that providers began.
    """

    def __init__(  # noqa: PLR0913, PLR0917 -- its collaborators
        self,
        store: SsoStore,
        sessions: Sessions,
        states: SignInStates,
        configured: ConfiguredProviders,
        accounts: AccountFinder,
        departures: Departures,
    ) -> None:
        self.configured = configured
        self.departures = departures
        self._store = store
        self._sessions = sessions
        self._states = states
        self._accounts = accounts

    async def begin(
        self, kind: ProviderKind, callback: str, bindings: Sequence[str], now: float
    ) -> Redirection:
        """Begin a sign-in; `bindings` are those that the browser has already, of other sign-ins.

        Raises:
            SsoNotConfigured: no such provider is enabled, or its row cannot be used.
            SsoProviderFailed: its endpoints cannot be had.
            StoreUnavailable: the database does not answer.
        """
        found = await self.configured.of(kind)
        endpoints = await found.provider.endpoints()
        binding = next(iter(bindings), None) or self._states.new_binding()
        sign_in = self._states.begin(binding, found.row.id, callback, now)
        parameters = {
            "response_type": "code",
            "client_id": found.client.id,
            "redirect_uri": callback,
            "scope": " ".join(found.provider.scopes),
            "state": sign_in.state,
            "code_challenge": sign_in.challenge,
            "code_challenge_method": "S256",
        }
        if endpoints.issuer:
            parameters["nonce"] = sign_in.nonce
        return Redirection(with_query(endpoints.authorization, parameters), binding)

    async def finish(
        self, kind: ProviderKind, callback: Callback, now: float, visit: Visit
    ) -> tuple[TokenPair, Subject]:
        """End a sign-in: return the tokens of the session that it begins, and whose it is.

        Raises:
            SsoRefused: there is none (by subclass).
            UserDisabled: the account is switched off.
            NotAMember: there is no organization that the user may act in.
            StoreUnavailable: the database does not answer.
        """
        sign_in = self._states.read(callback.state, callback.bindings, callback.url, now)
        over_at = moment(sign_in.begun_at + self._states.seconds)
        if not await self._store.use_ticket(sign_in.digest, over_at):
            raise SsoStateUsed("the state has been used before")
        found = await self.configured.of(kind)
        if found.row.id != sign_in.provider_id:
            raise SsoStateRejected("the sign-in began for another provider, or for another row of it")
        _check_issuer(callback.issuer, await found.provider.endpoints())
        if callback.error:
            known = callback.error if callback.error in _KNOWN_ERRORS else "an error of its own"
            raise SsoDenied(f"the provider answers with {known}")
        if not callback.code:
            raise SsoParametersInvalid("the callback has neither a code nor an error")
        grant = AuthorizationGrant(callback.code, sign_in.verifier, callback.url)
        identity = await found.provider.identify(found.client, grant, sign_in, now)
        user_id = await self._accounts.find(found, identity)
        stays = found.stays_in
        subject = await self._acting(user_id, await self._store.home(user_id) if stays is None else stays)
        pair = await self._open(subject, sign_in.begun_at, now, visit)
        await self.departures.note(pair.session_id, user_id, identity, sign_in, now, bound_to=stays)
        return pair, subject

    async def _open(self, subject: Subject, begun_at: float, now: float, visit: Visit) -> TokenPair:
        try:
            return await self._sessions.open(subject, now, visit, founded_at=begun_at)
        except TokenRevoked:
            raise SsoStateRejected("all sessions of the user were ended since the sign-in began") from None

    async def _acting(self, user_id: UUID, organization_id: UUID | None) -> Subject:
        subject = None if organization_id is None else await self._store.subject(user_id, organization_id)
        if subject is None or not subject.may_act:
            raise NotAMember
        if not subject.is_active:
            raise UserDisabled
        return subject


def _check_issuer(sent: str | None, endpoints: Endpoints) -> None:
    """Check ``iss`` of a callback against the provider's issuer (RFC 9207 section 2.4)."""
    if sent is None and endpoints.names_issuer:
        raise SsoStateRejected("the callback has no iss, which the provider announces")
    if sent is None or not endpoints.issuer:
        return
    before, template, after = endpoints.issuer.partition(_TENANT)
    fits = sent.startswith(before) and sent.endswith(after) if template else sent == endpoints.issuer
    if not fits:
        raise SsoStateRejected("the iss of the callback is another provider's")
