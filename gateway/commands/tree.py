"""Tree of the commands: every command with its usage, its help, its options and the fields of its rows."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from gateway.commands.listing import fields_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.commands.listing import Field

PROGRAM: Final = "whatomate-gateway"


@dataclass(frozen=True)
class Described:
    """A command as documents describe it.

    Attributes:
        words: What is typed after the program's name; empty for the program itself.
        is_group: Whether it has commands below it.
        usage: Its synopsis, without the program's name.
        paragraphs: Its help.
        options: Each as it is written, and what it does; without ``--help``, which every command has.
        fields: Of the rows that it lists; empty if it lists none.
    """

    words: tuple[str, ...]
    is_group: bool
    usage: str
    paragraphs: Sequence[str]
    options: Sequence[tuple[str, str]]
    fields: Sequence[Field]

    @property
    def name(self) -> str:
        """The words in one line."""
        return " ".join(self.words)


def described(root: click.Command) -> Iterator[Described]:
    """Yield `root` and all commands below it, each group before its commands, by name."""
    yield from _walk(root, _context(root, PROGRAM, None), ())


def _walk(command: click.Command, context: click.Context, words: tuple[str, ...]) -> Iterator[Described]:
    is_group = isinstance(command, click.Group)
    records = [
        one.get_help_record(context)
        for one in command.get_params(context)
        if isinstance(one, click.Option) and "--help" not in one.opts
    ]
    yield Described(
        words=words,
        is_group=is_group,
        usage=" ".join([*words, *command.collect_usage_pieces(context)]),
        paragraphs=[
            re.sub(r"\s+", " ", one).strip()
            for one in re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))
            if one.strip()
        ],
        options=[(names, " ".join(meaning.split())) for names, meaning in filter(None, records)],
        fields=fields_of(command),
    )
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _walk(below, _context(below, name, context), (*words, name))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    """Return the context that running `command` would have: commands remember the help option of their first one."""
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)
