"""Reading a configuration: where from, in which order, and what is said of every mistake."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from config.layers import FIELDS
from config.load import ConfigError, load_settings
from config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "a-secret-of-thirty-two-bytes-or-more-0123"
GOOD = {
    "GATEWAY_DATABASE_URL": "postgresql://someone:hunter2@db.internal/whatomate",
    "GATEWAY_JWT_SECRET": SECRET,
    "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:3000",
}


def unexpected(warning: str) -> None:
    raise AssertionError(warning)


def load(
    environment: Mapping[str, str] | None = None, tmp: Path | None = None, *, bare: bool = False, **more: Any
) -> Settings:
    more.setdefault("warn", unexpected)
    values = {**({} if bare else GOOD), **(environment or {})}
    env_file = tmp / ".env" if tmp else Path("/nonexistent/.env")
    return load_settings(environment=values, env_file=env_file, **more)


def problems_of(environment: Mapping[str, str], tmp: Path | None = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environment, tmp, **more)
    return caught.value.problems


# -- where a value comes from -----------------------------------------------------------------------------------


def test_the_five_fixed_names_are_read() -> None:
    settings = load(
        {
            "GATEWAY_LISTEN": "127.0.0.1:9000",
            "GATEWAY_ADMIN_LISTEN": "127.0.0.1:9001",
            "GATEWAY_JWT_PREVIOUS_SECRETS": f"{SECRET}-1, {SECRET}-2",
        }
    )
    assert settings.listen == "127.0.0.1:9000"
    assert settings.admin.listen == "127.0.0.1:9001"
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == GOOD["GATEWAY_DATABASE_URL"]
    assert settings.jwt.secret is not None
    assert settings.jwt.secret.get_secret_value() == SECRET
    assert [one.get_secret_value() for one in settings.jwt.previous_secrets] == [f"{SECRET}-1", f"{SECRET}-2"]
    assert settings.upstream.url == "http://127.0.0.1:3000"


def test_defaults_are_those_written_down() -> None:
    settings = load()
    assert (settings.listen, settings.admin.listen) == ("0.0.0.0:8080", "127.0.0.1:8081")
    assert (settings.token.access_seconds, settings.token.refresh_seconds) == (3600, 604_800)
    assert (settings.jwt.issuer, settings.jwt.leeway_seconds) == ("whatomate", 0)
    assert settings.password.min_length == 8
    assert settings.trusted_proxies == ()
    assert settings.timeout.drain_seconds == 30
    assert (settings.limit.head_bytes, settings.limit.fields, settings.limit.target_bytes) == (
        32_768,
        100,
        8192,
    )


def test_each_layer_gives_way_to_the_one_above(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    written = tmp_path / "issuer"
    layers = ["default of the program", "secrets folder", ".env", "file", "environment", "program"]

    def issuer_with(top: int) -> str:
        environment = {"GATEWAY_SECRETS_DIR": str(secrets)}
        (tmp_path / ".env").write_text("GATEWAY_JWT_ISSUER='.env'\n" if top >= 2 else "")
        if top >= 1:
            (secrets / "GATEWAY_JWT_ISSUER").write_text("secrets folder\n")
        if top == 3:
            written.write_text("file\n")
            environment["GATEWAY_JWT_ISSUER_FILE"] = str(written)
        if top >= 4:
            environment["GATEWAY_JWT_ISSUER"] = "environment"
        overrides = {"GATEWAY_JWT_ISSUER": "program"} if top >= 5 else {}
        defaults = {"GATEWAY_JWT_ISSUER": "default of the program"}
        return load(environment, tmp_path, overrides=overrides, defaults=defaults).jwt.issuer

    assert [issuer_with(top) for top in range(6)] == layers


def test_a_file_loses_one_line_end_and_nothing_else(tmp_path: Path) -> None:
    for written, read in ((b"\n", "\n"), (b"\r\n", ""), (b" ", " "), (b"\n\n", "\n")):
        expected = SECRET + ("" if written == b"\n" else read)
        path = tmp_path / "secret"
        path.write_bytes(SECRET.encode() + written)
        secret = load(
            {k: v for k, v in GOOD.items() if k != "GATEWAY_JWT_SECRET"}
            | {"GATEWAY_JWT_SECRET_FILE": str(path)},
            bare=True,
        ).jwt.secret
        assert secret is not None
        assert secret.get_secret_value() == expected


@pytest.mark.parametrize("name", ["GATEWAY_DATABASE_URL", "GATEWAY_JWT_SECRET", "GATEWAY_UPSTREAM_URL"])
def test_every_secret_and_url_can_be_a_file_or_stand_in_the_secrets_folder(name: str, tmp_path: Path) -> None:
    rest = {other: value for other, value in GOOD.items() if other != name}
    path = tmp_path / name
    path.write_text(GOOD[name] + "\n")
    assert load({**rest, f"{name}_FILE": str(path)}, bare=True) == load()
    assert load({**rest, "GATEWAY_SECRETS_DIR": str(tmp_path)}, bare=True) == load()


def test_a_secrets_folder_as_kubernetes_mounts_it_is_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_22").mkdir()
    (tmp_path / "..data").symlink_to("..2026_11_22")
    for name, value in GOOD.items():
        (tmp_path / "..2026_11_22" / name).write_text(value)
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert load({"GATEWAY_SECRETS_DIR": str(tmp_path)}, bare=True) == load()


def test_the_env_file_may_name_files_too(tmp_path: Path) -> None:
    (tmp_path / "issuer").write_text("from-a-file")
    (tmp_path / ".env").write_text(f"GATEWAY_JWT_ISSUER_FILE={tmp_path}/issuer\n")
    assert load(tmp=tmp_path).jwt.issuer == "from-a-file"


def test_the_processs_environment_is_the_default_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    assert load_settings(env_file=tmp_path / ".env") == load()


def test_settings_built_by_hand_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_JWT_ISSUER", "environment")
    assert Settings().jwt.issuer == "whatomate"


def test_an_empty_value_is_not_set_except_for_a_list() -> None:
    settings = load(
        {"GATEWAY_JWT_ISSUER": "", "GATEWAY_PUBLIC_PATHS": "", "GATEWAY_TOKEN_ACCESS_SECONDS": ""}
    )
    assert settings.jwt.issuer == "whatomate"
    assert settings.token.access_seconds == 3600
    assert settings.public_paths == ()


def test_lists_are_split_at_commas_and_line_ends() -> None:
    settings = load(
        {
            "GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::/32 ,192.0.2.1",
            "GATEWAY_PUBLIC_PATHS": "/health,\nGET|POST /api/webhook\n/static/*,",
        }
    )
    assert [str(network) for network in settings.trusted_proxies] == [
        "10.0.0.0/8",
        "2001:db8::/32",
        "192.0.2.1/32",
    ]
    assert settings.public_paths == ("/health", "GET|POST /api/webhook", "/static/*")


def test_every_setting_can_be_set_by_its_name() -> None:
    """Each default, written as an operator would, is read back as itself."""
    environment: dict[str, str] = {}
    for name in FIELDS:
        value: Any = Settings()
        for part in _path_of(name):
            value = getattr(value, part)
        if isinstance(value, tuple):
            environment[name] = ",".join(map(str, value))
        elif value is not None:
            environment[name] = str(value)
    assert load(environment) == load()
    assert len(environment) >= len(FIELDS) - len(GOOD)


def _path_of(name: str) -> tuple[str, ...]:
    rest = name.removeprefix("GATEWAY_").lower()
    if rest in Settings.model_fields:
        return (rest,)
    group, _, field = rest.partition("_")
    return group, field


# -- what is refused --------------------------------------------------------------------------------------------


def test_every_problem_is_reported_at_once_by_the_name_that_was_typed() -> None:
    found = problems_of(
        {
            "GATEWAY_DATABASE_POOL_MAX": "many",
            "GATEWAY_JWT_SECRET": "short",
            "GATEWAY_LISTEN": "nonsense",
            "GATEWAY_TOKEN_ACCESS_SECONDS": "7200",
            "GATEWAY_TOKEN_REFRESH_SECONDS": "3600",
            "GATEWAY_LOG_LEVEL": "loud",
        },
        bare=True,
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "GATEWAY_DATABASE_POOL_MAX",
        "GATEWAY_DATABASE_URL",
        "GATEWAY_JWT_SECRET",
        "GATEWAY_LISTEN",
        "GATEWAY_LOG_LEVEL",
        "GATEWAY_TOKEN_ACCESS_SECONDS",
        "GATEWAY_UPSTREAM_URL",
    ]


def test_a_problem_says_what_is_wrong_what_was_found_and_what_it_means() -> None:
    (problem,) = problems_of({"GATEWAY_DATABASE_POOL_MAX": "0"})
    assert problem == (
        "GATEWAY_DATABASE_POOL_MAX: should be greater than or equal to 1, is '0' "
        "(Connections at most, per process)"
    )


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_a_gateway_cannot_do_without_is_required(name: str) -> None:
    (problem,) = problems_of({other: value for other, value in GOOD.items() if other != name}, bare=True)
    assert problem.startswith(f"{name}: required: ")


def test_a_command_may_require_less() -> None:
    assert load(bare=True, required=frozenset()) == Settings()


@pytest.mark.parametrize("length", [1, 31])
def test_a_short_jwt_secret_is_refused_with_a_way_to_make_one(length: int) -> None:
    (problem,) = problems_of({"GATEWAY_JWT_SECRET": "x" * length})
    assert problem.startswith(
        f"GATEWAY_JWT_SECRET: only {length} bytes long, at least 32 are needed; make one"
    )


def test_thirty_two_bytes_of_jwt_secret_are_enough_and_bytes_are_what_counts() -> None:
    assert load({"GATEWAY_JWT_SECRET": "x" * 32})
    assert load({"GATEWAY_JWT_SECRET": "ü" * 16})


def test_a_short_previous_secret_is_refused_by_its_place() -> None:
    (problem,) = problems_of({"GATEWAY_JWT_PREVIOUS_SECRETS": f"{SECRET},brief"})
    assert problem == "GATEWAY_JWT_PREVIOUS_SECRETS: entry 2 is only 5 bytes long, at least 32 are needed"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"GATEWAY_DATABASE_POOL_MIN": "11"},
            "GATEWAY_DATABASE_POOL_MIN: 11 is more than GATEWAY_DATABASE_POOL_MAX, 10",
        ),
        (
            {"GATEWAY_TOKEN_REFRESH_SECONDS": "3600"},
            "GATEWAY_TOKEN_ACCESS_SECONDS: 3600 should be less than GATEWAY_TOKEN_REFRESH_SECONDS, 3600",
        ),
        (
            {"GATEWAY_LIMIT_HEAD_BYTES": "8192"},
            "GATEWAY_LIMIT_TARGET_BYTES: 8192 should be less than GATEWAY_LIMIT_HEAD_BYTES, 8192",
        ),
        (
            {"GATEWAY_ADMIN_LISTEN": "127.0.0.1:8080"},
            "GATEWAY_ADMIN_LISTEN: 127.0.0.1:8080 is taken by GATEWAY_LISTEN, 0.0.0.0:8080",
        ),
        (
            {"GATEWAY_LISTEN": "127.0.0.1:65536"},
            "GATEWAY_LISTEN: the port should be from 0 to 65535, is '127.0.0.1:65536'",
        ),
        ({"GATEWAY_LISTEN": "8080"}, "GATEWAY_LISTEN: should be host:port"),
        (
            {"GATEWAY_UPSTREAM_URL": "http://app:0"},
            "GATEWAY_UPSTREAM_URL: the port should be from 1 to 65535",
        ),
        ({"GATEWAY_UPSTREAM_URL": "https://app:443"}, "GATEWAY_UPSTREAM_URL: should be http://host:port"),
        ({"GATEWAY_UPSTREAM_URL": "http://app:80/base"}, "GATEWAY_UPSTREAM_URL: should be http://host:port"),
        ({"GATEWAY_DATABASE_URL": "mysql://db/x"}, "GATEWAY_DATABASE_URL: should begin with postgresql://"),
        (
            {"GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8,10.0.0.1/8"},
            (
                "GATEWAY_TRUSTED_PROXIES: entry 2 should be a network, such as 10.0.0.0/8 or 2001:db8::/32, "
                "with no bit set after the prefix, is '10.0.0.1/8'"
            ),
        ),
        ({"GATEWAY_PUBLIC_PATHS": "/ok,api/x"}, "GATEWAY_PUBLIC_PATHS: entry 2 should be /path, /path/*"),
        ({"GATEWAY_PUBLIC_PATHS": "/a*b"}, "GATEWAY_PUBLIC_PATHS: entry 1 should be /path, /path/*"),
        ({"GATEWAY_PROTECTED_PATHS": "/a?b=c"}, "GATEWAY_PROTECTED_PATHS: entry 1 should be /path, /path/*"),
        ({"GATEWAY_HEADER_ORG_ID": "X Org"}, "GATEWAY_HEADER_ORG_ID: "),
        ({"GATEWAY_HEADER_ORG_ID": "X-Org\r\nX-Evil"}, "GATEWAY_HEADER_ORG_ID: "),
        (
            {"GATEWAY_HEADER_USER_ID": "x_org.id"},
            "GATEWAY_HEADER_ORG_ID: X-Org-ID is the same header as that of GATEWAY_HEADER_USER_ID",
        ),
        (
            {"GATEWAY_HEADER_USER_ID": "Content_Length"},
            "GATEWAY_HEADER_USER_ID: Content_Length has a meaning of its own",
        ),
        ({"GATEWAY_TIMEOUT_DRAIN_SECONDS": "inf"}, "GATEWAY_TIMEOUT_DRAIN_SECONDS: "),
        ({"GATEWAY_JWT_LEEWAY_SECONDS": "nan"}, "GATEWAY_JWT_LEEWAY_SECONDS: "),
    ],
)
def test_a_bad_value_is_refused_in_words(environment: dict[str, str], expected: str) -> None:
    (problem,) = problems_of(environment)
    assert problem.startswith(expected)


def test_two_listeners_may_share_a_port_on_different_addresses_and_any_port_when_it_is_chosen() -> None:
    assert load({"GATEWAY_LISTEN": "10.0.0.1:8080", "GATEWAY_ADMIN_LISTEN": "127.0.0.1:8080"})
    assert load({"GATEWAY_LISTEN": ":0", "GATEWAY_ADMIN_LISTEN": ":0"})


def test_a_refused_value_is_judged_once() -> None:
    (problem,) = problems_of({"GATEWAY_DATABASE_POOL_MIN": "-3", "GATEWAY_DATABASE_POOL_MAX": "1"})
    assert problem.startswith("GATEWAY_DATABASE_POOL_MIN: should be greater")


def test_a_setting_and_its_file_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    (problem,) = problems_of({"GATEWAY_JWT_SECRET_FILE": str(path)})
    assert problem == "GATEWAY_JWT_SECRET: set twice, also as GATEWAY_JWT_SECRET_FILE; keep one of the two"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "No such file or directory"), (b"", "is empty"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_gives_nothing_is_a_problem_of_the_name_that_was_typed(
    content: bytes | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    rest = {name: value for name, value in GOOD.items() if name != "GATEWAY_JWT_SECRET"}
    (problem,) = problems_of({**rest, "GATEWAY_JWT_SECRET_FILE": str(path)}, bare=True)
    assert problem.startswith("GATEWAY_JWT_SECRET_FILE: ")
    assert str(path) in problem
    assert expected in problem


def test_a_secrets_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems_of({"GATEWAY_SECRETS_DIR": str(tmp_path / "none")})
    assert problem.startswith("GATEWAY_SECRETS_DIR: cannot read the folder ")


# -- what is never shown ----------------------------------------------------------------------------------------


def test_no_secret_is_in_a_problem_or_in_the_settings_repr() -> None:
    hidden = "hunter2hunter2"
    for name in ("GATEWAY_JWT_SECRET", "GATEWAY_JWT_PREVIOUS_SECRETS"):
        assert hidden not in "".join(problems_of({name: hidden}))
    for name, value in (
        ("GATEWAY_DATABASE_URL", f"mysql://u:{hidden}@db/x"),
        ("GATEWAY_UPSTREAM_URL", f"http://u:{hidden}@app:80"),
    ):
        with pytest.raises(ConfigError) as caught:
            load({name: value})
        assert hidden not in f"{caught.value} {caught.value!r} {caught.value.problems}"
    settings = load({"GATEWAY_JWT_PREVIOUS_SECRETS": SECRET + hidden})
    shown = f"{settings!r} {settings}"
    assert SECRET not in shown
    assert "hunter2" not in shown


# -- what is only warned of -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("GATEWAY_DATABASE_POOL_MAXX", "did you mean GATEWAY_DATABASE_POOL_MAX?"),
        ("GATEWAY_JWT_SECRETS", "did you mean GATEWAY_JWT_SECRET?"),
        ("GATEWAY_SECRET_DIR", "did you mean GATEWAY_SECRETS_DIR?"),
        ("GATEWAY_ZZZZ", "it has no effect"),
        ("GATEWAY_LISTEN_PORT", "no such setting"),
    ],
)
def test_a_name_that_is_no_setting_is_warned_of_with_the_nearest(name: str, warning: str) -> None:
    said: list[str] = []
    load({name: "8080"}, warn=said.append)
    (line,) = said
    assert line.startswith(f"{name}: no such setting (environment)")
    assert warning in line


def test_names_that_kubernetes_makes_up_are_passed_over() -> None:
    load(
        {
            "GATEWAY_SERVICE_HOST": "10.96.0.7",
            "GATEWAY_SERVICE_PORT": "80",
            "GATEWAY_SERVICE_PORT_HTTP": "80",
            "GATEWAY_PORT": "tcp://10.96.0.7:80",
            "GATEWAY_PORT_80_TCP": "tcp://10.96.0.7:80",
            "GATEWAY_PORT_80_TCP_PROTO": "tcp",
            "GATEWAY_PORT_80_TCP_PORT": "80",
            "GATEWAY_PORT_80_TCP_ADDR": "10.96.0.7",
            "GATEWAY_ADMIN_SERVICE_HOST": "10.96.0.8",
            "GATEWAY_ADMIN_PORT": "tcp://10.96.0.8:8081",
            "GATEWAY_ADMIN_PORT_8081_TCP_ADDR": "10.96.0.8",
        }
    )


def test_a_typo_in_a_file_is_warned_of_with_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").write_text("GATEWAY_LISTENN=:1\nUNRELATED=1\n")
    with caplog.at_level(logging.WARNING):
        load(tmp=tmp_path, warn=None)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"GATEWAY_LISTENN: no such setting ({tmp_path}/.env); did you mean GATEWAY_LISTEN?"
    )
