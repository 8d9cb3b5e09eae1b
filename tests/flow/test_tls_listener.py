"""TLS for clients: who is spoken to, by which certificate, what upstreams learn, and certificates that are renewed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from cryptography import x509

from tests.support.certificates import Authority, Pair
from tests.support.peers import PATIENCE, Client, UnixClient, read_head
from tests.support.processes import eventually
from tests.support.secured import GET, RawTls, counted, listener_of, until_failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start

SUBJECT, SANS = "X-Auth-Client-Subject", "X-Auth-Client-SANs"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def name_of(client: Client) -> str:
    """The first name in the certificate that the client was given."""
    certificate: dict[str, Any] = client.writer.get_extra_info("ssl_object").getpeercert()
    return str(certificate["subjectAltName"][0][1])


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_requests_come_by_tls_and_upstreams_learn_of_it(
    start: Start, authority: Authority, upstream: Upstream, version: str
) -> None:
    gateway = await start(tls=listener_of(authority.issue("gateway.example")))
    body = b"x" * 300_000
    async with Client(gateway.address, authority.client(highest=version)) as client:
        for _ in range(2):
            raw = b"POST / HTTP/1.1\r\nHost: gateway.example\r\nContent-Length: %d\r\n\r\n" % len(body)
            answer = await client.exchange(raw + body)
            assert answer.json()["body"] == body.decode()
        secured = client.writer.get_extra_info("ssl_object")
        assert secured.version() == f"TLSv{version}"
        assert secured.selected_alpn_protocol() is None
        assert secured.cipher()[0].startswith(("ECDHE-ECDSA-", "TLS_"))
    assert [request.one("X-Forwarded-Proto") for request in upstream.requests] == ["https", "https"]
    assert upstream.requests[0].one(SUBJECT) is None
    assert counted(gateway, "gateway_tls_handshakes_total", resumed="no") == 1


async def test_a_unix_socket_speaks_http_without_tls_and_asks_for_no_certificate(
    start: Start, authority: Authority, upstream: Upstream, tmp_path: Path
) -> None:
    terms = listener_of(
        authority.issue("gateway.example"), client_auth="required", client_ca_file=str(authority.file)
    )
    await start(tls=terms, listen=("127.0.0.1:0", f"unix:{tmp_path / 'g.sock'}"))
    async with UnixClient(tmp_path / "g.sock") as client:
        assert (await client.exchange(GET)).status == 200
    assert upstream.requests[0].one("X-Forwarded-Proto") == "http"
    assert upstream.requests[0].one(SUBJECT) is None


async def test_http_1_1_is_what_alpn_agrees_on(start: Start, authority: Authority) -> None:
    gateway = await start(tls=listener_of(authority.issue("gateway.example")))
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with Client(gateway.address, context) as client:
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_the_name_that_is_asked_for_chooses_the_certificate(start: Start, authority: Authority) -> None:
    first, second = authority.issue("first.example"), authority.issue("second.example", "*.wild.example")
    gateway = await start(tls=listener_of(first, second))
    context = authority.client()
    context.check_hostname = False
    for asked, given in (
        ("first.example", "first.example"),
        ("SECOND.example", "second.example"),
        ("a.wild.example", "second.example"),
        ("b.a.wild.example", "first.example"),
        ("unknown.example", "first.example"),
        ("127.0.0.1", "first.example"),
    ):
        async with Client(gateway.address, context, asked) as client:
            assert name_of(client) == given, asked


@pytest.mark.parametrize(("highest", "lowest", "spoken"), [("1.2", "1.3", False), ("1.3", "1.3", True)])
async def test_a_lower_version_is_refused_by_an_alert(
    start: Start, authority: Authority, highest: str, lowest: str, spoken: bool
) -> None:
    gateway = await start(tls=listener_of(authority.issue("gateway.example"), min_version=lowest))
    context = authority.client(highest=highest)
    if spoken:
        async with Client(gateway.address, context) as client:
            assert (await client.exchange(GET)).status == 200
        return
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await asyncio.wait_for(Client(gateway.address, context).__aenter__(), PATIENCE)
    await until_failed(gateway, "version")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_client_certificate_reaches_the_upstream_and_nobody_can_claim_one(
    start: Start, authority: Authority, upstream: Upstream, version: str
) -> None:
    """A character that could end a line or a name of the list is encoded. A client's claim is dropped."""
    gateway = await start(
        tls=listener_of(
            authority.issue("gateway.example"), client_auth="optional", client_ca_file=str(authority.file)
        )
    )
    ours = authority.issue(
        "a.example", "spiffe://example/ns/a,DNS:admin", "10.0.0.1", subject="Ann\r\nX-User-ID: 1, Büro"
    )
    claims = GET[:-2] + b"x_auth_client_subject: CN=root\r\nX-Auth-Client-SANs: DNS:b\r\n\r\n"
    async with Client(gateway.address, authority.client(ours, highest=version)) as client:
        for _ in range(2):
            assert (await client.exchange(claims)).status == 200
    async with Client(gateway.address, authority.client(highest=version)) as client:
        assert (await client.exchange(claims)).status == 200
    with_one, again, without = upstream.requests
    for request in (with_one, again):
        assert request.one(SUBJECT) == "CN=Ann%0D%0AX-User-ID: 1\\, B%C3%BCro"
        assert request.one(SANS) == "DNS:a.example,URI:spiffe://example/ns/a%2CDNS:admin,IP:10.0.0.1"
    assert without.one(SUBJECT) is None
    assert without.one(SANS) is None
    assert b"root" not in upstream.seen


ODD_NAMES = bytes.fromhex("3009a507a1050c03616263")
"""An ediPartyName (RFC 5280 section 4.2.1.6)."""


async def test_the_owner_of_a_certificate_that_can_be_read_in_part_is_let_in(
    start: Start, authority: Authority, upstream: Upstream
) -> None:
    gateway = await start(
        tls=listener_of(
            authority.issue("gateway.example"), client_auth="required", client_ca_file=str(authority.file)
        )
    )
    for odd, subject in (
        (authority.issue_odd(subject="Björk".encode("latin-1")), None),
        (authority.issue_odd(subject=b"Bjork", names=ODD_NAMES), "CN=Bjork"),
        (authority.issue_twice("ann.example"), "CN=ann.example"),
    ):
        async with Client(gateway.address, authority.client(odd)) as client:
            assert (await client.exchange(GET)).status == 200
        assert upstream.requests[-1].one(SUBJECT) == subject
        assert upstream.requests[-1].one(SANS) is None


async def test_a_certificate_that_the_event_loop_cannot_read_is_counted_as_a_failed_handshake(
    start: Start, authority: Authority
) -> None:
    gateway = await start(
        tls=listener_of(
            authority.issue("gateway.example"), client_auth="required", client_ca_file=str(authority.file)
        )
    )
    odd = authority.issue_odd(names=b"\x30\x03\x82\x01\x80")
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        async with Client(gateway.address, authority.client(odd)) as client:
            await client.exchange(GET)
    await until_failed(gateway, "client_certificate")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_without_the_certificate_that_is_demanded_nothing_is_read(
    start: Start, authority: Authority, upstream: Upstream, tmp_path: Path, version: str
) -> None:
    gateway = await start(
        tls=listener_of(
            authority.issue("gateway.example"), client_auth="required", client_ca_file=str(authority.file)
        )
    )
    folder = tmp_path / "others"
    folder.mkdir()
    foreign = Authority(folder, "other").issue("a.example")
    for pair, reason in ((None, "client_certificate_missing"), (foreign, "client_certificate")):
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with Client(gateway.address, authority.client(pair, highest=version)) as client:
                await client.exchange(GET)
        await until_failed(gateway, reason)
    assert not upstream.requests
    async with Client(
        gateway.address, authority.client(authority.issue("a.example"), highest=version)
    ) as client:
        assert (await client.exchange(GET)).status == 200


async def test_a_resumed_handshake_brings_its_certificate_along(
    start: Start, authority: Authority, upstream: Upstream
) -> None:
    gateway = await start(
        tls=listener_of(
            authority.issue("gateway.example"), client_auth="required", client_ca_file=str(authority.file)
        )
    )
    context = authority.client(authority.issue("a.example"))

    def ask(session: ssl.SSLSession | None) -> ssl.SSLSession:
        with (
            socket.create_connection(gateway.address, PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="gateway.example", session=session) as secured,
        ):
            assert secured.session_reused is (session is not None)
            secured.sendall(GET)
            assert secured.recv(4096).startswith(b"HTTP/1.1 200")
            found = secured.session
            assert found is not None
            return found

    session = await asyncio.to_thread(ask, None)
    await asyncio.to_thread(ask, session)
    assert [request.one(SANS) for request in upstream.requests] == ["DNS:a.example"] * 2
    assert counted(gateway, "gateway_tls_handshakes_total", resumed="yes") == 1


async def test_renewed_certificates_are_taken_without_dropping_a_connection(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    """As Kubernetes does it: a link to a folder is moved, and both files change at once."""
    mount = tmp_path / "mount"
    mount.mkdir()

    def publish(name: str) -> None:
        pair, version = authority.issue(name), mount / f"..{name}"
        version.mkdir()
        pair.certificate.rename(version / "tls.crt")
        pair.key.rename(version / "tls.key")
        fresh = mount / "..fresh"
        fresh.symlink_to(version.name)
        fresh.rename(mount / "..data")

    publish("old.example")
    for file in ("tls.crt", "tls.key"):
        (mount / file).symlink_to(f"..data/{file}")
    gateway = await start(tls=listener_of(Pair(mount / "tls.crt", mount / "tls.key")))
    context = authority.client()
    context.check_hostname = False

    async def given() -> str:
        async with Client(gateway.address, context) as client:
            assert (await client.exchange(GET)).status == 200
            return name_of(client)

    before = _expiry(gateway)
    async with Client(gateway.address, context) as kept:
        assert (await kept.exchange(GET)).status == 200
        publish("new.example")
        async with asyncio.timeout(PATIENCE):
            while await given() != "new.example":
                await asyncio.sleep(0.05)
        assert (await kept.exchange(GET)).status == 200
        assert name_of(kept) == "old.example"
    assert before
    assert _expiry(gateway) >= before


async def test_a_pair_that_does_not_fit_is_never_used(start: Start, authority: Authority) -> None:
    pair, other = authority.issue("old.example"), authority.issue("new.example")
    gateway = await start(tls=listener_of(pair))
    context = authority.client()
    context.check_hostname = False

    async def given() -> str:
        async with Client(gateway.address, context) as client:
            return name_of(client)

    pair.certificate.write_bytes(other.certificate.read_bytes())
    for _ in range(12):
        assert await given() == "old.example"
        await asyncio.sleep(0.1)
    pair.key.unlink()
    assert await given() == "old.example"
    pair.key.write_bytes(other.key.read_bytes())
    async with asyncio.timeout(PATIENCE):
        while await given() != "new.example":
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (
            lambda pair, other: pair.key.write_bytes(other.key.read_bytes()),
            "{key} has another key than the certificate's",
        ),
        (lambda pair, _: pair.key.write_text("nothing"), "{key} has no private key in PEM"),
        (lambda pair, _: pair.key.unlink(), "{key} cannot be read: No such file or directory"),
        (lambda pair, _: pair.certificate.write_text(""), "{certificate} "),
    ],
)
async def test_why_a_new_pair_is_not_taken_is_logged_with_the_file(
    start: Start, authority: Authority, breaks: Callable[[Pair, Pair], object], says: str
) -> None:
    pair = authority.issue("old.example")
    await start(tls=listener_of(pair))
    with structlog.testing.capture_logs() as events:
        breaks(pair, authority.issue("new.example"))

        async def refused() -> bool:
            return any(one["event"] == "certificates_not_taken" for one in events)

        await eventually(refused)
    problem = next(one["problem"] for one in events if one["event"] == "certificates_not_taken")
    assert problem.startswith(says.format(key=pair.key, certificate=pair.certificate))


async def test_a_certificate_in_use_that_has_expired_is_logged_and_not_again_and_again(
    start: Start, authority: Authority
) -> None:
    old = authority.issue("old.example", begins=timedelta(days=-9), ends=timedelta(days=-2))
    ended = x509.load_pem_x509_certificate(old.certificate.read_bytes()).not_valid_after_utc
    good, renewed = authority.issue("good.example"), authority.issue("old.example")
    with structlog.testing.capture_logs() as events:
        await start(tls=listener_of(old, good))

        async def has(event: str) -> bool:
            return any(one["event"] == event for one in events)

        await eventually(lambda: has("certificate_expired"))
        old.certificate.write_bytes(renewed.certificate.read_bytes())
        old.key.write_bytes(renewed.key.read_bytes())
        await eventually(lambda: has("certificates_taken"))
    (event,) = [one for one in events if one["event"] == "certificate_expired"]
    assert (event["log_level"], event["file"]) == ("warning", str(old.certificate))
    assert event["expired_at"] == ended.isoformat()


async def test_a_client_that_stays_is_closed_by_the_drain(start: Start, authority: Authority) -> None:
    gateway = await start(
        tls=listener_of(authority.issue("gateway.example")), timeout={"drain_seconds": PATIENCE}
    )
    async with Client(gateway.address, authority.client()) as client:
        assert (await client.exchange(GET)).status == 200
        stopping = asyncio.create_task(gateway.stop())
        assert await client.closed() == b""
        async with asyncio.timeout(PATIENCE):
            await stopping


async def test_a_refusal_reaches_a_client_that_is_still_sending(start: Start, authority: Authority) -> None:
    gateway = await start(
        tls=listener_of(authority.issue("gateway.example")), protected_paths=("/*",), public_paths=()
    )
    async with Client(gateway.address, authority.client()) as client:
        await client.send(b"POST /api HTTP/1.1\r\nHost: gateway.example\r\nContent-Length: 9000000\r\n\r\n")
        client.writer.write(b"x" * 400_000)
        assert (await read_head(client.reader)).status == 401


async def test_a_proxy_header_comes_before_the_handshake(
    start: Start, authority: Authority, upstream: Upstream
) -> None:
    gateway = await start(
        tls=listener_of(authority.issue("gateway.example")), proxy={"protocol_from": ("127.0.0.0/8",)}
    )
    async with Client(gateway.address) as client:
        for byte in b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n":
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        raw = RawTls(authority.client())
        await raw.shake_hands(client)
        await client.send(raw.record(GET))
        async with asyncio.timeout(PATIENCE):
            while not upstream.requests:
                await asyncio.sleep(0.01)
    assert upstream.requests[0].one("X-Real-IP") == "203.0.113.9"
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        async with Client(gateway.address, authority.client()) as without:
            await without.exchange(GET)
    assert len(upstream.requests) == 1


def _expiry(gateway: Gateway) -> float:
    for family in gateway.metrics.registry.collect():
        if family.name == "gateway_tls_certificate_expiry_timestamp_seconds":
            return family.samples[0].value
    return 0.0
