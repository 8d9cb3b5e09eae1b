"""Connection check: everything that the settings name is connected to, and each finding says what to do.

Laws:

- Nothing is changed, and no secret is printed.
- All connections are tried at the same time, each for a bounded time; one that fails hides no other.
- Names are looked up as a serving gateway does.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.assembly.dialling import resolving
from gateway.connecting.services import service_checks
from gateway.connecting.store import further_seconds
from gateway.connecting.upstreams import upstream_checks
from gateway.wire.dialler import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from authcore.store.dialled_loop import Dial
    from config.route_plan import RoutePlan
    from config.settings import Settings

LONGEST_SECONDS: Final = 15.0
"""A check that is not done by then is a finding, whatever deadlines it has of its own. The hosts of a database URL
behind the first one have their time besides."""


async def connection_findings(
    settings: Settings,
    plan: RoutePlan | None,
    database: Callable[[Settings, Dial], Coroutine[Any, Any, list[str]]],
    longest_seconds: float = LONGEST_SECONDS,
) -> list[str]:
    """Return the problems of the services around the gateway, each as ``SETTING: what; what to do``.

    `database` checks the database, with a dialler of its connections.
    """
    with resolving(settings) as resolver:
        dial = partial(connect, resolver)
        checks: list[tuple[str, Coroutine[Any, Any, list[str]]]] = [
            *upstream_checks(settings, plan, resolver),
            *service_checks(settings, resolver, dial),
        ]
        further = further_seconds(settings)
        found = await asyncio.gather(
            _bounded("GATEWAY_DATABASE_URL", database(settings, dial), longest_seconds + further),
            *(_bounded(name, check, longest_seconds) for name, check in checks),
        )
    return list(dict.fromkeys(line for lines in found for line in lines))


async def _bounded(name: str, check: Coroutine[Any, Any, list[str]], seconds: float) -> list[str]:
    try:
        async with asyncio.timeout(seconds):
            return await check
    except TimeoutError:
        return [f"{name}: no answer within {seconds:g} s; check host, port, and firewalls on the way"]
    except Exception as error:  # noqa: BLE001 -- one check that fails hides no other; a text may hold a URL with a password
        return [
            f"{name}: cannot be tried ({type(error).__name__}); check its form, and report this as a defect"
        ]
