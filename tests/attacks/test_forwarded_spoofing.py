"""Spoofed forwarding fields: a client claims another origin for its request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, get

if TYPE_CHECKING:
    from tests.support.peers import Client, Message, Upstream
    from tests.support.worlds import Start


SPOOF = (
    *(
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.test",
        "X-Request-ID: evil-evil-1",
    ),
    *(
        "Forwarded: for=6.6.6.6;host=evil.test",
        "X-Real-IP: 6.6.6.6",
        "True-Client-IP: 6.6.6.6",
        "X-Client-IP: 6.6.6.6",
    ),
    *(
        "X-Forwarded-Port: evil",
        "X-Forwarded-Server: evil.test",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Uri: /evil",
    ),
    *(
        "X_Forwarded_For: 6.6.6.6",
        "x.forwarded.host: evil.test",
        "X-FORWARDED-SSL: evil",
        "X-Cluster-Client-IP: 6.6.6.6",
    ),
    *("X_Request_ID: evil-evil-2", "X_Real_IP: 6.6.6.6"),
    *(  # what scripts read when they look for the client's address
        "Client-IP: 6.6.6.6",
        "Client_IP: 6.6.6.6",
        "Cluster-Client-IP: 6.6.6.6",
        "Forwarded-For: 6.6.6.6",
        "X-Forwarded: for=6.6.6.6",
    ),
    *(
        "X-Originating-IP: 6.6.6.6",
        "X-ProxyUser-IP: 6.6.6.6",
        "X-Remote-Addr: 6.6.6.6",
        "X-Remote-IP: 6.6.6.6",
    ),
    "Proxy: http://evil.test",  # CGI makes HTTP_PROXY of it, which HTTP clients obey (CVE-2016-5385)
)


def told(message: Message) -> dict[str, str | None]:
    return {
        name: message.one(name)
        for name in ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host")
    }


OURS = {
    "X-Forwarded-For": "127.0.0.1",
    "X-Real-IP": "127.0.0.1",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "gateway.test",
}


async def test_a_peer_that_is_not_trusted_tells_nothing(client: Client, upstream: Upstream) -> None:
    answer = await client.exchange(get("/health", *SPOOF))
    assert answer.status == 200
    assert b"evil" not in upstream.seen.lower()
    assert b"6.6.6.6" not in upstream.seen
    assert told(upstream.requests[0]) == OURS
    assert upstream.requests[0].one("X-Request-ID") == answer.one("X-Request-ID")


async def test_nobody_is_trusted_by_default(start: Start, upstream: Upstream) -> None:
    for groups in ({}, {"trusted_proxies": ()}, {"trusted_proxies": ["10.0.0.0/8", "::1/128"]}):
        await ask(await start(**groups), get("/health", *SPOOF))
        assert told(upstream.requests[-1]) == OURS


async def test_what_a_trusted_proxy_says_is_passed_on_in_one_spelling(
    start: Start, upstream: Upstream
) -> None:
    gate = await start(trusted_proxies=["127.0.0.0/8"])
    answer = await ask(
        gate,
        get(
            "/health",
            *(
                "X-Forwarded-For: 203.0.113.7",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: app.example.com",
            ),
            *(
                "X-Request-ID: trace-0001",
                "X_Forwarded_For: 6.6.6.6",
                "Forwarded: for=6.6.6.6",
                "X-Real-IP: 6.6.6.6",
            ),
        ),
    )
    assert told(upstream.requests[0]) == {
        "X-Forwarded-For": "203.0.113.7, 127.0.0.1",
        "X-Real-IP": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "app.example.com",
    }
    assert b"6.6.6.6" not in upstream.seen
    assert upstream.requests[0].one("X-Request-ID") == answer.one("X-Request-ID") == "trace-0001"


@pytest.mark.parametrize(
    ("lines", "hops"),
    [
        (("6.6.6.6, 203.0.113.7",), "203.0.113.7, 127.0.0.1"),  # left of the first untrusted hop is hearsay
        (("6.6.6.6", "203.0.113.7"), "203.0.113.7, 127.0.0.1"),
        (("6.6.6.6, 203.0.113.7, 127.0.0.5, 127.0.0.6",), "203.0.113.7, 127.0.0.5, 127.0.0.6, 127.0.0.1"),
        (("127.0.0.4, 127.0.0.5",), "127.0.0.4, 127.0.0.5, 127.0.0.1"),
        (("6.6.6.6, nonsense, 127.0.0.5",), "127.0.0.5, 127.0.0.1"),
        (("6.6.6.6, ",), "6.6.6.6, 127.0.0.1"),  # an empty element is none (RFC 9110 section 5.6.1)
        (("6.6.6.6, 203.0.113.7:51234",), "203.0.113.7, 127.0.0.1"),
        (("6.6.6.6, [2001:db8::7]:443, 127.0.0.5:80",), "2001:db8::7, 127.0.0.5, 127.0.0.1"),
        (("",), "127.0.0.1"),
        (("unknown",), "127.0.0.1"),
        (("2001:DB8:0::7",), "2001:db8::7, 127.0.0.1"),
        (("6.6.6.6, ::ffff:127.0.0.9",), "6.6.6.6, 127.0.0.9, 127.0.0.1"),
    ],
)
async def test_the_client_is_the_last_hop_that_nobody_trusts(
    start: Start, upstream: Upstream, lines: tuple[str, ...], hops: str
) -> None:
    gate = await start(trusted_proxies=["127.0.0.0/8"])
    await ask(gate, get("/health", *(f"X-Forwarded-For: {line}" for line in lines)))
    assert upstream.requests[0].one("X-Forwarded-For") == hops
    assert upstream.requests[0].one("X-Real-IP") == hops.split(", ", maxsplit=1)[0]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "X-Forwarded-Proto: javascript",
            "X-Forwarded-Proto: https http",
            "X-Forwarded-Host: a b",
            "X-Forwarded-Host: a/b",
        ),
        *("X-Forwarded-Host: a@b", "X-Forwarded-Host: <script>", "X-Forwarded-Host:", "X-Request-ID: short"),
        *(
            f"X-Request-ID: {'x' * 129}",
            "X-Request-ID: has space",
            'X-Request-ID: "quoted-id"',
            "X-Request-ID: a;b=cdefg",
        ),
    ],
)
async def test_even_a_trusted_proxy_tells_no_nonsense(start: Start, upstream: Upstream, line: str) -> None:
    gate = await start(trusted_proxies=["127.0.0.0/8"])
    answer = await ask(gate, get("/health", line))
    assert told(upstream.requests[0]) == OURS
    name, _, value = line.partition(": ")
    assert upstream.requests[0].one(name) != value
    assert answer.one("X-Request-ID") == upstream.requests[0].one("X-Request-ID")


async def test_a_thousand_hops_are_not_a_thousand_lookups(start: Start, upstream: Upstream) -> None:
    gate = await start(trusted_proxies=["127.0.0.0/8"])
    await ask(gate, get("/health", "X-Forwarded-For: " + ", ".join(["127.0.0.2"] * 2000)))
    assert len((upstream.requests[0].one("X-Forwarded-For") or "").split(", ")) <= 33


async def test_what_a_client_wrote_before_its_proxy_added_to_it_is_not_believed(
    start: Start, upstream: Upstream
) -> None:
    """Each list, and Forwarded, is read from the right; what the client wrote stands on the left."""
    gate = await start(trusted_proxies=["127.0.0.0/8"])
    await ask(
        gate,
        get(
            "/health",
            *("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https, http"),
            *("X-Forwarded-Host: evil.test", "X-Forwarded-Host: app.test", "Forwarded: for=6.6.6.6"),
        ),
    )
    believed = {**OURS, "X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Real-IP": "203.0.113.7"}
    assert told(upstream.requests[0]) == {**believed, "X-Forwarded-Host": "app.test"}
    for wrote in (
        "for=6.6.6.6;host=evil.test",
        'for="6.6.6.6',
        "evil, for",
        'for=6.6.6.6;x="',
        "for=a;for=b",
    ):
        await ask(gate, get("/health", f"Forwarded: {wrote}, for=203.0.113.7;host=app.test"))
        assert told(upstream.requests[-1]) == {**believed, "X-Forwarded-Host": "app.test"}, wrote


async def test_two_request_ids_are_none(start: Start, upstream: Upstream) -> None:
    gate = await start(trusted_proxies=["127.0.0.0/8"])
    await ask(gate, get("/health", "X-Request-ID: first-first", "X-Request-ID: second-second"))
    assert b"first-first" not in upstream.seen


async def test_no_two_requests_share_an_id(client: Client, upstream: Upstream) -> None:
    for _ in range(20):
        await client.exchange(get("/health"))
    ids = {told.one("X-Request-ID") for told in upstream.requests}
    assert len(ids) == 20
    assert all(one and len(one) >= 16 for one in ids)
