"""jsonargparse's messages of many lines as one: key, value and what is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_KEY = re.compile(r'Parser key "([^"]+)":')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
_GIVEN = re.compile(r"(?:Got value|Given value): ?(.*)")
_LONGEST = 300
_GIVE = "give it on the command line or in a YAML"
_NOTHING: Mapping[str, Sequence[str]] = {}


def one_line(message: str, known_classes: Mapping[str, Sequence[str]] = _NOTHING) -> str:
    """Shorten a parse error.

    Args:
        message: What jsonargparse says, of any number of lines.
        known_classes: Names that a key of a class accepts, by key.
    """
    keys = [key.removeprefix("fit.") for key in _KEY.findall(message)]
    key = ".".join(part for part in keys if part != "init_args")
    owner = _CLASS.findall(message)
    more = f"--{key.split('.')[0]}.help {owner[0].rpartition('.')[2]}" if owner else "--help"
    problem = _problem(message, more)
    classes = ", ".join(known_classes.get(key, ()))
    if classes and "is known" in problem:
        problem += f"; give one of {classes}"
    text = f"{key}: {problem}" if key else problem
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... (--debug shows all)"


def _problem(message: str, more: str) -> str:
    lists = f"; {more} lists the keys"
    for pattern, template in (
        (r"unrecognized arguments: -*([\w.]+)", "no such key {0}" + lists),
        (r"Option '([^']+)' is not accepted", "no such key {0}" + lists),
        (r"does not accept option '([^']+)'", "no such key {0}" + lists),
        (r"File does not exist: '([^']+)'", "no file {0}; check the path"),
        (r"Expected '([^']+)' to be a subclass of <class '([^']+)'>", "{0} is no {1}"),
        (r"Expected a dot import path string: (\S+)", "no class or YAML file {0} is known"),
        (r"[Kk]ey [\"']([\w.]+)[\"'] is required", "missing: {0}; " + _GIVE),
        (
            r"arguments are required: (?:(?:fit|validate|test|predict)\.)?(.+)",
            "missing: {0}; " + _GIVE,
        ),
        (r"Problems? parsing config:\s*((?:.|\n)+)", "the YAML cannot be read: {0}"),
    ):
        found = re.search(pattern, message)
        if found:
            return template.format(*(" ".join(group.split()) for group in found.groups()))
    return _type_mismatch(message)


def _type_mismatch(message: str) -> str:
    """What the innermost key accepts and was given."""
    inner = _KEY.split(message)[-1]
    given = [value for value in _GIVEN.findall(inner) if "NestedArg(" not in value]
    # After the inner key come the alternatives of the keys around it, indented less.
    types = re.findall(r"Expected an? (<class '[^']+'>|[^\n]+?)(?:\.? Got value|\.?\n|$)", inner)
    if "Got value" in inner:
        types = types[:1]
    wanted = dict.fromkeys(_plain_type(name) for name in types)
    if wanted and given:
        return f"{given[0].strip()!r} is not accepted; give {' or '.join(wanted)}"
    return " ".join(dict.fromkeys(line.strip(" -") for line in inner.split("\n") if line.strip()))


def _plain_type(name: str) -> str:
    name = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", name)
    literal = re.fullmatch(r"typing\.Literal\[(.*)\]", name)
    if literal:
        return "one of " + literal.group(1).replace("'", "")
    return {"NoneType": "null"}.get(name, name)
