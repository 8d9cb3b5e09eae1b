"""Command ``dev``: a gateway to try, or with ``--as`` what a service would be sent in somebody's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.commands.parameters import host_and_port

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PORT: Final = range(65_536)
_OF_AS: Final = "With --as: "


def _pairs(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in values:
        name, is_there, value = text.partition("=")
        if not is_there or not _TOKEN.fullmatch(name) or not value.isprintable():
            raise click.BadParameter(f"{text!r} should be NAME=VALUE, such as Accept=application/json")
        pairs.append((name, value))
    return tuple(pairs)


def _address(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[str, int] | None:
    if value is None:
        return None
    address = host_and_port(value, usual="127.0.0.1", ports=_PORT)
    if address is None:
        raise click.BadParameter("should be host:port, such as 127.0.0.1:8082")
    return address


def _method(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise click.BadParameter("should be a method, such as GET")
    return value.upper()


@click.command()
@click.option(
    "--data-dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where PostgreSQL and the secrets made for it live; by default .data, and for root in a folder that is closed "
    "to others one in /var/tmp, which is named.",
)
@click.option(
    "--sign", is_flag=True, help="Sign identities, by a key of the data folder's own if none is configured."
)
@click.option(
    "--as", "who", metavar="WHO", help="Run nothing: print what a service is sent for name@organization."
)
@click.option(
    "--organization", metavar="ID", help=f"{_OF_AS}where they act, if not in that one; an id or a word."
)
@click.option("--role", help=f"{_OF_AS}their role; of admin@… and manager@… it is that, else agent.")
@click.option(
    "--permissions",
    metavar="LIST",
    help=f"{_OF_AS}other permissions than the role's, with commas between; '' for none.",
)
@click.option("--name", help=f"{_OF_AS}their full name.")
@click.option("--super-admin", is_flag=True, help=f"{_OF_AS}a super admin.")
@click.option(
    "--auth",
    type=click.Choice(["jwt", "cookie", "api_key", "ws"]),
    default="jwt",
    help=f"{_OF_AS}how they proved it.",
)
@click.option("--method", default="GET", show_default=True, callback=_method, help=f"{_OF_AS}of the request.")
@click.option(
    "--path", default="/", show_default=True, help=f"{_OF_AS}of the request, as the service gets it."
)
@click.option(
    "--url",
    default="http://127.0.0.1:3000",
    show_default=True,
    help=f"{_OF_AS}where the service under test is.",
)
@click.option("--audience", default="upstream", show_default=True, help=f"{_OF_AS}the name of its upstream.")
@click.option(
    "--seconds",
    type=click.IntRange(-86_400, 86_400),
    help=f"{_OF_AS}how long the signature is good for; below 0 it has expired.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_pairs,
    help=f"{_OF_AS}a further header, or another value of one; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help=f"{_OF_AS}print one document: headers, curl, jwks.")
@click.option(
    "--serve-keys",
    metavar="HOST:PORT",
    callback=_address,
    help=f"{_OF_AS}serve the public key there until Ctrl-C.",
)
@click.pass_context
def dev(
    context: click.Context, /, directory: Path | None, who: str | None, *, sign: bool, **options: Any
) -> None:
    """Run a gateway to try: with a PostgreSQL, an upstream and users of its own, until Ctrl-C.

    GATEWAY_DATABASE_URL and GATEWAY_UPSTREAM_URL are used where they are set; the database then receives the schema
    and the demo users.

    With --as nothing runs. It prints the headers of one request in the name of somebody who is made up, and lines of
    curl that send it to a service under test. docs/backends.md shows how.

    Example: whatomate-gateway dev --as agent@demo --sign --path /bills
    """
    from gateway.commands import developing  # noqa: PLC0415 -- for POSIX alone, and only running needs it
    from gateway.commands.opening import note  # noqa: PLC0415 -- as above
    from gateway.dev.folder import USUAL, choose_folder  # noqa: PLC0415 -- as above

    try:
        if directory is not None:
            directory = directory.absolute()
        elif who is None or sign:
            directory = choose_folder(Path.cwd(), note)
        else:
            directory = Path(USUAL).absolute()  # nothing is kept in it
        if who is None:
            for parameter in context.command.params:
                if parameter.name in options and _is_given(context, parameter.name):
                    raise click.UsageError(f"{parameter.opts[0]} goes with --as WHO")
            developing.run_dev(directory, sign=sign)
        else:
            _print(who, directory, sign=sign, **options)
    except developing.EXPECTED_ERRORS as error:
        raise click.ClickException(str(error)) from error
    except BrokenPipeError:  # of the output, as in `| head -1`: click ends the command
        raise
    except OSError as error:
        raise click.ClickException(f"{error}; choose another data folder with --data-dir") from error


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _print(who: str, directory: Path, *, sign: bool, **options: Any) -> None:
    from gateway.commands.impersonating import Wanted, print_identity  # noqa: PLC0415 -- as above

    listed = options["permissions"]
    caller = {
        "organization": options["organization"],
        "role": options["role"],
        "permissions": None if listed is None else [one.strip() for one in listed.split(",") if one.strip()],
        "name": options["name"],
        "is_super_admin": options["super_admin"],
        "method": options["auth"],
    }
    same = ("method", "path", "url", "audience", "seconds", "headers", "as_json", "serve_keys")
    print_identity(
        Wanted(who=who, caller=caller, sign=sign, **{name: options[name] for name in same}), directory
    )
