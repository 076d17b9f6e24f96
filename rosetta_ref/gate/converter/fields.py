"""The fields of an entry as people write them: in TOML, and as flags. One table; both readers go by it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rosetta_ref.gate.converter import loses
from rosetta_ref.gate.converter.words import ROPE_SCALINGS, TOKENIZERS
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.quant import TYPES
from rosetta_ref.units import byte_size

#: The six pairs, and conversions within a format: those of quantisers.
ALL_PAIRS = (*PAIRS, "G-G", "A-A", "S-S")
_TYPE_NAMES = {name.lower(): name for name in TYPES}

#: Items of a list: each is asked for with every result.
_MOST = 1000
#: Makes the field of a value of TOML. Raises ValueError that says what is wanted.
Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class Field:
    """One field: how its value is read, what its flag is called and says. `text` makes of a flag what TOML would hold."""

    read: Reader
    help: str
    metavar: str | None = None
    text: Callable[[str], Any] = str


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a text is wanted, not {value!r}")
    return value


def is_function(text: str) -> bool:
    """Whether that is a function by its form: module:function or file.py:function."""
    return re.fullmatch(r"([\w.]+|.+\.py):[\w.]+", text) is not None


def _function(value: Any) -> str:
    if not is_function(_text(value)):
        raise ValueError(f"a function is written module:function or file.py:function, not {value!r}")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is wanted, not {value!r}")  # noqa: TRY004 (a wrong value of a file)
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise ValueError(f"a number of seconds is wanted, not {value!r}")
    return float(value)


def _bytes(value: Any) -> int:
    if isinstance(value, str):
        try:
            return byte_size(value)
        except OverflowError:
            raise ValueError("a size has fewer digits") from None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"a number of bytes or a size such as 4GiB is wanted, not {value!r}")
    return value


def _listed(item: Reader) -> Reader:
    """A list of such things, none of them twice."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"a list is wanted, not {value!r}")  # noqa: TRY004 (likewise)
        if len(value) > _MOST:
            raise ValueError(f"{len(value):,} items, where {_MOST:,} are allowed")
        return tuple(dict.fromkeys(item(each) for each in value))

    return read


def _pair(value: Any) -> str:
    if value not in ALL_PAIRS:
        raise ValueError(f"unknown pair {value!r}; pairs are {', '.join(ALL_PAIRS)}")
    return str(value)


def type_name(value: Any) -> str:
    """A type by its name in any case. Raises ValueError."""
    if not isinstance(value, str) or (name := _TYPE_NAMES.get(value.lower())) is None:
        raise ValueError(f"unknown type {value!r}; types are {', '.join(TYPES)}")
    return name


def _exit_code(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 255:
        raise ValueError(f"an exit code is a number from 1 to 255, not {value!r}")
    return value


def _one_of(what: str, names: tuple[str, ...]) -> Reader:
    def read(value: Any) -> str:
        if value not in names:
            raise ValueError(f"unknown {what} {value!r}; there are {', '.join(names)}")
        return str(value)

    return read


def _kind_of_safetensors(value: Any) -> str:
    if value not in ("file", "directory"):
        raise ValueError(f'"file" or "directory" is wanted, not {value!r}')
    return str(value)


def _environment(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError(f"a table of texts is wanted, not {value!r}")
    return value


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


#: Every field of `entry.Entry` but its name.
FIELDS: dict[str, Field] = {
    "command": Field(_text, "the command line, with {src} and {dst}", "COMMAND"),
    "function": Field(_function, "the Python function", "MODULE:FUNCTION"),
    "pairs": Field(_listed(_pair), "pairs that it takes, such as G-A,A-G", "PAIRS", _words),
    "architectures": Field(_listed(_text), "architectures that it takes", "NAMES", _words),
    "types": Field(_listed(type_name), "types that it takes", "TYPES", _words),
    "tokenizers": Field(_listed(_one_of("tokenizer", TOKENIZERS)), "tokenizers that it takes: spm,full-gpt2", "NAMES", _words),
    "rope_scaling": Field(_listed(_one_of("rope scaling", ROPE_SCALINGS)), "rope scalings that it takes", "NAMES", _words),
    "quantises": Field(_listed(type_name), "types that it encodes to when asked", "TYPES", _words),
    "quantises_on": Field(_listed(_pair), "pairs on which it is asked for these types, such as S-G", "PAIRS", _words),
    "safetensors_as": Field(_kind_of_safetensors, "how SafeTensors models are given and asked for: file or directory", "KIND"),
    "time_limit": Field(_seconds, "seconds that one conversion may take", "SECONDS", float),
    "memory_limit": Field(_bytes, "resident memory that it may take", "SIZE"),
    "refuse_exit": Field(_listed(_exit_code), "exit codes that refuse, besides 1", "CODES", _numbers),
    "refuse_exceptions": Field(_listed(_text), "exceptions by which it refuses; of a function, besides the usual", "NAMES", _words),
    "isolated": Field(_flag, "run a function in a process of its own"),
    "lossless": Field(_flag, "it claims that nothing is lost over a chain of conversions"),
    "whole_models": Field(_flag, "it takes only whole models, no arbitrary tensors"),
    "reads_own_files_only": Field(_flag, "of the formats that it writes it reads only files that it wrote itself"),
    "loses": Field(_listed(loses.word), "kinds of findings, gates and inputs that it does not promise", "WORDS", _words),
    "expectations": Field(lambda value: Path(_text(value)), "a YAML file of expected failures", "FILE"),
    "environment": Field(_environment, "set a variable of its environment; may be repeated", "NAME=VALUE"),
    "disk_limit": Field(_bytes, "bytes on the disk that a command may write", "SIZE"),
}  # fmt: skip


#: What --converter itself says.
_NO_FLAGS = ("command", "function")


class Flags(Protocol):
    """Whatever takes flags as argparse does: a parser, a group of one, pytest's."""

    def add_argument(self, flag: str, /, **attributes: Any) -> object:
        """Take a flag."""


def add_flags(group: Flags) -> None:
    """A flag for each field; none is set where it is not given."""
    for name, field in FIELDS.items():
        flag = "--env" if name == "environment" else "--" + name.replace("_", "-")
        if name == "environment":
            group.add_argument(
                flag, dest=name, action="append", metavar=field.metavar, type=_assignment, help=field.help
            )
        elif field.read is _flag:
            group.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None, help=field.help)
        elif name not in _NO_FLAGS:
            group.add_argument(flag, dest=name, metavar=field.metavar, type=_argument(field), help=field.help)


def of_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given as flags."""
    given = {name: getattr(arguments, name, None) for name in FIELDS if name not in _NO_FLAGS}
    given["environment"] = dict(given["environment"] or ()) or None
    return {name: value for name, value in given.items() if value is not None}


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """Fields as the flags that give them.

    >>> as_flags({"pairs": ("G-A", "A-G"), "lossless": False, "environment": {"A": "b c"}})
    ['--pairs=G-A,A-G', '--no-lossless', '--env=A=b c']
    """
    made = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            made.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, Mapping):
            made += [f"--env={key}={each}" for key, each in value.items()]
        else:
            made.append(f"--{flag}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return made


def _argument(field: Field) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return field.read(field.text(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text!r}")
    return name, value
