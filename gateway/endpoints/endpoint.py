"""Endpoint declaration: one value with everything that the gateway knows about a path and method it answers itself.

The aiohttp router (``application.py``), the route table (``gateway/assembly/routes.py``) and the OpenAPI document
(``describing.py``) are folded from the list of declarations in ``hosted.py``. "To add a hosted endpoint" in
CONTRIBUTING.md names the steps.

Laws:

- Nothing about an endpoint is written anywhere else, except for the messages of the error table.
- The type of an endpoint's access determines what its handler is given: a public one never gets a :class:`Caller`,
  and a handler that needs one cannot be declared public (mypy checks it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from authcore.authorize import AUTHENTICATED, Requirement
from authcore.authorize import PUBLIC as NO_CREDENTIAL
from authcore.principal import FOUNDING, AuthMethod
from gateway.endpoints.caller import Caller, Visitor, caller_of, visitor_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web
    from pydantic import BaseModel

    from authcore.errors import AuthError
    from authcore.trail import Event
    from config.settings import Settings
    from gateway.endpoints.services import Services
    from gateway.faults import Fault

Sender = TypeVar("Sender", Visitor, Caller)


@dataclass(frozen=True, slots=True)
class Access(Generic[Sender]):
    """Access rule of an endpoint.

    Attributes:
        requirement: What its route asks of the caller.
        parse: Reads the sender of a request from the injected headers, whose configured names it is given.
    """

    requirement: Requirement
    parse: Callable[[web.Request, Mapping[str, str]], Sender]

    @property
    def permission(self) -> str:
        """The required permission; empty if none is."""
        return next(iter(self.requirement.all_of), "")

    def takes(self, method: AuthMethod) -> bool:
        """Return whether a caller who proved itself by `method` may use the endpoint."""
        methods = self.requirement.methods
        return not self.requirement.public and (methods is None or method in methods)


PUBLIC: Final = Access(NO_CREDENTIAL, visitor_of)
"""Access without a credential."""
CREDENTIAL: Final = Access(AUTHENTICATED, caller_of)
"""Access with a credential of any kind."""
TOKEN: Final = Access(Requirement(methods=FOUNDING), caller_of)
"""Access with an access token of the gateway or of Whatomate, in a header or a cookie."""


def permission(name: str, *, methods: frozenset[AuthMethod] | None = None) -> Access[Caller]:
    """Return the access rule for holders of the permission `name`.

    An endpoint that makes what outlives its request limits the `methods` (docs/founding.md); None accepts each.
    """
    return Access(Requirement(all_of=frozenset({name}), methods=methods), caller_of)


def always(_settings: Settings) -> bool:
    """Return True: the endpoint is hosted under all settings."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Operation of the OpenAPI document: one method of one path.

    Attributes:
        tag: The heading under which it is described.
        summary: Its purpose, in a few words.
        access: Who may use it.
        answer: The model of ``data`` in the envelope; without one, the answer has no envelope and is of type `media`.
        body: The model of the request body, if there is one.
        optional_body: The request body may be left out; with `csrf` only where a cookie stands in for it.
        lenient_body: A body that cannot be read counts as none, and is not refused.
        form: The body may be a form as well.
        organization: ``own`` ignores X-Organization-ID: it acts for the organization of the credential. With ``any``
            the caller may ask for another one, as on forwarded routes.
        csrf: A cookie may stand in for what it is sent, and then needs a CSRF token or a page of this host.
        query: The parameters of its query.
        refuses: The errors that are specific to it.
        complaints: The messages of its 400s that are no errors of the domain.
        detail: Further description.
        status: The status of success.
        answers_list: ``data`` is a list of `answer`.
    """

    method: str
    path: str
    tag: str
    summary: str
    access: Access[Any]
    answer: type[BaseModel] | None = None
    media: str = "application/json"
    body: type[BaseModel] | None = None
    optional_body: bool = False
    lenient_body: bool = False
    form: bool = False
    organization: Literal["own", "any"] = "own"
    csrf: bool = False
    query: type[BaseModel] | None = None
    refuses: tuple[type[AuthError], ...] = ()
    complaints: tuple[str, ...] = ()
    detail: str = ""
    status: int = 200
    answers_list: bool = False

    @property
    def name(self) -> str:
        """Name that is unique among operations."""
        words = re.sub(r"[^a-z]+", " ", self.path.removeprefix("/api/").replace("{id}", "one")).split()
        return "_".join([self.method.lower(), *words])


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Operation, Generic[Sender]):
    """Endpoint: an operation that the gateway answers itself.

    Attributes:
        access: Who may use it, and with it what `handler` is given.
        handler: Answers a request of an admitted sender.
        cookies: It reads and sets the gateway's cookies, where they are on.
        head: A GET answers HEAD too (RFC 9110 section 9.3.2); False where GET makes something.
        route: The name of its route in metrics and logs; empty for one that follows from the path.
        limited: Rate limits count it; False for what must always be there, such as signing out.
        when: Returns whether it is hosted, by the settings.
        refused: Makes the answer to a fault; None for the envelope.
        event: What a request to it is in the audit trail; None if it changes nothing.
    """

    access: Access[Sender]
    handler: Callable[[Services, web.Request, Sender], Awaitable[web.Response]]
    cookies: bool = False
    head: bool = True
    route: str = ""
    limited: bool = True
    when: Callable[[Settings], bool] = always
    refused: Callable[[Services, Fault], web.Response] | None = None
    event: Event | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods that it answers."""
        return ("GET", "HEAD") if self.method == "GET" and self.head else (self.method,)

    @property
    def route_name(self) -> str:
        """The name of its route: short and stable."""
        return self.route or self.path.removeprefix("/api/").removesuffix("/{id}").replace("/", "-")
