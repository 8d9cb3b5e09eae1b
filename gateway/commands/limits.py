"""Commands ``limits list|refused|unlock``: the limits on callers that are in force, and who is past one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from authcore.moments import moment
from authcore.networks import UNKNOWN, network
from authcore.quotas import window
from config.limit_checks import all_limits, names_for
from config.load import load_settings
from config.route_plan import read_plan
from gateway.assembly.quotas import usual_quotas
from gateway.commands.listing import Field, listed
from gateway.commands.opening import administer, note, run_with
from gateway.commands.running import status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from authcore.store.waiting import Waiting
    from config.limits import LimitEntry
    from config.route_plan import RoutePlan
    from config.settings import Settings
    from gateway.commands.listing import Row
    from gateway.commands.opening import Opened
    from gateway.commands.recorded_services import RecordedAdministration

_FIGURES: Final = ("admitted", "refused", "shadow", "keys")


@click.group("limits")
def limits() -> None:
    """Limits on callers: rates, requests at once, quotas, and the waits after failed sign-ins."""


@limits.command("list")
@click.option(
    "--gateway",
    metavar="URL",
    help="Also what each has done since that gateway began: the URL of its admin listener.",
)
@listed(
    Field("name", "the limit's name"),
    Field("key", "what is counted as one caller; of several parts, each combination"),
    Field("rates", "what is granted; of several, all must grant", absent="none"),
    Field("concurrency", "requests of a caller that are at work at once", absent="none"),
    Field("is_shadow", "true: it counts what it would refuse, and refuses nothing"),
    Field(
        "counted_in",
        "store: rates are counted in GATEWAY_LIMITS_URL by all gateways; process: by each, in shares",
    ),
    Field("store_away", "open or closed: what it does while that store is away", in_table=False),
    Field("from", "settings, or route file"),
    Field("routes", "the routes that have it; null where there are no routes but the paths of the settings"),
    Field("is_hosted", "whether the gateway's own endpoints have it", in_table=False),
    Field("admitted", "requests that it let through, with --gateway", in_table=False),
    Field("refused", "requests that it refused, with --gateway"),
    Field("shadowed", "requests that it would have refused, with --gateway", in_table=False),
    Field("callers", "callers that are counted now, with --gateway"),
)
def list_limits(gateway: str | None) -> Sequence[Row]:
    """List the limits of the settings and the route file; without any, nothing is limited."""
    # The URL of the upstream does not matter here.
    settings = load_settings(defaults={"GATEWAY_UPSTREAM_URL": "http://upstream:80"}, required=frozenset())
    plan = read_plan(settings)
    running: Mapping[str, Any] = {}
    if gateway is not None:
        running = status_of(gateway, settings).get("limits", {})
    return [
        {**_described(name, entry, settings, plan), **_figures(running.get(name, {}))}
        for name, entry in all_limits(settings, plan).items()
    ]


@limits.command("refused")
@listed(
    Field(
        "kind",
        "sign-in of an e-mail (anywhere, or from one address), from an address, or of unknown; or a quota",
    ),
    Field("name", "the e-mail, address, API key or organization; null where only a digest is stored"),
    Field("used", "failed sign-ins that count, or requests"),
    Field("until", "when the next is let through"),
    Field("id", "of the user, API key or organization", in_table=False),
)
def list_refused() -> Sequence[Row]:
    """List who would be refused now: sign-ins that have to wait, and quotas that are used up.

    Callers past a rate are known to the gateways alone, and as digests: `limits list --gateway` says how many, and the
    access log has each.
    """

    async def work(services: Opened, now: float) -> Sequence[Row]:
        waiting = await services.store.waiting_attempts(moment(now))
        return [*map(_sign_in, waiting), *[row async for row in _quotas(services, now)]]

    return run_with(work)


@limits.command("unlock")
@click.option("--email", help="The e-mail; it need not have an account. As `users unlock`.")
@click.option("--address", help="The client's address; of IPv6, its /64.")
def unlock(email: str | None, address: str | None) -> None:
    """Forget the failed sign-ins of an e-mail or from an address, so that the next one need not wait."""
    if email is None and address is None:
        raise click.UsageError("name --email, --address or both")
    if address is not None and network(address) == UNKNOWN:
        raise click.BadParameter("should be an address such as 192.0.2.1", param_hint="'--address'")

    async def work(admin: RecordedAdministration) -> int:
        forgotten = 0 if email is None else await admin.unlock(email.strip())
        return forgotten + (0 if address is None else await admin.unlock_address(address))

    note("forgotten" if administer(work) else "nothing had failed")


def _described(name: str, entry: LimitEntry, settings: Settings, plan: RoutePlan | None) -> Row:
    is_shared = settings.limits.url is not None and entry.rate is not None
    having = [
        planned.entry.name
        for planned in (() if plan is None else plan.routes)
        if name in names_for(settings, planned.entry.limits, public=planned.entry.auth == "public")
    ]
    hosted = None if plan is None else plan.hosted_limits
    burst = "" if entry.burst is None else f" burst {entry.burst}"
    return {
        "name": name,
        "key": list(entry.key),
        "rates": [f"{rate}{burst}" for rate in entry.rate or ()],
        "concurrency": entry.concurrency,
        "is_shadow": entry.shadow or settings.limits.shadow,
        "counted_in": "store" if is_shared else "process",
        "store_away": (entry.store_away or settings.limits.store_away) if is_shared else None,
        "from": "route file" if plan is not None and name in plan.limits else "settings",
        "routes": None if plan is None else having,
        "is_hosted": name in names_for(settings, hosted, public=False),
    }


def _figures(now: Mapping[str, int]) -> Row:
    admitted, refused, shadowed, callers = (now.get(one) for one in _FIGURES)
    return {"admitted": admitted, "refused": refused, "shadowed": shadowed, "callers": callers}


def _sign_in(one: Waiting) -> Row:
    kind = "address" if one.address is not None else "unknown" if one.email is None else "e-mail"
    return {
        "kind": f"sign-in, {kind}{' at one address' if one.is_pair else ''}",
        "name": one.email or one.address,
        "used": one.failures,
        "until": one.until,
        "id": one.user_id,
    }


async def _quotas(services: Opened, now: float) -> AsyncIterator[Row]:
    usual = usual_quotas(services.settings)
    for row in await services.administration.list_quotas(None, now) if services.settings.quotas else ():
        most = row.most if row.is_own else usual.get((row.kind, row.period))
        if most is not None and row.used >= most:
            yield {
                "kind": f"quota, {row.kind.words} a {row.period.value}",
                "name": row.name,
                "used": row.used,
                "until": moment(window(row.period, now).ends),
                "id": row.subject,
            }
