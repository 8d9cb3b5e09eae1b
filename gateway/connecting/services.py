"""Connection check of services beside the upstreams: key sets, identity providers, Redis, and collectors.

Law: nothing is changed there. Redis is asked by the very calls that a serving gateway makes, on keys of nobody.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authcore.accounts.sso.providers import OpenIdProvider
from authcore.crypto.jwks_client import JwksClient
from authcore.crypto.key_set_fetch import KeySetFetch
from authcore.errors import SsoNotConfigured, SsoProviderFailed, StoreUnavailable
from gateway.assembly.sso import build_configured, build_outbound
from gateway.connecting.collector import collector
from gateway.connecting.store import opened_once
from gateway.outbound.client import OutboundClient

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

    from authcore.accounts.sso.configured import ConfiguredProviders
    from authcore.accounts.sso.identities import ProviderKind
    from authcore.store.dialled_loop import Dial
    from config.settings import Settings
    from gateway.wire.resolver import Resolver


Check = tuple[str, "Coroutine[Any, Any, list[str]]"]


def service_checks(settings: Settings, resolver: Resolver, dial: Dial) -> Iterator[Check]:
    """Yield the setting and the check of each service that the settings name."""
    if settings.issuer.url is not None:
        yield "GATEWAY_ISSUER_JWKS_URL", _key_set(settings, resolver)
    if settings.sso == "hosted":
        yield "GATEWAY_SSO", _providers(settings, resolver, dial)
    if settings.whatomate.redis_url is not None:
        yield "GATEWAY_WHATOMATE_REDIS_URL", _whatomate_redis(settings, dial)
    if settings.limits.url is not None:
        yield "GATEWAY_LIMITS_URL", _limits_store(settings, dial)
    if settings.trace.endpoint is not None:
        yield "GATEWAY_TRACE_ENDPOINT", collector("traces", "GATEWAY_TRACE_ENDPOINT", settings.trace.endpoint)
    if settings.metrics.endpoint is not None:
        yield (
            "GATEWAY_METRICS_ENDPOINT",
            collector("metrics", "GATEWAY_METRICS_ENDPOINT", settings.metrics.endpoint),
        )


async def _key_set(settings: Settings, resolver: Resolver) -> list[str]:
    issuer = settings.issuer
    url = issuer.jwks_url or ""
    client = OutboundClient(lambda _: True, timeout_seconds=issuer.timeout_seconds, resolver=resolver)
    keys = JwksClient(
        KeySetFetch(client, url, frozenset({urlsplit(url).hostname or ""})),
        algorithms=issuer.algorithms,
        cache_seconds=issuer.cache_seconds,
        cooldown_seconds=issuer.cooldown_seconds,
    )
    await keys.refresh(time.monotonic())
    if not keys.problem:
        return []
    return [
        (
            f"GATEWAY_ISSUER_JWKS_URL: {keys.problem}; the issuer's document "
            "(/.well-known/openid-configuration) has the right URL as jwks_uri"
        )
    ]


async def _providers(settings: Settings, resolver: Resolver, dial: Dial) -> list[str]:
    outbound = build_outbound(settings, resolver)
    if outbound is None:
        return []
    store = await opened_once(settings, settings.database.url, dial)
    try:
        configured = build_configured(settings, store, outbound)
        kinds = await configured.kinds()
        if not kinds:
            return [
                (
                    "GATEWAY_SSO: hosted, and no provider is enabled; enable one in Whatomate (settings, SSO), or set "
                    "GATEWAY_SSO=forwarded"
                )
            ]
        return [line for kind in kinds for line in await _provider(configured, kind)]
    except StoreUnavailable:
        return []  # the check of the database says why
    finally:
        await store.close()


async def _provider(configured: ConfiguredProviders, kind: ProviderKind) -> list[str]:
    try:
        provider = (await configured.of(kind)).provider
        if isinstance(provider, OpenIdProvider):
            await provider.fetch()
    except SsoNotConfigured as error:
        return [
            f"GATEWAY_SSO: provider {kind}: {error.why}; mend it in Whatomate (settings, SSO), or disable it there"
        ]
    except SsoProviderFailed as error:
        return [
            f"GATEWAY_SSO: provider {kind}: {error.why}; docs/sso.md has the settings GATEWAY_PROVIDER_* of it"
        ]
    return []


async def _whatomate_redis(settings: Settings, dial: Dial) -> list[str]:
    from authcore.store.whatomate_redis import WhatomateRedis  # noqa: PLC0415 -- nothing of Redis without its URL

    whatomate = settings.whatomate
    if whatomate.redis_url is None:
        return []
    url = whatomate.redis_url.get_secret_value()
    redis = WhatomateRedis(url, timeout_seconds=whatomate.redis_timeout_seconds, dial=dial)
    try:
        proved = await redis.probe()
    finally:
        await redis.close()
    if proved:
        return []
    return [
        (
            f"GATEWAY_WHATOMATE_REDIS_URL: {redis.trouble or 'it does not run scripts as Redis does'}; check host, "
            "port, password and database, that it is Whatomate's Redis, and that its user may read and write"
        )
    ]


async def _limits_store(settings: Settings, dial: Dial) -> list[str]:
    from authcore.store.whatomate_redis import words_of  # noqa: PLC0415 -- nothing of Redis without its URL
    from gateway.limits.redis_store import RedisStore  # noqa: PLC0415 -- as above

    limits = settings.limits
    if limits.url is None:
        return []
    store = RedisStore(limits.url.get_secret_value(), timeout_seconds=limits.timeout_seconds, dial=dial)
    try:
        await store.ping()
    except Exception as error:  # noqa: BLE001 -- also whatever the library makes of a server that is no Redis
        return [
            (
                f"GATEWAY_LIMITS_URL: {words_of(error)}; check host, port, password and database, that its user may "
                "run scripts and write, and GATEWAY_LIMITS_TIMEOUT_SECONDS"
            )
        ]
    finally:
        await store.close()
    return []
