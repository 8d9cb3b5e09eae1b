"""Commands ``completion`` and ``man``: files that packages install, and the page of all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import ShellComplete, get_completion_class

from gateway.commands.failing import EXIT_CODES
from gateway.commands.tree import PROGRAM, described
from gateway.version import running_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.commands.tree import Described

SHELLS: Final = ("bash", "zsh", "fish")
COMPLETE_VARIABLE: Final = "_WHATOMATE_GATEWAY_COMPLETE"
"""The environment variable in which the shell's script asks for completions; click derives it from the name."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and their values in SHELL.

    Install it as /usr/share/bash-completion/completions/whatomate-gateway,
    /usr/share/zsh/vendor-completions/_whatomate-gateway, or
    /usr/share/fish/vendor_completions.d/whatomate-gateway.fish; or, for yourself, evaluate it as your shell starts.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"the installed click has no completion for {shell}")
    # The base class: that of bash asks for the version of the bash here, and the script is for other machines too.
    script = ShellComplete.source(kind(context.find_root().command, {}, PROGRAM, COMPLETE_VARIABLE))
    click.echo(script.strip())


@click.command("man")
@click.option(
    "--format",
    "form",
    type=click.Choice(["man", "markdown"]),
    default="man",
    show_default=True,
    help="man is whatomate-gateway(1) for man(1); markdown is docs/commands.md.",
)
@click.pass_context
def man(context: click.Context, form: str) -> None:
    """Print the manual page of all commands; install it as /usr/share/man/man1/whatomate-gateway.1."""
    commands = list(described(context.find_root().command))
    click.echo("\n".join(_markdown(commands) if form == "markdown" else _page(commands)))


_OTHERS: Final = (
    "Commands that ask are audit, explain, token inspect, audit-log verify and migrate --check. Two that ask as well "
    "have a code less: check-config exits with 2 for a problem of any kind, and health with 1 where nobody answers, "
    "since Docker knows no other code."
)
_ENVIRONMENT: Final = (
    "GATEWAY_* variables, or files named by GATEWAY_*_FILE, in .env or in GATEWAY_SECRETS_DIR; "
    f"`{PROGRAM} settings` lists all of them with their meanings."
)

# -- man(7) -------------------------------------------------------------------------------------------------------


def _page(commands: list[Described]) -> Iterator[str]:
    program, *rest = commands
    yield '.\\" Generated from the commands themselves by `whatomate-gateway man`.'
    yield f'.TH WHATOMATE\\-GATEWAY 1 "" "{PROGRAM} {_roff(running_version())}"'
    # Lines of names are neither hyphenated, as names are copied, nor spread, as they have no spaces to spread.
    yield from (".nh", ".ad l")
    yield from (".SH NAME", f"{_roff(PROGRAM)} \\- {_roff(_lowered(program.paragraphs[0]))}")
    yield ".SH SYNOPSIS"
    yield from (f".B {_roff(PROGRAM)}", _roff("COMMAND [OPTIONS] [ARGS]..."))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(program.paragraphs[1:])
    yield from _options(program)
    yield from (".PP", _roff("Every command has --help."))
    yield ".SH COMMANDS"
    for one in rest:
        yield f".SS {_quoted(one.name)}"
        if not one.is_group:
            yield from (".nf", f".B {_roff(f'{PROGRAM} {one.usage}')}", ".fi", ".PP")
        yield from _paragraphs(one.paragraphs)
        yield from _options(one)
        if one.fields:
            yield from (".PP", "Fields:")
            for field in one.fields:
                yield from (".TP", f".I {_roff(field.name)}", _roff(field.meaning))
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODES.items():
        yield from (".TP", f".B {code}", _roff(meaning))
    yield from (".PP", _roff(_OTHERS))
    yield from (".SH ENVIRONMENT", _roff(_ENVIRONMENT))


def _paragraphs(paragraphs: Sequence[str]) -> Iterator[str]:
    for place, one in enumerate(paragraphs):
        if place:
            yield ".PP"
        yield _roff(one)


_BREAK: Final = "|\\:"
"""A bar behind which a line may be broken: a choice of many words is longer than a line."""


def _options(command: Described) -> Iterator[str]:
    for names, meaning in command.options:
        yield from (".TP", f".B {_roff(names).replace('|', _BREAK)}", _roff(meaning))


def _roff(text: str) -> str:
    """Return `text` as roff: backslashes and hyphens escaped, no line that begins like a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = escaped.replace("`", "\\(ga").replace("'", "\\(aq").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _quoted(text: str) -> str:
    return f'"{_roff(text)}"'


def _lowered(sentence: str) -> str:
    return (sentence[0].lower() + sentence[1:]).rstrip(".")


# -- docs/commands.md ---------------------------------------------------------------------------------------------

_PREAMBLE: Final = """
<!-- Generated from the commands themselves by `make docs`; edit gateway/commands/ instead. -->
# Commands

Every command has `--help`. A result goes to standard output and everything else to standard error.

**Names.** A user is named by id or e-mail, an organization by id, slug or name, a role by name or id. A name that
several have is refused, and the candidates are listed with their ids.

**Lists.** On a terminal a list is a table with a head. Into a pipe or a file it goes as lines with tabs between the
values and no head, for `cut` and `awk`: the same columns in the same order. `--json` prints one array of objects, which
has every field of the table that stands here with the command; absent values are `null`, moments are RFC 3339 in UTC.
Names of fields stay what they are. Control characters in values are escaped.

**When it holds.** What a command changes in the database holds in running gateways at once: triggers tell them, as they
do of changes by Whatomate. Where `GATEWAY_DATABASE_TRIGGERS` is off it holds within `GATEWAY_IDENTITY_CACHE_SECONDS`.

**Completion.** Packages install it. Without one, for bash, zsh and fish:

```console
$ whatomate-gateway completion bash > ~/.local/share/bash-completion/completions/whatomate-gateway
$ whatomate-gateway completion zsh > ~/.zfunc/_whatomate-gateway     # a folder in fpath, before compinit
$ whatomate-gateway completion fish > ~/.config/fish/completions/whatomate-gateway.fish
```

**Manual page.** `whatomate-gateway man > whatomate-gateway.1`; `man ./whatomate-gateway.1` shows it.
"""


def _markdown(commands: list[Described]) -> Iterator[str]:
    yield _PREAMBLE.strip()
    yield from ("", "## Exit codes", "", "| code | meaning |", "|---|---|")
    yield from (f"| {code} | {_cell(meaning)} |" for code, meaning in EXIT_CODES.items())
    yield from ("", *_wrapped(_OTHERS))
    for one in commands[1:]:
        yield from ("", f"{'##' if len(one.words) == 1 else '###'} {one.name}")
        if not one.is_group:
            yield from ("", "```", f"{PROGRAM} {one.usage}", "```")
        for paragraph in one.paragraphs:
            yield from ("", *_wrapped(paragraph))
        if one.options:
            yield from ("", "| option | meaning |", "|---|---|")
            yield from (
                f"| `{names.replace('|', _BAR)}` | {_cell(meaning)} |" for names, meaning in one.options
            )
        if one.fields:
            yield from ("", "| field | what it is | in the table |", "|---|---|---|")
            yield from (
                f"| `{field.name}` | {_cell(field.meaning)} | {'yes' if field.in_table else '`--json` alone'} |"
                for field in one.fields
            )


def _wrapped(paragraph: str) -> list[str]:
    return click.wrap_text(paragraph, width=120).splitlines()


_BAR: Final = "\\|"


def _cell(text: str) -> str:
    return text.replace("|", _BAR).replace("<", "&lt;").replace("*", "\\*")
