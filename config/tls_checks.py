"""Checks of TLS settings: files that lack or cannot be read, and words that contradict each other.

Laws are those of :mod:`config.checks`. A file that loads and may still not be what was meant is a doubt, not a problem.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from config.certificates import Certificate, FileUnusable, check_authorities, check_key, read_certificate
from config.groups.tls import TlsEntry
from config.listener_checks import collide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from config.route_plan import RoutePlan
    from config.settings import Settings

DAY_SECONDS: Final = 86_400.0
EXPIRY_DAYS: Final = 14
"""A certificate that ends within these days is a doubt."""


def upstream_tls(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the problems of TLS towards the service at GATEWAY_UPSTREAM_URL."""
    url, entry = settings.upstream.url, settings.upstream.tls
    if url is not None:
        for key, problem in entry_problems(entry, (url,)):
            yield f"GATEWAY_UPSTREAM_TLS_{key.upper()}", problem


def listener_tls(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the problems of TLS for clients."""
    tls = settings.tls
    if len(tls.cert_file) != len(tls.key_file):
        yield (
            "GATEWAY_TLS_KEY_FILE",
            (
                f"names {len(tls.key_file)} files, and GATEWAY_TLS_CERT_FILE {len(tls.cert_file)}; each certificate "
                "has its key, in the same order"
            ),
        )
        return
    for cert_file, key_file in zip(tls.cert_file, tls.key_file, strict=True):
        for key, problem in pair_problems("", cert_file, key_file):
            yield f"GATEWAY_TLS_{key.upper()}", problem
    if not tls.cert_file:
        if tls.client_auth != "off":
            yield "GATEWAY_TLS_CLIENT_AUTH", f"{tls.client_auth} needs TLS: set GATEWAY_TLS_CERT_FILE"
        return
    if tls.client_auth == "off":
        return
    if tls.client_ca_file is None:
        yield "GATEWAY_TLS_CLIENT_CA_FILE", f"required with GATEWAY_TLS_CLIENT_AUTH={tls.client_auth}"
    else:
        yield from authority_problems("GATEWAY_TLS_CLIENT_CA_FILE", tls.client_ca_file)


def admin_tls(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the problems of TLS of the admin listener."""
    admin = settings.admin
    for key, problem in pair_problems("tls_", admin.tls_cert_file, admin.tls_key_file):
        yield f"GATEWAY_ADMIN_{key.upper()}", problem


def redirect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the problems of the port that redirects to TLS."""
    listen = settings.tls.redirect_listen
    if listen is None:
        return
    if not settings.tls.cert_file:
        yield "GATEWAY_TLS_REDIRECT_LISTEN", "leads to TLS, and there is none: set GATEWAY_TLS_CERT_FILE"
    for name, others in (
        ("GATEWAY_LISTEN", settings.listen),
        ("GATEWAY_ADMIN_LISTEN", (settings.admin.listen,)),
    ):
        if any(collide(listen, other) for other in others):
            yield "GATEWAY_TLS_REDIRECT_LISTEN", f"{listen} is taken by {name}"


def entry_problems(entry: TlsEntry | None, urls: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for each problem of one upstream's TLS."""
    if entry is None:
        return
    written = [key for key, field in TlsEntry.model_fields.items() if getattr(entry, key) != field.default]
    if written and not any(url.startswith("https://") for url in urls):
        yield written[0], "has no effect: no URL of the upstream begins with https://"
        return
    if entry.verify == "insecure" and entry.ca_file is not None:
        yield "verify", "insecure checks no certificate, and a CA file says whose to accept; keep one of them"
    if entry.ca_file is not None:
        yield from authority_problems("ca_file", entry.ca_file)
    yield from pair_problems("", entry.cert_file, entry.key_file)


def pair_problems(prefix: str, cert_file: str | None, key_file: str | None) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for a certificate file and its key file; keys begin with `prefix`."""
    if cert_file is None and key_file is None:
        return
    if cert_file is None or key_file is None:
        lacks, there = ("key_file", "cert_file") if key_file is None else ("cert_file", "key_file")
        yield f"{prefix}{lacks}", f"required with {there}: a certificate is used with its key"
        return
    certificate: Certificate | None = None
    try:
        certificate = read_certificate(Path(cert_file))
    except FileUnusable as error:
        yield f"{prefix}cert_file", str(error)
    try:
        check_key(Path(key_file), certificate)
    except FileUnusable as error:
        yield f"{prefix}key_file", str(error)


def tls_doubts(settings: Settings, plan: RoutePlan | None, now: float) -> Iterator[str]:
    """Yield each doubt about certificates and their checks, at the POSIX time `now`."""
    if settings.admin.tls_cert_file is not None:
        for doubt in certificate_doubts(settings.admin.tls_cert_file, now):
            yield f"GATEWAY_ADMIN_TLS_CERT_FILE: {doubt}"
    for cert_file in settings.tls.cert_file:
        yield from (f"GATEWAY_TLS_CERT_FILE: {doubt}" for doubt in certificate_doubts(cert_file, now))
    if settings.tls.client_ca_file is not None and settings.tls.client_auth == "off":
        yield "GATEWAY_TLS_CLIENT_CA_FILE: has no effect while GATEWAY_TLS_CLIENT_AUTH is off"
    if settings.upstream.url is not None:
        yield from entry_doubts("GATEWAY_UPSTREAM_TLS", settings.upstream.tls, now)
    for name, upstream in () if plan is None else plan.upstreams.items():
        yield from entry_doubts(f"upstream {name}", upstream.tls, now)


def entry_doubts(source: str, entry: TlsEntry | None, now: float) -> Iterator[str]:
    """Yield each doubt about TLS terms, named `source` in the texts, at the POSIX time `now`."""
    if entry is None:
        return
    if entry.verify == "insecure":
        yield (
            f"{source}: TLS is insecure: anybody between here and there can read and change what is sent; "
            "name its authority in a CA file"
        )
    if entry.cert_file is not None:
        yield from (f"{source}: {doubt}" for doubt in certificate_doubts(entry.cert_file, now))


def certificate_doubts(cert_file: str, now: float) -> Iterator[str]:
    """Yield a doubt if a certificate is not valid at the POSIX time `now`, or not for much longer."""
    try:
        certificate = read_certificate(Path(cert_file))
    except FileUnusable:
        return  # a problem already
    left = certificate.expires - now
    if left <= 0:
        yield f"the certificate in {cert_file} has expired"
    elif left < EXPIRY_DAYS * DAY_SECONDS:
        yield f"the certificate in {cert_file} expires within {int(left // DAY_SECONDS) + 1} days"
    if certificate.begins > now:
        yield f"the certificate in {cert_file} is not valid yet"


def authority_problems(key: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) if the file of accepted authorities cannot be used."""
    try:
        check_authorities(Path(path))
    except FileUnusable as error:
        yield key, str(error)
