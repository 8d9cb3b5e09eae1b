"""Builder of the explainer, for the admin listener and for the command line."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authcore.accounts.names import Names
from authcore.accounts.texts import as_id
from authcore.accounts.user_lookup import find_person
from authcore.identity_headers import SIGNED
from config.route_plan import HOSTED_UPSTREAM
from gateway.assembly.domain import build_domain
from gateway.assembly.routing import Routing
from gateway.assembly.serving import build_authorizer
from gateway.assembly.upstreams import Upstreams
from gateway.faults import BadRequest
from gateway.metrics import Metrics
from gateway.proxy.cors import build_policy
from gateway.proxy.explain import PEER, Asked, Explainer
from gateway.proxy.upstreams import Upstream
from gateway.wire.deadlines import Deadlines
from gateway.wire.pool import PoolLimits, UpstreamPool
from gateway.wire.write_buffer import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.proxy.routes import RouteTable


class Request(BaseModel):
    """Document of a request to explain.

    Attributes:
        headers: The header fields, by name or as pairs.
        client: The address that it comes from.
        person: The user to ask as: an e-mail address, a user id, or ``name@organization``.
        organization: The organization they act in, if not their own: its id, slug or name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    path: str
    host: str = "localhost"
    headers: tuple[tuple[str, str], ...] | dict[str, str] = ()
    client: IPv4Address | IPv6Address = ip_address(PEER)
    person: str | None = Field(None, alias="as")
    organization: str | None = None


def build_explain(
    settings: Settings, domain: Domain, table: Callable[[], RouteTable]
) -> Callable[[bytes], Awaitable[dict[str, object]]]:
    """Return the function that explains a document, by the routes that `table` returns."""
    authorizer, upstream_start = build_authorizer(settings, domain, table(), Metrics(), spends=False)

    def current() -> Any:
        authorizer.routes = table()
        return authorizer

    explainer = Explainer(
        current,
        upstream_start,
        domain.tokens,
        signed=settings.header.names()[SIGNED],
        cors=build_policy(settings.cors),
    )

    async def explain(document: bytes) -> dict[str, object]:
        try:
            request = Request.model_validate_json(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            # The others are pydantic's own.
            named = [str(part) for part in first["loc"] if "[" not in str(part)]
            raise BadRequest(f"{'.'.join(named) or 'body'}: {first['msg']}") from None
        person = None
        if request.person is not None:
            person = await find_person(
                domain.store, request.person, await _organization(domain, request.organization)
            )
        elif request.organization is not None:
            raise BadRequest("organization goes with as; else send X-Organization-ID among the headers")
        headers = request.headers
        asked = Asked(
            request.method,
            request.path,
            request.host,
            tuple(headers.items()) if isinstance(headers, dict) else headers,
            person,
            str(request.client),
        )
        return await explainer.explain(asked, await domain.clock.sure())

    return explain


async def _organization(domain: Domain, named: str | None) -> UUID | None:
    """Return the id that `named` is, whether there is such an organization or not; else that of its slug or name.

    Raises:
        NameAmbiguous: several organizations have the name.
        OrganizationUnknown: none has it.
        StoreUnavailable: the database does not answer.
    """
    if not named:
        return None
    return as_id(named) or await Names(domain.store).organization(named)


async def explain_once(settings: Settings, document: bytes) -> dict[str, object]:
    """Explain by the settings, the route file and the database, without a running gateway.

    Raises:
        RoutesRefused: the route file cannot be used.
        BadRequest: the document cannot be explained.
        UserUnknown: no user has this name.
        OrganizationUnknown: no organization has this name.
        StoreUnavailable: the database does not answer.
    """
    domain = await build_domain(settings)
    metrics = Metrics()
    deadlines, write_batch = Deadlines(), WriteBatch(_never)
    upstreams = Upstreams(settings, metrics, deadlines, write_batch)
    try:
        routing = Routing(settings, metrics, upstreams, _nowhere(metrics, deadlines, write_batch))
        return await build_explain(settings, domain, lambda: routing.table)(document)
    finally:
        upstreams.close()
        domain.passwords.close()
        await domain.store.close()


def _never(_flush: object) -> None:
    """Schedule nothing: an explained request is never sent."""


def _nowhere(metrics: Metrics, deadlines: Deadlines, write_batch: WriteBatch) -> Upstream:
    """Return a stand-in for the hosted application: an explained request is never sent."""

    async def dial(_protocol: object, _to: object) -> NoReturn:
        raise ConnectionRefusedError("nothing is sent when explaining")

    limits = PoolLimits(connections=1, pending=0, idle_seconds=1, connect_timeout_seconds=1)
    return Upstream(
        HOSTED_UPSTREAM,
        UpstreamPool(dial, limits, deadlines, write_batch),
        head_timeout_seconds=1,
        body_timeout_seconds=1,
        meter=metrics.upstream(HOSTED_UPSTREAM),
    )
