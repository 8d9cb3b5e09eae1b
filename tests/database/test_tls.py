"""TLS to PostgreSQL as the URL asks for it: who is verified, who is refused, and in what words."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from authcore.errors import StoreUnavailable
from authcore.store.failures import Kind, classify
from authcore.store.migrate import migrate, pending
from tests.authcore.conftest import open_store
from tests.database.servers import own, pgbouncer
from tests.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Secured(NamedTuple):
    """A pooler with a certificate before PostgreSQL (whose embedded build has no TLS), and where things are."""

    folder: Path
    port: int

    def url(self, query: str) -> str:
        return f"postgresql://gateway@localhost:{self.port}/{query}"


def certify(folder: Path, name: str, subject: str, authority: str | None = None) -> None:
    """Make a key and a certificate for a subject, signed by itself or by an authority made before."""
    command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={subject}", "-addext", f"subjectAltName=DNS:{subject}"]
    command += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    if authority is not None:
        command += ["-CA", str(folder / f"{authority}.crt"), "-CAkey", str(folder / f"{authority}.key")]
        command += ["-addext", "basicConstraints=critical,CA:false"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    certify(folder, "authority", "An authority")
    certify(folder, "other", "Another authority")
    certify(folder, "server", "localhost", "authority")
    certify(folder, "client", "gateway", "authority")
    return folder


@pytest.fixture(params=["require", "verify-full"])
def secured(
    request: pytest.FixtureRequest, folder: Path, certificates: Path, database_url: str
) -> Iterator[Secured]:
    """The second wants a certificate of its clients."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name in ("server.key", "server.crt", "authority.crt"):
        copy = folder / name
        copy.write_bytes((certificates / name).read_bytes())
        copy.chmod(0o600)
        own(copy)
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "client_tls_sslmode": request.param,
        "client_tls_key_file": folder / "server.key",
        "client_tls_cert_file": folder / "server.crt",
        "client_tls_ca_file": folder / "authority.crt",
    }
    parts = urlsplit(database_url)
    with pgbouncer(folder / "b", parse_qs(parts.query)["host"][0], **settings):
        yield Secured(certificates, port)


async def failure_of(url: str) -> Kind | None:
    store = await open_store(url)
    try:
        await store.ping()
    except StoreUnavailable as outage:
        return classify(outage.__cause__).kind
    finally:
        await store.close()
    return None


def shown(secured: Secured, database_url: str, mode: str, authority: str = "authority") -> str:
    """The URL of a client that verifies by an authority, and shows a certificate."""
    folder = secured.folder
    query = f"sslmode={mode}&sslrootcert={folder}/{authority}.crt"
    query += f"&sslcert={folder}/client.crt&sslkey={folder}/client.key"
    return secured.url(f"{urlsplit(database_url).path[1:]}?{query}")


async def test_a_server_is_verified_by_the_authority_that_the_url_names(
    secured: Secured, database_url: str
) -> None:
    for mode in ("verify-full", "verify-ca"):
        assert await failure_of(shown(secured, database_url, mode)) is None
        assert await failure_of(shown(secured, database_url, mode, "other")) is Kind.TLS


async def test_without_tls_where_it_is_demanded_the_cause_is_named(
    secured: Secured, database_url: str
) -> None:
    url = secured.url(f"{urlsplit(database_url).path[1:]}?sslmode=disable")
    assert await failure_of(url) is Kind.TLS


async def test_migrations_go_over_tls_and_show_the_same_certificate(
    secured: Secured, database_url: str
) -> None:
    url = shown(secured, database_url, "verify-full")
    assert await migrate(url)
    assert await pending(url) == []


@pytest.mark.parametrize("secured", ["verify-full"], indirect=True)
async def test_a_client_without_a_certificate_is_refused_where_one_is_wanted(
    secured: Secured, database_url: str
) -> None:
    url = secured.url(f"{urlsplit(database_url).path[1:]}?sslmode=require")
    assert await failure_of(url) in {Kind.TLS, Kind.LOST}
