"""TLS settings that cannot work are refused with the file's name, and those that will not work for long are doubted."""

from __future__ import annotations

import ssl
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from config.certificates import FileUnusable, client_identity, read_certificate
from config.load import ConfigError
from config.route_plan import read_plan
from config.tls_checks import certificate_doubts, tls_doubts
from tests.config.loading import load, problems_of
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

HTTPS = {"GATEWAY_UPSTREAM_URL": "https://app:443"}
TLS = "GATEWAY_UPSTREAM_TLS_"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def one(**settings: str) -> str:
    (problem,) = problems_of({**HTTPS, **settings})
    return problem


def test_a_file_that_cannot_be_used_is_named(authority: Authority, tmp_path: Path) -> None:
    pair, other = authority.issue("a.example"), authority.issue("b.example")
    empty, nowhere = tmp_path / "empty.pem", tmp_path / "nowhere.pem"
    empty.touch()
    assert one(**{f"{TLS}CA_FILE": str(nowhere)}) == (
        f"{TLS}CA_FILE: {nowhere} cannot be read: No such file or directory"
    )
    assert one(**{f"{TLS}CA_FILE": str(empty)}).startswith(f"{TLS}CA_FILE: {empty} has no certificates")
    half = {f"{TLS}CERT_FILE": str(pair.certificate)}
    assert one(**half).startswith(f"{TLS}KEY_FILE: required with cert_file")
    assert one(**{f"{TLS}KEY_FILE": str(pair.key)}).startswith(f"{TLS}CERT_FILE: required with key_file")
    assert one(**half, **{f"{TLS}KEY_FILE": str(other.key)}) == (
        f"{TLS}KEY_FILE: {other.key} has another key than the certificate's"
    )
    assert one(**half, **{f"{TLS}KEY_FILE": str(pair.certificate)}).endswith("has no private key in PEM")
    assert one(**{f"{TLS}CERT_FILE": str(pair.key), f"{TLS}KEY_FILE": str(pair.key)}).endswith(
        "has no certificate in PEM"
    )


def test_a_pair_that_fits_is_accepted(authority: Authority) -> None:
    pair = authority.issue("a.example")
    settings = load(
        {
            **HTTPS,
            f"{TLS}CA_FILE": str(authority.file),
            f"{TLS}CERT_FILE": str(pair.certificate),
            f"{TLS}KEY_FILE": str(pair.key),
            f"{TLS}MIN_VERSION": "1.3",
        }
    )
    assert settings.upstream.tls.min_version == "1.3"
    assert list(tls_doubts(settings, None, time.time())) == []


def test_settings_of_tls_without_https_are_refused() -> None:
    (problem,) = problems_of({f"{TLS}VERIFY": "insecure"})
    assert problem.startswith(f"{TLS}VERIFY: has no effect")


def test_insecure_is_the_only_word_for_it(authority: Authority) -> None:
    for word in ("off", "false", "none", "Insecure"):
        assert "should be 'full' or 'insecure'" in one(**{f"{TLS}VERIFY": word})
    assert "keep one of them" in one(**{f"{TLS}VERIFY": "insecure", f"{TLS}CA_FILE": str(authority.file)})
    (doubt,) = tls_doubts(load({**HTTPS, f"{TLS}VERIFY": "insecure"}), None, time.time())
    assert "TLS is insecure" in doubt


def test_a_route_file_has_the_same_checks_with_their_line(authority: Authority, tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "upstreams:\n"
        "  plain: {url: http://a, tls: {server_name: a}}\n"
        "  half:\n"
        "    url: https://b\n"
        "    tls:\n"
        f"      key_file: {tmp_path}/no.key\n"
        "      color: blue\n"
        "  third:\n"
        "    url: https://c\n"
        f"    tls: {{ca_file: {tmp_path}/no.pem}}\n"
        "routes: []\n"
    )
    with pytest.raises(ConfigError) as caught:
        load({"GATEWAY_ROUTES": str(routes)})
    assert [problem.partition("routes.yaml:")[2] for problem in caught.value.problems] == [
        "2: upstream plain: tls: server_name: has no effect: no URL of the upstream begins with https://",
        "7: upstreams.half.tls.color: is no key of this place",
        f"10: upstream third: tls: ca_file: {tmp_path}/no.pem cannot be read: No such file or directory",
    ]


def test_an_upstream_of_a_route_file_takes_nothing_over_from_the_settings(
    authority: Authority, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "upstreams: {other: {url: https://b}}\n"
        "routes: [{name: a, match: {path: /a}, auth: public, upstream: other}]\n"
    )
    settings = load({**HTTPS, f"{TLS}VERIFY": "insecure", "GATEWAY_ROUTES": str(routes)})
    plan = read_plan(settings)
    assert plan is not None
    assert [doubt.partition(":")[0] for doubt in tls_doubts(settings, plan, 0)] == ["GATEWAY_UPSTREAM_TLS"]


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [(-2, 30, None), (-2, -1, "has expired"), (-2, 10, "expires within 10 days"), (1, 40, "not valid yet")],
)
def test_a_certificate_out_of_time_is_a_doubt(
    authority: Authority, begins: int, ends: int, words: str | None
) -> None:
    pair = authority.issue("a.example", begins=timedelta(days=begins), ends=timedelta(days=ends))
    doubts = list(certificate_doubts(str(pair.certificate), time.time()))
    assert len(doubts) == (0 if words is None else 1)
    assert words is None or words in doubts[0]


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("a.example", True),
        ("A.Example.", True),
        ("b.wild.example", True),
        ("wild.example", False),
        ("c.b.wild.example", False),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("127.0.0.2", False),
        ("", False),
    ],
)
def test_a_certificate_covers_its_names_and_one_label_of_a_wildcard(
    authority: Authority, host: str, covered: bool
) -> None:
    pair = authority.issue("a.example", "*.wild.example", "127.0.0.1", "::1")
    assert read_certificate(pair.certificate).covers(host) is covered


def test_the_listener_has_a_key_for_each_certificate(authority: Authority) -> None:
    first, second = authority.issue("a.example"), authority.issue("b.example")
    certificates = f"{first.certificate},{second.certificate}"
    (problem,) = problems_of({"GATEWAY_TLS_CERT_FILE": certificates, "GATEWAY_TLS_KEY_FILE": str(first.key)})
    assert problem.startswith("GATEWAY_TLS_KEY_FILE: names 1 files, and GATEWAY_TLS_CERT_FILE 2")
    found = problems_of(
        {"GATEWAY_TLS_CERT_FILE": certificates, "GATEWAY_TLS_KEY_FILE": f"{second.key},{first.key}"}
    )
    assert len(found) == 2
    assert all("has another key than the certificate's" in problem for problem in found)
    load({"GATEWAY_TLS_CERT_FILE": certificates, "GATEWAY_TLS_KEY_FILE": f"{first.key},{second.key}"})


def test_client_certificates_need_tls_and_their_authorities(authority: Authority) -> None:
    pair = authority.issue("a.example")
    files = {"GATEWAY_TLS_CERT_FILE": str(pair.certificate), "GATEWAY_TLS_KEY_FILE": str(pair.key)}
    demanding = {"GATEWAY_TLS_CLIENT_AUTH": "required"}
    assert problems_of(demanding) == [
        "GATEWAY_TLS_CLIENT_AUTH: required needs TLS: set GATEWAY_TLS_CERT_FILE"
    ]
    assert problems_of({**files, **demanding}) == [
        "GATEWAY_TLS_CLIENT_CA_FILE: required with GATEWAY_TLS_CLIENT_AUTH=required"
    ]
    trusting = {"GATEWAY_TLS_CLIENT_CA_FILE": str(authority.file)}
    load({**files, **demanding, **trusting})
    (doubt,) = tls_doubts(load({**files, **trusting}), None, time.time())
    assert doubt.startswith("GATEWAY_TLS_CLIENT_CA_FILE: has no effect")


def test_no_header_of_identity_takes_the_name_of_the_client_certificates(authority: Authority) -> None:
    (problem,) = problems_of({"GATEWAY_HEADER_USER_NAME": "x_auth_client_subject"})
    assert "has a meaning of its own" in problem


def test_a_subject_and_names_hold_nothing_that_ends_a_line_or_a_name(authority: Authority) -> None:
    pair = authority.issue("a.example", "spiffe://a,DNS:b c", subject="x\r\ny\x00, \u00fc%")
    der = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    subject, names = client_identity(der)
    assert subject == "CN=x%0D%0Ay\\00\\, %C3%BC%25"
    assert names == ("DNS:a.example", "URI:spiffe://a%2CDNS:b%20c")


def test_the_admin_listener_and_the_redirect_have_what_they_need(authority: Authority) -> None:
    pair = authority.issue("a.example")
    assert problems_of({"GATEWAY_ADMIN_TLS_CERT_FILE": str(pair.certificate)}) == [
        "GATEWAY_ADMIN_TLS_KEY_FILE: required with cert_file: a certificate is used with its key"
    ]
    plain = {"GATEWAY_TLS_REDIRECT_LISTEN": "0.0.0.0:9080"}
    assert problems_of(plain) == [
        "GATEWAY_TLS_REDIRECT_LISTEN: leads to TLS, and there is none: set GATEWAY_TLS_CERT_FILE"
    ]
    files = {"GATEWAY_TLS_CERT_FILE": str(pair.certificate), "GATEWAY_TLS_KEY_FILE": str(pair.key)}
    load({**files, **plain})
    (problem,) = problems_of({**files, **plain, "GATEWAY_LISTEN": "127.0.0.1:9080"})
    assert problem == "GATEWAY_TLS_REDIRECT_LISTEN: 0.0.0.0:9080 is taken by GATEWAY_LISTEN"


def test_a_file_whose_names_cannot_be_read_is_refused_by_its_path(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    twice = authority.issue_twice("a.example")
    with pytest.raises(FileUnusable, match=rf"^{twice.certificate} has .* an extension twice$"):
        read_certificate(twice.certificate)
    pair = authority.issue_odd(names=bytes.fromhex("3009a507a1050c03616263"))
    with pytest.raises(FileUnusable, match=rf"^{pair.certificate} has .* names that cannot be read$"):
        read_certificate(pair.certificate)
