"""Options and arguments of commands: every extreme is a value that can be used, or a usage error."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
import pytest

from gateway.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run

EXTREMES: Final = (
    *(
        "",
        " ",
        "-",
        ":",
        "0",
        "-0",
        "-1",
        "+1",
        "1_0",
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "-inf",
        "\u00b2",
        "\u0663",
    ),
    *(
        str(2**31),
        str(2**63 - 1),
        str(2**63),
        str(-(2**63) - 1),
        str(2**200),
        "9" * 5_000,
        f"{'9' * 5_000}:0",
    ),
    *("999999d", "999999999d", "0m", "none", "public"),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:59-14:00"),
    *("10000-01-01T00:00:00Z", "2030-02-30T00:00:00Z", "2030-12-31T23:59:60Z", "2030-12-31", "24:00"),
    *(f"{'9' * 18}:{'0' * 64}", f"{'9' * 19}:{'0' * 64}", "127.0.0.1:\u00b2", f"127.0.0.1:{'9' * 5_000}"),
    *("\udcff", "\u202e", "'", "%", "a=b", "=", "=\r\n", "/" * 5_000),
)
"""Texts at the ends of what types hold, and beyond; the offsets of some dates lead out of the years."""


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            one = command.get_command(context, name)
            assert one is not None
            yield from commands(one, click.Context(one, parent=context, info_name=name))


ALL: Final = {
    f"{context.command_path} {parameter.name}": (parameter, context)
    for command, context in commands(main, click.Context(main, info_name="whatomate-gateway"))
    for parameter in command.params
    if not getattr(parameter, "is_flag", False) and not isinstance(parameter.type, click.File)
}


def read(parameter: click.Parameter, context: click.Context, text: str) -> object:
    """Return what a command is given for `text`; None if that is a usage error."""
    several = parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs != 1
    try:
        return parameter.process_value(context, (text,) if several else text)
    except click.UsageError:
        return None


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_extreme_of_a_parameter_is_usable_or_a_usage_error(name: str) -> None:
    parameter, context = ALL[name]
    for text in EXTREMES:
        value = read(parameter, context, text)
        if isinstance(value, float):
            assert math.isfinite(value), text
        if isinstance(value, int):
            assert -(2**63) <= value < 2**63, text
        if isinstance(value, datetime):
            assert value.tzinfo is UTC, text


def test_every_command_has_its_parameters_tested() -> None:
    assert {"whatomate-gateway audit-log list before", "whatomate-gateway migrate grant_to"} <= set(ALL)
    assert len(ALL) > 100


@pytest.mark.parametrize("text", EXTREMES)
def test_a_list_of_the_trail_between_any_moments_is_a_list(on: Run, text: str) -> None:
    for option in ("--since", "--until", "--before"):
        result = on("audit-log", "list", f"{option}={text}")
        assert result.exit_code in {0, 2}, result.output


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00"])
def test_keys_and_invitations_with_an_extreme_expiry_are_made_and_listed_or_refused(
    on: Run, user: str, organization: str, moment: str
) -> None:
    of_key = ("api-keys", "create", "--user", user, "--organization", organization, "--name", "ci")
    expected = 0 if moment.endswith("Z") else 2
    assert on(*of_key, "--expires-at", moment).exit_code == expected
    secret = {"GATEWAY_JWT_SECRET": "a-secret-of-thirty-two-bytes-or-more-0123"}
    of_invitation = ("invitations", "create", "--organization", organization, "--expires-at", moment)
    assert on(*of_invitation, **secret).exit_code == expected
    for line in (("api-keys", "list"), ("invitations", "list", "--organization", organization)):
        assert on(*line, **secret).exit_code == 0


@pytest.mark.parametrize("port", ["\u00b2", "65536", "9" * 5_000, "-1", ""])
def test_an_invalid_port_of_an_option_is_a_usage_error(run: Run, port: str) -> None:
    assert run("echo", "--listen", f"127.0.0.1:{port}").exit_code == 2
