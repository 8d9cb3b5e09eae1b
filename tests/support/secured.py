"""A gateway with TLS, and what tests of it share."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from tests.support.peers import PATIENCE, in_time

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.certificates import Pair
    from tests.support.peers import Client

GET = b"GET / HTTP/1.1\r\nHost: gateway.example\r\n\r\n"


def listener_of(*pairs: Pair, **more: Any) -> dict[str, Any]:
    """Settings of a listener with certificates."""
    return {
        "cert_file": tuple(str(pair.certificate) for pair in pairs),
        "key_file": tuple(str(pair.key) for pair in pairs),
        **more,
    }


def counted(gateway: Gateway, name: str, **labels: str) -> float:
    """A sample of the gateway's metrics; 0 if there is none."""
    return gateway.metrics.registry.get_sample_value(name, labels) or 0.0


async def until_failed(gateway: Gateway, reason: str, times: int = 1) -> None:
    """Wait until so many handshakes have failed by `reason`."""
    async with asyncio.timeout(PATIENCE):
        while counted(gateway, "gateway_tls_handshake_failures_total", reason=reason) < times:
            await asyncio.sleep(0.01)
    assert counted(gateway, "gateway_tls_handshake_failures_total", reason=reason) == times


class RawTls:
    """A TLS client whose records can be changed on their way."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.secured = context.wrap_bio(self.incoming, self.outgoing, server_hostname="gateway.example")

    async def shake_hands(self, client: Client) -> None:
        """Go through the handshake on a connection that does not speak TLS by itself."""
        while True:
            try:
                self.secured.do_handshake()
            except ssl.SSLWantReadError:
                await client.send(self.outgoing.read())
                self.incoming.write(await in_time(client.reader.read(65_536)))
            else:
                await client.send(self.outgoing.read())
                return

    def record(self, raw: bytes) -> bytes:
        """Return the record with these bytes."""
        self.secured.write(raw)
        return self.outgoing.read()
