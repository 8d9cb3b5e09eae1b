"""The command line, run in an empty folder on a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.commands import run
from tests.support.issuers import provider
from tests.support.openid import idp
from tests.support.processes import listening
from tests.support.sockets import sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from tests.support.commands import Run

__all__ = ["idp", "provider", "run", "sockets"]


@pytest.fixture
def on(run: Run, migrated_url: str) -> Run:
    """The same, with a migrated database configured."""

    def invoke(*arguments: str, **more: str) -> Result:
        return run(*arguments, **{"GATEWAY_DATABASE_URL": migrated_url, **more})

    return invoke


@pytest.fixture
def organization(on: Run) -> str:
    return on("orgs", "create", "Acme").stdout.strip()


@pytest.fixture
def user(on: Run, organization: str) -> str:
    arguments = (
        "--email",
        "ada@acme.example",
        "--name",
        "Ada",
        "--organization",
        organization,
        "--role",
        "admin",
    )
    return on("users", "create", *arguments, "--password-stdin", typed="correct horse\n").stdout.strip()


@pytest.fixture
def service() -> Iterator[str]:
    """A service that takes connections and never answers, by its address."""
    with listening() as address:
        yield address
