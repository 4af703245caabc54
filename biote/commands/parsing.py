"""Parsers whose errors are one line, and the shipped configurations found by bare name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from jsonargparse import ArgumentParser

from biote.commands.messages import one_line
from biote.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_configs() -> Path:
    """Folder of the shipped configurations: in the wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def find_shipped(argument: str) -> str:
    """Resolve a YAML file that is not in the working directory among the shipped ones.

    Args:
        argument: A command-line argument, for example ``xl.yaml`` or ``--config=xl.yaml``.

    Returns:
        The argument with the path of the shipped file, or as it was.
    """
    option, equals, value = argument.rpartition("=")
    if not value.endswith((".yaml", ".yml")) or Path(value).exists() or Path(value).is_absolute():
        return argument
    shipped = shipped_configs() / value
    return f"{option}{equals}{shipped}" if shipped.is_file() else argument


def unknown_command(name: str, known: Iterable[str]) -> ConfigError:
    """The error for a command that does not exist, with the nearest that does."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    mend = f"did you mean {near[0]}?" if near else f"commands: {', '.join(known)}"
    return ConfigError(f"no command {name!r}", mend=mend)


def divide_options(parser: ArgumentParser, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide options into those a parser knows, with their values, and all others.

    Args:
        parser: Knows some options; positional arguments it has none.
        arguments: Options and values, ``--name value`` or ``--name=value``.

    Returns:
        Options of the parser, and the others in their order.
    """
    known = {option for action in parser._actions for option in action.option_strings}
    own: list[str] = []
    others: list[str] = []
    target = others
    for argument in arguments:
        if argument.startswith("--") or argument == "-h":
            target = own if argument.partition("=")[0] in known else others
        target.append(argument)
    return own, others


class CommandParser(ArgumentParser):
    """An argument parser that raises one line instead of printing sixty."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise_one_line(self, message, ex)


def raise_one_line(
    parser: ArgumentParser,
    message: str,
    ex: Exception | None,
    known_classes: Mapping[str, Sequence[str]] | None = None,
) -> NoReturn:
    """Raise a parse error as one line.

    A parser that only tries whether a value fits (``exit_on_error`` off) is answered in full:
    jsonargparse reads its message.

    Args:
        parser: Parser that failed.
        message: What it says.
        ex: What it failed on.
        known_classes: Names that a key of a class accepts, by key.

    Raises:
        ConfigError: One line with key, value and what is accepted.
    """
    if not parser.exit_on_error:
        ArgumentParser.error(parser, message, ex)
    raise ConfigError(one_line(message, known_classes or {})) from ex
