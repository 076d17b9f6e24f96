"""Command lines with {src}, {dst} and other places in braces: how they are read, and how they are filled.

A template is split as a POSIX shell splits words (quotes and backslashes mean the same), but no shell runs: no variables, no
globs, no pipes. `sh -c '... "$1" "$2"' sh {src} {dst}` is for those who need them.
"""

from __future__ import annotations

import os
import shlex
import string
from collections.abc import Sequence
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.registry import by_suffix

PLACEHOLDERS = ("src", "dst", "src_format", "dst_format", "workdir", "type")


class CommandError(RosettaError):
    """A command line is words with {src}, {dst} and perhaps {src_format}, {dst_format}, {workdir}, {type}."""


def template(command: str) -> list[str]:
    """The words of a command line. Raises CommandError.

    >>> template("apr rosetta convert '{src}' {dst}")
    ['apr', 'rosetta', 'convert', '{src}', '{dst}']
    """
    try:
        words = shlex.split(command)
        known = {name for word in words for name in placeholders(word)}
    except ValueError as error:
        raise CommandError(f"{command!r}: {error}") from None
    if not words:
        raise CommandError("the command is empty")
    if unknown := sorted(known - set(PLACEHOLDERS)):
        raise CommandError(f"{command!r}: unknown {{{unknown[0]}}}", hint="A brace that is meant is written twice.")
    if missing := [name for name in ("src", "dst") if name not in known]:
        raise CommandError(f"{command!r}: {{{missing[0]}}} is missing")
    return words


def placeholders(word: str) -> set[str]:
    """The names in braces. Raises ValueError for braces that do not match, and for formats and conversions."""
    names = set()
    for _, name, form, conversion in string.Formatter().parse(word):
        if form or conversion:
            raise ValueError(f"no format goes with {{{name}}}")
        names |= {name} if name is not None else set()
    return names


def filled(words: Sequence[str], src: Path, dst: Path, type: str | None = None) -> list[str]:  # noqa: A002
    """The words with the values in. A word that holds {type} is left out where no type is asked for: write --type={type}."""
    src, dst = Path(os.path.abspath(src)), Path(os.path.abspath(dst))
    # By the suffix alone: what a malformed file claims to be.
    values = {
        "src": str(src), "dst": str(dst), "workdir": str(dst.parent), "type": type or "",
        "src_format": by_suffix(src).name, "dst_format": by_suffix(dst).name,
    }  # fmt: skip
    return [word.format_map(values) for word in words if type is not None or "type" not in placeholders(word)]
