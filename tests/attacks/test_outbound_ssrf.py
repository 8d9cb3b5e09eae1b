"""Attack: a URL that an administrator of one organization writes makes the gateway ask servers inside the cluster."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from authcore.outbound import OutboundFailed, OutboundOutcome, OutboundRequest
from gateway.outbound.addresses import AddressPolicy
from gateway.outbound.client import OutboundClient
from gateway.wire.dns_client import Lookup
from gateway.wire.resolver import Resolver, ResolverLimits

if TYPE_CHECKING:
    from gateway.wire.dns_client import LookupFailed
    from tests.support.peers import Upstream

PROVIDER = "login.provider.test"
SECONDS = 10


class Names:
    """Name servers under the attacker's control, and the events of a resolver that asks them."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)

    async def look_up(self, _: str) -> Lookup:
        return Lookup(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0], 0)

    def changed(self, name: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Note nothing."""

    def failed(self, name: str, error: LookupFailed, used: tuple[str, ...]) -> None:
        """Note nothing."""

    def recovered(self, name: str) -> None:
        """Note nothing."""

    def client(self, *private: str) -> OutboundClient:
        limits = ResolverLimits(fewest_seconds=0, most_seconds=0)
        return OutboundClient(
            AddressPolicy(map(IPv4Network, private)).permits,
            timeout_seconds=SECONDS,
            resolver=Resolver(self.look_up, limits, self),
        )


async def refusal(client: OutboundClient, url: str, *hosts: str) -> OutboundOutcome:
    with pytest.raises(OutboundFailed) as caught:
        async with asyncio.timeout(3 * SECONDS):
            await client.send(OutboundRequest(url=url, hosts=frozenset(hosts or {PROVIDER})))
    return caught.value.outcome


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.96.0.1", "169.254.169.254", "fe80::1"]
)
async def test_a_name_that_leads_inside_is_not_connected_to(upstream: Upstream, address: str) -> None:
    client = Names((address,)).client()
    assert await refusal(client, f"https://{PROVIDER}:{upstream.port}/token") is OutboundOutcome.ADDRESS
    assert upstream.raw == []
    assert client.outcomes["address"] == 1


async def test_a_name_that_moves_inside_between_two_requests_is_refused_then(upstream: Upstream) -> None:
    client = Names(("192.0.2.1", "127.0.0.1"), ("127.0.0.1",)).client("192.0.2.0/24")
    url = f"https://{PROVIDER}:{upstream.port}/"
    await refusal(client, url)  # nobody is at the first address, and the second is none to go to
    assert await refusal(client, url) is OutboundOutcome.ADDRESS
    assert upstream.raw == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "localhost"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_address_that_is_written_into_the_url_is_refused(
    upstream: Upstream, host: str, scheme: str
) -> None:
    client = Names(("127.0.0.1",)).client()
    hosts = (host.strip("[]"), "::ffff:127.0.0.1", "127.0.0.1")
    outcome = await refusal(client, f"{scheme}://{host}:{upstream.port}/", *hosts)
    assert outcome in {OutboundOutcome.ADDRESS, OutboundOutcome.HOST, OutboundOutcome.FAILED}
    assert upstream.raw == []


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.test/token",
        f"https://{PROVIDER}.elsewhere.test/",
        f"https://{PROVIDER}@elsewhere.test/",
        f"https://user:secret@{PROVIDER}/",
        f"https://elsewhere.test#{PROVIDER}",
        f"https://elsewhere.test\\@{PROVIDER}/",
        f"http://{PROVIDER}/token",
        f"ftp://{PROVIDER}/",
        f"file://{PROVIDER}/etc/passwd",
        "unix:///run/postgresql/.s.PGSQL.5432",
        f"//{PROVIDER}/",
        f"{PROVIDER}/token",
        "",
        f"https://{PROVIDER}:0/",
        f"https://{PROVIDER}:99999/",
        f"https://{PROVIDER}/#fragment",
        "https:///token",
    ],
)
async def test_a_url_that_leads_to_no_host_of_the_provider_is_not_asked(url: str) -> None:
    client = Names(("127.0.0.1",)).client("127.0.0.0/8")
    assert await refusal(client, url) is OutboundOutcome.HOST


async def test_a_network_that_a_setting_names_is_connected_to(upstream: Upstream) -> None:
    client = Names(("127.0.0.1",)).client("127.0.0.0/8")
    url = f"http://localhost:{upstream.port}/"
    response = await client.send(OutboundRequest(url=url, hosts=frozenset({"localhost"})))
    assert response.status == 200
    assert len(upstream.requests) == 1
