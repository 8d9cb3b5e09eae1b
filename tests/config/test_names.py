"""A name that is no setting is refused, with the likely one, wherever it is written; a name of another's passes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.layers import FIELDS
from tests.config.loading import SECRET, load, problems_of

if TYPE_CHECKING:
    from pathlib import Path

MISSPELLED = [
    ("GATEWAY_REGISTRATOIN", "did you mean GATEWAY_REGISTRATION?"),
    ("GATEWAY_DATABASE_POOL_MAXX", "did you mean GATEWAY_DATABASE_POOL_MAX?"),
    ("GATEWAY_JWT_SECRETS", "did you mean GATEWAY_JWT_SECRET?"),
    ("GATEWAY_JWT_SECRT_FILE", "did you mean GATEWAY_JWT_SECRET_FILE?"),
    ("GATEWAY_TLS_CERT", "did you mean GATEWAY_TLS_CERT_FILE?"),
    ("GATEWAY__LISTEN", "write it GATEWAY_LISTEN."),
    ("GATEWAY_PORT", "did you mean GATEWAY_LISTEN?"),
    ("GATEWAY_UPSTREAM", "did you mean GATEWAY_UPSTREAM_URL?"),
    ("GATEWAY_ZZZZ", "`whatomate-gateway settings` lists all there are"),
    ("gateway_registration", "write it GATEWAY_REGISTRATION."),
    ("Gateway_Registration", "write it GATEWAY_REGISTRATION."),
    ("gateway_jwt_secret_file", "write it GATEWAY_JWT_SECRET_FILE."),
    ("GATEWAY-REGISTRATION", "write it GATEWAY_REGISTRATION."),
    ("GATEWAY.REGISTRATION", "write it GATEWAY_REGISTRATION."),
    ("GATWAY_REGISTRATION", "did you mean GATEWAY_REGISTRATION?"),
    ("GATEWAYS_LISTEN", "did you mean GATEWAY_LISTEN?"),
    ("gatway_listen", "did you mean GATEWAY_LISTEN?"),
]


@pytest.mark.parametrize(
    ("name", "advice"), [*MISSPELLED, ("GATEWAY_SECRET_DIR", "mean GATEWAY_SECRETS_DIR?")]
)
def test_a_name_that_is_no_setting_is_refused_with_the_likely_one(name: str, advice: str) -> None:
    (problem,) = problems_of({name: "closed"})
    assert problem.startswith(f"{name}: no such setting (environment); ")
    assert advice in problem
    assert problem.endswith("If another program owns the name, add it to GATEWAY_FOREIGN_NAMES")
    load({name: "closed", "GATEWAY_FOREIGN_NAMES": name})


@pytest.mark.parametrize(("name", "advice"), MISSPELLED)
def test_the_place_where_the_name_is_written_makes_no_difference(
    name: str, advice: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"UNRELATED=1\n{name}=closed\n")
    (problem,) = problems_of({}, tmp_path)
    assert problem.startswith(f"{name}: no such setting ({tmp_path}/.env); ")
    assert advice in problem


@pytest.mark.parametrize(
    ("name", "advice"),
    [one for one in MISSPELLED if not one[0].lower().startswith("gateway_") or one[0].isupper()],
)
def test_a_file_of_the_secrets_folder_is_judged_alike(name: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("hunter2")
    (tmp_path / "README").write_text("not a setting")
    (problem,) = problems_of({"GATEWAY_SECRETS_DIR": str(tmp_path)})
    assert problem.startswith(f"{name}: no such setting (a file in {tmp_path}); ")
    assert advice in problem
    assert "hunter2" not in problem


def test_a_file_of_the_secrets_folder_that_leads_nowhere_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "GATEWAY_SIGNED_KEY").symlink_to(tmp_path / "gone")
    (problem,) = problems_of({"GATEWAY_SECRETS_DIR": str(tmp_path)})
    assert (
        problem == f"GATEWAY_SIGNED_KEY: cannot read {tmp_path}/GATEWAY_SIGNED_KEY: No such file or directory"
    )


def test_one_setting_in_two_files_of_the_secrets_folder_is_a_problem(tmp_path: Path) -> None:
    for name in ("GATEWAY_JWT_ISSUER", "gateway_jwt_issuer"):
        (tmp_path / name).write_text(name)
    (problem,) = problems_of({"GATEWAY_SECRETS_DIR": str(tmp_path)})
    assert problem == f"GATEWAY_JWT_ISSUER: is two files in {tmp_path}, in capitals and not; keep one"


def test_one_setting_on_two_lines_of_the_env_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_SHADOW=off\nA=1\nA=2\nexport GATEWAY_SHADOW=on\n")
    (problem,) = problems_of({}, tmp_path)
    assert problem == f"GATEWAY_SHADOW: is set in lines 1 and 4 of {tmp_path}/.env; keep one of them"


LINKS = {
    "GATEWAY_SERVICE_HOST": "10.96.0.7",
    "GATEWAY_SERVICE_PORT": "80",
    "GATEWAY_SERVICE_PORT_HTTP": "80",
    "GATEWAY_PORT": "tcp://10.96.0.7:80",
    "GATEWAY_PORT_80_TCP": "tcp://10.96.0.7:80",
    "GATEWAY_PORT_80_TCP_PROTO": "tcp",
    "GATEWAY_PORT_80_TCP_PORT": "80",
    "GATEWAY_PORT_80_TCP_ADDR": "10.96.0.7",
    "GATEWAY_ADMIN_SERVICE_HOST": "fd00::8",
    "GATEWAY_ADMIN_PORT": "tcp://[fd00::8]:8081",
    "GATEWAY_ADMIN_PORT_8081_TCP_ADDR": "fd00::8",
    "GATEWAY_TLS_SERVICE_PORT_HTTP_3": "443",
    "GATEWAY_TLS_PORT_443_UDP": "udp://10.96.0.7:443",
    "GATEWAY_INTERFACE": "CGI/1.1",
}


def test_names_that_the_system_sets_pass(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    load(LINKS, tmp_path)


@pytest.mark.parametrize("name", LINKS)
def test_names_of_the_system_pass_in_their_own_place_and_form_alone(name: str, tmp_path: Path) -> None:
    (problem,) = problems_of({name: "closed"})
    assert problem.startswith(f"{name}: no such setting")
    (tmp_path / ".env").write_text(f"{name}={LINKS[name]}\n")
    (problem,) = problems_of({}, tmp_path)
    assert problem.startswith(f"{name}: no such setting")


def test_a_setting_keeps_its_meaning_beside_a_service_of_the_same_name() -> None:
    link = re.compile(r"GATEWAY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_\w+)?)")
    (shared,) = [name for name in FIELDS if link.fullmatch(name)]
    assert shared == "GATEWAY_TLS_REDIRECT_PORT"
    assert load({shared: "8443"}).tls.redirect_port == 8443
    assert load({shared: "tcp://10.96.0.7:8443"}).tls.redirect_port == 443
    (problem,) = problems_of({shared: "tcp"})
    assert problem.startswith(f"{shared}: should be a valid integer")


@pytest.mark.parametrize(
    "name", ["GATEWAY", "gateway", "GATEWAYS", "PATHWAY_LISTEN", "GATEWAY2_LISTEN", "MY_GATEWAY_URL"]
)
def test_names_that_are_plainly_of_others_pass(name: str) -> None:
    load({name: "closed"})


def test_names_of_other_programs_are_left_to_them_by_name_or_beginning() -> None:
    own = {"GATEWAY_API_URL": "x", "GATEWAY_API_KEY": "y", "GATEWAY_CLASS": "z"}
    load({**own, "GATEWAY_FOREIGN_NAMES": "GATEWAY_API_*,GATEWAY_CLASS"})
    (problem,) = problems_of({**own, "GATEWAY_FOREIGN_NAMES": "GATEWAY_API_*"})
    assert problem.startswith("GATEWAY_CLASS: ")


@pytest.mark.parametrize(
    "pattern", ["GATEWAY_*", "*", "GATEWAY_JWT_*", "GATEWAY_LISTEN", "GATEWAY_JWT_SECRET_FILE", "G*"]
)
def test_nobody_elses_names_cover_a_setting(pattern: str) -> None:
    (problem,) = problems_of({"GATEWAY_FOREIGN_NAMES": pattern})
    assert problem.startswith("GATEWAY_FOREIGN_NAMES: ")


@given(st.sampled_from([name for name in FIELDS if len(name) > 16]), st.data())
def test_any_setting_with_two_letters_exchanged_is_refused(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(8, len(name) - 2))
    typed = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    if typed not in FIELDS:
        (problem,) = problems_of({typed: SECRET})
        assert problem.startswith(f"{typed}: no such setting (environment); ")
        assert "did you mean GATEWAY_" in problem or "write it" in problem
        assert SECRET not in problem
