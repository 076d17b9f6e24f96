"""From what a user writes to a converter: a command line, a function, a name of an entry, the flags beside it.

Entries are tables of a `rosetta.toml`, `[converters.NAME]`, or of a `pyproject.toml`, `[tool.rosetta-ref.converters.NAME]`; the
keys are the fields of `entry.Entry`, with dashes or underscores. Paths are relative to the file, and so is {here} in a command;
commands run in the folder that the gate is called from.

An entry is run, so not every file is taken: it is searched for in the current folder, and above it up to the repository's root; it
belongs to whoever runs the gate, and not everybody may write to it. A bundled name means what is bundled; `entry:NAME` is an entry.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.errors import SHOWN, RosettaError, safe_line
from rosetta_ref.gate import names
from rosetta_ref.gate.converter import bundled, fields
from rosetta_ref.gate.converter.command import CommandLine
from rosetta_ref.gate.converter.entry import Converter, Entry
from rosetta_ref.gate.converter.fields import FIELDS, Flags, is_function, of_flags
from rosetta_ref.gate.converter.function import Function, isolated
from rosetta_ref.gate.converter.template import CommandError, template

FILES = ("rosetta.toml", "pyproject.toml")
_REPOSITORIES = (".git", ".hg", ".svn")
#: What an entry is called that has a bundled name.
_APART = "entry:"
#: Entries of a file, and characters of a name, which stands in every result.
_MOST, _LONGEST = 1000, 200


class EntryError(RosettaError):
    """An entry has the keys that are documented, with values of their kinds, and either a command or a function."""


class UnknownConverterError(RosettaError):
    """A converter is a command line with {src} and {dst}, module:function, an entry's name or a bundled name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which converter is meant, and the fields of its entry, as a group of their own."""
    add_flags(parser.add_argument_group("the converter"))


def add_flags(group: Flags) -> None:
    """The same, to whatever takes flags."""
    group.add_argument("--converter", metavar="CONVERTER",
                       help="a command line with {src} and {dst} ({src_format}, {dst_format}, {workdir}, {type}), module:function, "
                            "the name of an entry, or one of " + ", ".join(bundled.NAMES))  # fmt: skip
    group.add_argument("--config", type=Path, metavar="FILE",
                       help="the TOML file of the entries (default: the next rosetta.toml or pyproject.toml upwards, within "
                            "the repository)")  # fmt: skip
    fields.add_flags(group)


def from_arguments(arguments: argparse.Namespace) -> Converter:
    """The converter that the arguments mean; a flag overrides the entry.

    Raises EntryError, UnknownConverterError, CommandError or FunctionError for what cannot be meant, Unavailable for what is not
    installed.
    """
    quiet = getattr(arguments, "quiet", False)
    return resolve(
        arguments.converter, config=arguments.config, overrides=of_flags(arguments), on_line=_ignore if quiet else _say
    )


def _say(line: str) -> None:
    print(safe_line(line, SHOWN), file=sys.stderr)


def _ignore(line: str) -> None:
    """Nobody wants to know."""


def flags(arguments: argparse.Namespace, name: str) -> list[str]:
    """The flags that mean the same converter again."""
    named = {"--converter": arguments.converter or name, "--config": arguments.config}
    given = [f"{flag}={value}" for flag, value in named.items() if value is not None]
    return [*given, *fields.as_flags(of_flags(arguments))]


def resolve(
    converter: str | None, *, config: Path | None = None, overrides: Mapping[str, Any] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> Converter:  # fmt: skip
    """The converter of a command line, a function or a name; None is the only entry that there is. Raises as `from_arguments`.

    `on_line` takes a line about the file of an entry that was found, and about files that are left aside.
    """
    file, entries = (config, read_entries(config)) if config is not None else _found(Path.cwd(), on_line)
    entry = entry_of(converter, entries)
    of_file = any(entry is each for each in entries.values())
    if of_file:
        if config is None:
            on_line(f"entries: {file}")
    elif converter in entries:
        on_line(f"{converter} is the bundled one; that of {file} is {_APART}{converter}")
    try:
        return made(replace(entry, **{**(overrides or {}), **_merged_environment(entry, overrides or {})}))
    except RosettaError as error:
        raise error.at(file=file if of_file else None)  # noqa: B904 (it is the same error)


def made(entry: Entry) -> Converter:
    """The converter of an entry."""
    if entry.command is not None:
        return CommandLine(entry)
    # Its own environment takes a process of its own.
    return isolated(entry) if entry.isolated or entry.environment else Function(entry)


def entry_of(converter: str | None, entries: Mapping[str, Entry]) -> Entry:
    """What a text means, given the entries that there are. Raises UnknownConverterError and Unavailable."""
    if converter is None:
        if len(entries) != 1:
            there = f"the entries are {', '.join(entries)}" if entries else "there is no entry"
            raise UnknownConverterError(f"none was named, and {there}", hint="Name one with --converter.")
        return next(iter(entries.values()))
    if converter in bundled.NAMES:
        return bundled.entry(converter)
    if (named := converter.removeprefix(_APART)) in entries:
        return entries[named]
    if converter.startswith(_APART):  # never a module that happens to be called so
        raise UnknownConverterError(f"there is no entry {named!r}", hint=_meant(named, list(entries)))
    if "{" in converter or re.search(r"\s", converter.strip()):
        words = template(converter)
        return Entry(Path(words[0]).name, command=converter)
    if is_function(converter):
        return Entry(converter, function=converter)
    raise UnknownConverterError(f"there is no {converter!r}", hint=_meant(converter, [*entries, *bundled.NAMES]))


def find_entries(folder: Path, root: Path | None = None) -> dict[str, Entry]:
    """The entries of the next file that has any, in that folder or above it up to the repository's root, or `root`."""
    return _found(folder, _ignore, root)[1]


def _found(
    folder: Path, on_line: Callable[[str], None], root: Path | None = None
) -> tuple[Path | None, dict[str, Entry]]:
    for each in _searched(folder, root):
        for name in FILES:
            path = each / name
            if not path.is_file():
                continue
            if (why := _distrusted(path)) is not None:
                on_line(f"entries: {path} is left aside, since {why}; --config takes it all the same")
            elif found := read_entries(path):
                return path, found
    return None, {}


def _searched(folder: Path, root: Path | None = None) -> list[Path]:
    """The folder, and those above it up to the root of its repository: not past home, another device or another's folder."""
    home = Path(os.path.expanduser("~"))
    searched: list[Path] = []
    try:
        device = folder.stat().st_dev
        for each in (folder, *folder.parents):
            about = each.stat()
            if searched and (about.st_dev != device or not _is_mine(about)):
                break
            searched.append(each)
            if each == root or any((each / name).exists() for name in _REPOSITORIES):
                return searched
            if each == home:
                break
    except OSError:  # a folder that may not be looked into
        pass
    return [folder]


def _is_mine(about: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or about.st_uid == os.geteuid()


def _distrusted(path: Path) -> str | None:
    """Why the entries of a file are not run unasked."""
    try:
        link, about = path.lstat(), path.stat()
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"
    if not (_is_mine(link) and _is_mine(about)):
        return "it belongs to somebody else"
    return "everybody may write to it" if os.name == "posix" and about.st_mode & stat.S_IWOTH else None


def read_entries(path: Path) -> dict[str, Entry]:
    """The entries of a file. Raises EntryError, which names the file, the key and the rule."""
    try:
        document = foreign.toml_of(foreign.read_file(path, "toml-bytes"), file=path)
    except RosettaError as error:
        raise EntryError(f"no TOML: {error.problem}", file=path, offset=error.offset, hint=error.hint) from None
    prefix = "tool.rosetta-ref." if path.name == "pyproject.toml" else ""
    if prefix:
        document = _table(
            path, "tool.rosetta-ref", _table(path, "tool", document.get("tool", {})).get("rosetta-ref", {})
        )
    _known(path, prefix.rstrip("."), document, ["converters"])
    tables = _table(path, f"{prefix}converters", document.get("converters", {}))
    if len(tables) > _MOST:
        raise EntryError(f"{prefix}converters: {len(tables):,} entries, where {_MOST:,} are allowed", file=path)
    if any(len(name) > _LONGEST for name in tables):
        raise EntryError(f"{prefix}converters: a name has at most {_LONGEST} characters", file=path)
    return {name: _entry(path, f"{prefix}converters.{name}", name, table) for name, table in tables.items()}


def _entry(path: Path, place: str, name: str, table: Any) -> Entry:
    """One entry of its table."""
    given = {
        names.field(key.replace("-", "_"), place=f"{path}: {place}"): value
        for key, value in _table(path, place, table).items()
    }
    _known(path, place, given, FIELDS)
    values: dict[str, Any] = {}
    for key, value in given.items():
        try:
            values[key] = FIELDS[key].read(value)
        except ValueError as error:
            raise EntryError(f"{place}.{key}: {error}", file=path) from None
    if ("command" in values) == ("function" in values):
        raise EntryError(
            f"{place}: it has {'both' if 'command' in values else 'neither'} command and function", file=path
        )
    folder = path.parent.absolute()
    if "expectations" in values:
        values["expectations"] = folder / values["expectations"]
    if values.get("function", "").rpartition(":")[0].endswith(".py"):
        values["function"] = str(folder / values["function"])
    if "command" in values:
        here = str(folder).replace("{", "{{").replace("}", "}}")
        values["command"] = _with_here(values["command"], here)
        try:
            template(values["command"])
        except CommandError as error:
            raise EntryError(f"{place}.command: {error}", file=path) from None
    return Entry(name, **values)


def _with_here(command: str, here: str) -> str:
    """The command with {here} in. Words are split first: a folder may have blanks in its name."""
    try:
        return shlex.join(word.replace("{here}", here) for word in shlex.split(command))
    except ValueError:
        return command  # `template` says what is wrong with it


def _table(path: Path, place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EntryError(f"{place}: a table is wanted, not {value!r}", file=path)
    return value


def _known(path: Path, place: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            where = f"{place}: " if place else ""
            raise EntryError(f"{where}unknown key {key!r}", file=path, hint=_meant(key, list(known)))


def _meant(word: str, known: list[str]) -> str:
    if not known:
        return "There is none."
    close = difflib.get_close_matches(word[:_LONGEST], known[:_MOST], 1)
    return safe_line(f"Is {close[0]!r} meant?" if close else f"Known are {', '.join(known)}.", SHOWN)


def _merged_environment(entry: Entry, overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {"environment": {**entry.environment, **overrides.get("environment", {})}}
