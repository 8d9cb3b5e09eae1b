"""A secret that rotates in its file is the new one when it is read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.load import load_settings
from config.rereading import reread

if TYPE_CHECKING:
    from pathlib import Path

NAME = "GATEWAY_DATABASE_URL"


@pytest.mark.parametrize("way", ["file", "folder"])
def test_a_file_is_read_again_and_one_that_is_away_counts_as_it_was(tmp_path: Path, way: str) -> None:
    path = tmp_path / NAME
    path.write_text("postgresql://a@b/c\n")
    environment = {f"{NAME}_FILE": str(path)} if way == "file" else {"GATEWAY_SECRETS_DIR": str(tmp_path)}
    settings = load_settings(environment=environment, env_file=tmp_path / "none", required=frozenset({NAME}))
    assert settings.database.url is not None
    read = reread(settings.model_copy(), NAME, settings.database.url.get_secret_value())
    assert read() == "postgresql://a@b/c"
    path.write_text("postgresql://d@e/f\n")
    assert read() == "postgresql://d@e/f"
    path.write_text("")
    assert read() == "postgresql://d@e/f"
    path.unlink()
    assert read() == "postgresql://d@e/f"


def test_what_wins_over_a_file_is_not_read_from_it(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("postgresql://of@the/folder")
    environment = {NAME: "postgresql://a@b/c", "GATEWAY_SECRETS_DIR": str(tmp_path)}
    settings = load_settings(environment=environment, env_file=tmp_path / "none", required=frozenset({NAME}))
    assert reread(settings, NAME, "postgresql://a@b/c")() == "postgresql://a@b/c"
