"""Reading a configuration: where from, and in which order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from annotated_types import Ge, Gt, Le, Lt

from config.layers import FIELDS
from config.load import load_settings
from config.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

from tests.config.loading import GOOD, SECRET, load

# -- where a value comes from -----------------------------------------------------------------------------------


def test_the_five_fixed_names_are_read() -> None:
    settings = load(
        {
            "GATEWAY_LISTEN": "127.0.0.1:9000",
            "GATEWAY_ADMIN_LISTEN": "127.0.0.1:9001",
            "GATEWAY_JWT_PREVIOUS_SECRETS": f"{SECRET}-1, {SECRET}-2",
        }
    )
    assert settings.listen == ("127.0.0.1:9000",)
    assert settings.admin.listen == "127.0.0.1:9001"
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == GOOD["GATEWAY_DATABASE_URL"]
    assert settings.jwt.secret is not None
    assert settings.jwt.secret.get_secret_value() == SECRET
    assert [one.get_secret_value() for one in settings.jwt.previous_secrets] == [f"{SECRET}-1", f"{SECRET}-2"]
    assert settings.upstream.url == "http://127.0.0.1:3000"


def test_defaults_are_those_written_down() -> None:
    settings = load()
    assert (settings.listen, settings.admin.listen) == (("0.0.0.0:8080",), "127.0.0.1:8081")
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
    assert load({**rest, f"{name}_FILE": str(path)}, bare=True).model_dump() == load().model_dump()
    assert load({**rest, "GATEWAY_SECRETS_DIR": str(tmp_path)}, bare=True).model_dump() == load().model_dump()


def test_a_secrets_folder_as_kubernetes_mounts_it_is_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_22").mkdir()
    (tmp_path / "..data").symlink_to("..2026_11_22")
    for name, value in GOOD.items():
        (tmp_path / "..2026_11_22" / name).write_text(value)
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert load({"GATEWAY_SECRETS_DIR": str(tmp_path)}, bare=True).model_dump() == load().model_dump()


def test_the_env_file_may_name_files_too(tmp_path: Path) -> None:
    (tmp_path / "issuer").write_text("from-a-file")
    (tmp_path / ".env").write_text(f"GATEWAY_JWT_ISSUER_FILE={tmp_path}/issuer\n")
    assert load(tmp=tmp_path).jwt.issuer == "from-a-file"


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_dollar_in_the_env_file_stands_for_itself(quote: str, tmp_path: Path) -> None:
    secret = f"aa$bb${{HOME}}cc${{NOT_SET:-dd}}{SECRET}"
    (tmp_path / ".env").write_text(f"GATEWAY_JWT_SECRET={quote}{secret}{quote}\n")
    environment = {name: value for name, value in GOOD.items() if name != "GATEWAY_JWT_SECRET"}
    found = load(environment, tmp=tmp_path, bare=True).jwt.secret
    assert found is not None
    assert found.get_secret_value() == secret


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
    assert len(environment) > 0.8 * len(FIELDS)  # a few have no default: required, or derived when not set


def _path_of(name: str) -> tuple[str, ...]:
    rest = name.removeprefix("GATEWAY_").lower()
    if rest in Settings.model_fields:
        return (rest,)
    group, _, field = rest.partition("_")
    return group, field


def test_unused_upstream_connections_end_before_whatomate_ends_them() -> None:
    whatomates_read_timeout = 30
    assert Settings().upstream.idle_seconds < whatomates_read_timeout


def test_no_bound_of_a_setting_takes_the_place_of_another() -> None:
    """pydantic holds to the last of two bounds of one kind, without a word."""
    for name, field in FIELDS.items():
        kinds = [type(one) for one in field.metadata if isinstance(one, Ge | Gt | Le | Lt)]
        assert len(kinds) == len(set(kinds)), name
