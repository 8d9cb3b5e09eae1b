"""Key sets: when one is fetched, stored and given up, by a clock that the test moves."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from whatomate_identity import IdentityRejected, KeySet, KeysUnavailable, PublicKeys, SharedSecrets, Verifier
from whatomate_identity.testing import SigningGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

START = 1_800_000_000.0
OLD, NEW = SigningGateway(audience="billing"), SigningGateway(audience="billing")


class Service:
    """A service with a key set, what the gateway publishes, and the time."""

    def __init__(self, *published: SigningGateway) -> None:
        self.published: tuple[SigningGateway, ...] = published
        self.answers: bytes | None = None
        self.is_reachable = True
        self.fetches = 0
        self.now = START
        keys = KeySet("http://gateway/.well-known/identity-jwks.json", fetch=self._fetch)
        self._verifier = Verifier(keys, audience="billing", clock=lambda: self.now)

    def _fetch(self) -> bytes:
        self.fetches += 1
        if not self.is_reachable:
            raise ConnectionRefusedError("nobody listens")
        if self.answers is not None:
            return self.answers
        return json.dumps({"keys": [key for one in self.published for key in one.jwks()["keys"]]}).encode()

    def outcome(self, by: SigningGateway) -> str:
        """Return ``taken``, the reason of a refusal, or ``unavailable``."""
        headers = by.headers("GET", "/bills", now=self.now).items()
        try:
            self._verifier.verify(
                "GET", b"/bills", [(name.encode(), value.encode()) for name, value in headers]
            )
        except IdentityRejected as error:
            return error.reason
        except KeysUnavailable as error:
            return "unavailable" if "gateway" in str(error) else str(error)
        return "taken"


def test_a_key_set_is_fetched_once_and_kept() -> None:
    service = Service(OLD)
    assert service.fetches == 0
    for _ in range(5):
        assert service.outcome(OLD) == "taken"
        service.now += 50
    assert service.fetches == 1
    service.now = START + 300
    assert service.outcome(OLD) == "taken"
    assert service.fetches == 2


def test_a_key_that_is_new_is_found_by_the_first_token_that_names_it() -> None:
    service = Service(OLD)
    assert service.outcome(OLD) == "taken"
    service.published = (OLD, NEW)
    service.now += 30
    assert service.outcome(NEW) == "taken"
    assert service.outcome(OLD) == "taken"
    assert service.fetches == 2


def test_unknown_keys_cause_a_fetch_in_ten_seconds_and_not_more() -> None:
    service = Service(OLD)
    assert service.outcome(OLD) == "taken"
    service.now += 20
    for _ in range(20):
        assert service.outcome(SigningGateway(audience="billing")) == "key"
        assert service.outcome(OLD) == "taken"
        service.now += 1
    assert service.fetches == 3


def test_a_key_that_the_gateway_has_taken_back_is_refused_within_five_minutes() -> None:
    service = Service(OLD, NEW)
    assert service.outcome(OLD) == "taken"
    service.published = (NEW,)
    service.now += 299
    assert service.outcome(OLD) == "taken"
    service.now += 1
    assert service.outcome(OLD) == "key"
    assert service.outcome(NEW) == "taken"


def test_while_the_gateway_cannot_be_reached_known_keys_serve_for_an_hour_and_unknown_ones_are_no_refusal() -> (
    None
):
    service = Service(OLD)
    assert service.outcome(OLD) == "taken"
    service.is_reachable = False
    for later in (301, 600, 3_599):
        service.now = START + later
        assert service.outcome(OLD) == "taken"
        assert service.outcome(NEW) == "unavailable"
    service.now = START + 3_600
    assert service.outcome(OLD) == "unavailable"
    service.is_reachable = True
    service.now += 10
    assert service.outcome(OLD) == "taken"


def test_a_service_that_never_had_the_keys_refuses_nobody() -> None:
    service = Service(OLD)
    service.is_reachable = False
    assert service.outcome(OLD) == "unavailable"
    assert service.outcome(OLD) == "unavailable"
    assert service.fetches == 1
    service.is_reachable, service.now = True, START + 10
    assert service.outcome(OLD) == "taken"


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"[]", b"{}", b'{"keys": 1}', b"[" * 100_000, b" " * 200_000]
)
def test_what_is_no_key_set_leaves_the_one_before(answer: bytes) -> None:
    service = Service(OLD)
    assert service.outcome(OLD) == "taken"
    service.answers, service.now = answer, START + 300
    assert service.outcome(OLD) == "taken"
    assert service.outcome(NEW) == "unavailable"


def test_a_set_without_keys_is_a_set() -> None:
    service = Service()
    assert service.outcome(OLD) == "key"


def test_a_clock_that_goes_back_does_not_keep_keys_for_ever() -> None:
    service = Service(OLD)
    assert service.outcome(OLD) == "taken"
    service.now -= 86_400
    service.published = (NEW,)
    assert service.outcome(OLD) == "key"


def test_threads_share_one_fetch() -> None:
    service = Service(OLD)
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(service.outcome(OLD))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == ["taken"] * 8
    assert service.fetches == 1


# -- over a socket ------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Publishes the key at /keys, byte by byte at /slow, sends on from /moved, fails at /broken."""

    def do_GET(self) -> None:
        status = {"/keys": 200, "/slow": 200, "/moved": 302}.get(self.path, 500)
        body = json.dumps(OLD.jwks()).encode()
        self.send_response(status)
        self.send_header("Location", "/keys")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        pieces = [body[at : at + 1] for at in range(len(body))] if self.path == "/slow" else [body]
        with suppress(OSError):  # the client has left
            for piece in pieces:
                self.wfile.write(piece)
                time.sleep(0.02 if len(pieces) > 1 else 0)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join(30)


def test_a_key_set_is_fetched_from_its_url_and_from_nowhere_else(url: str) -> None:
    assert len(KeySet(f"{url}/keys").find(OLD.kid, time.time())) == 1
    for path in ("/moved", "/broken"):
        with pytest.raises(KeysUnavailable, match=path):
            KeySet(url + path).find(OLD.kid, time.time())


def test_a_key_set_that_comes_byte_by_byte_is_given_up_when_its_time_is_over(url: str) -> None:
    with pytest.raises(KeysUnavailable, match=r"/slow: .*(too long|timed out)"):
        KeySet(f"{url}/slow", timeout_seconds=0.2).find(OLD.kid, time.time())


def test_what_cannot_be_keys_is_refused_at_the_start() -> None:
    for wrong in ("file:///etc/passwd", "gateway:8080", ""):
        with pytest.raises(ValueError, match="http"):
            KeySet(wrong)
    for make, argument in (
        (PublicKeys, []),
        (PublicKeys, ["nonsense"]),
        (SharedSecrets, []),
        (SharedSecrets, ["short"]),
        (SharedSecrets, [OLD.public_key]),
    ):
        with pytest.raises(ValueError, match=r"."):
            make(argument)
