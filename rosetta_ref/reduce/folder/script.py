"""build.py: a small script that writes files again, byte for byte, with nothing but `struct`; one line a field."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import PurePosixPath

import numpy as np

from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.fields import Field, format_of, walk

_WIDTH = 120
#: Equal elements in a row that are worth a factor.
_RUN = 16
#: Indentation is no run.
_RUN_OF_SPACES = 80
_HEAD = '''"""Writes {what} next to this script."""

from pathlib import Path
from struct import pack

files = {{}}
'''
_TAIL = """
for name, parts in files.items():
    path = Path(__file__).parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))
"""
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_NUMPY = {"e": np.float16, "f": np.float32, "d": np.float64}


class ScriptPathError(RosettaError):
    """A script writes files beside itself, or below: their names lead nowhere else."""


def build_script(files: Mapping[str, bytes]) -> str:
    """The text of a script that writes these files, by their paths relative to it; the same for the same files.

    Raises ScriptPathError.

    >>> print(build_script({"input.gguf": b"GGUF\\3\\0\\0\\0"}).split("files = {}")[1].split("for")[0].strip())
    files["input.gguf"] = [
        b"GGUF",  # header.magic
        pack("<I", 3),  # header.version
    ]
    """
    for name in files:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise ScriptPathError(f"{name!r} leads elsewhere")
    (first, data), *others = sorted(files.items())
    is_plain = not others and re.fullmatch(r"[\w./-]+", first)
    lines = [_HEAD.format(what=f"{first} ({len(data):,} bytes)" if is_plain else f"{len(files)} files")]
    for name, data in sorted(files.items()):
        lines.append(f"files[{_literal(name)}] = [")
        for field in walk(data, format_of(PurePosixPath(name).name, data)):
            lines += _lines(field)
        lines.append("]")
    return "\n".join(lines) + "\n" + _TAIL


def _lines(field: Field) -> Iterator[str]:
    """A field: on one line with its comment where that fits, else below it."""
    comment = f"# {field.label}" + (f": {field.meaning}" if field.meaning else "")
    written = [line for piece in _pieces(field) for line in piece]
    if len(written) == 1 and len(written[0]) + 2 + len(comment) <= _WIDTH:
        yield f"{written[0]}  {comment}"
    else:
        yield f"    {comment}"[:_WIDTH]
        yield from written


def _pieces(field: Field) -> Iterator[list[str]]:
    """Its expressions: a long run of equal elements is multiplied, what stands between runs is spelled out."""
    size = struct.calcsize("<" + _code(field))
    elements = [field.data[at : at + size] for at in range(0, field.size, size)]
    waiting: list[bytes] = []
    for element, run in groupby(elements):
        count = len(list(run))
        least = _RUN_OF_SPACES if element == b" " else _RUN
        if count < least and (count < len(elements) or count < 4):
            waiting += [element] * count
            continue
        if waiting:
            yield _spelled(field, b"".join(waiting))
            waiting = []
        yield [_repeated(field, element, count)]
    if waiting:
        yield _spelled(field, b"".join(waiting))


def _repeated(field: Field, element: bytes, count: int) -> str:
    if not any(element):
        return rf'    b"\0" * {len(element) * count},'
    (one,) = _spelled(field, element)
    return f"{one[:-1]} * {count},"


def _spelled(field: Field, data: bytes) -> list[str]:
    code = _code(field)
    text = _text(data) if code == "s" else None
    if text is not None:
        return text
    if code == "s" or (code == "B" and len(field.format) > 2):  # codes packed into bytes, not one number of a byte
        return _hex(data)
    return _numbers(field, data)


def _code(field: Field) -> str:
    return field.format[-1]


def _numbers(field: Field, data: bytes) -> list[str]:
    """`pack(...)`; hex where the text of a number would not give its bits back (NaN, infinities)."""
    code = _code(field)
    count = len(data) // struct.calcsize("<" + code)
    form = f"{field.format[0]}{count if count > 1 else ''}{code}"
    values = struct.unpack(form, data)
    if code in _NUMPY:
        if not np.isfinite(values).all():
            return _hex(data)
        texts = [str(_NUMPY[code](value)) for value in values]
    else:
        is_bits = code in "HIQ" and field.group.startswith("data ")
        texts = [f"{value:#x}" if is_bits else str(value) for value in values]
    return _wrapped(f'pack("{form}", ', [f"{text}, " for text in texts[:-1]] + [texts[-1]], "),")


def _hex(data: bytes) -> list[str]:
    rows = [f'"{data[at : at + 32].hex(" ")} "' for at in range(0, len(data), 32)]
    rows[-1] = rows[-1].replace(' "', '"')
    if len(rows) == 1:
        return [f"    bytes.fromhex({rows[0]}),"]
    return ["    bytes.fromhex(", *(f"        {row}" for row in rows), "    ),"]


def _text(data: bytes) -> list[str] | None:
    """Literals, broken after each line of the text and where they get long; None for what is no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    body, last = text[:-1], text[-1]
    if not all(c.isprintable() or c in "\n\t" for c in body) or not (last.isprintable() or last in "\0\n"):
        return None
    width = 50 if "\\" in text else 80
    pieces = [line[at : at + width] for line in _LINE.findall(text) for at in range(0, len(line), width)]
    return [f"    b{_literal(piece)}," if piece.isascii() else f"    {_literal(piece)}.encode()," for piece in pieces]


def _literal(text: str) -> str:
    r"""A literal in double quotes, in single ones where that is easier to read.

    >>> print(_literal('{"a":1}\n'), _literal("it's"), _literal("a"))
    '{"a":1}\n' "it's" "a"
    """
    made = repr(text).replace("##[", r"#\x23[")  # a command to a CI service, wherever somebody prints the script
    return made if made.startswith('"') or '"' in text else f'"{made[1:-1]}"'


def _wrapped(opening: str, tokens: list[str], closing: str) -> list[str]:
    """A call; one of several lines has its arguments indented."""
    line = "    " + opening + "".join(tokens) + closing
    if len(line) <= _WIDTH:
        return [line]
    lines, line = ["    " + opening.rstrip()], " " * 8
    for token in tokens:
        if len(line) + len(token.rstrip()) > _WIDTH:
            lines.append(line.rstrip())
            line = " " * 8
        line += token
    return [*lines, line.rstrip(), "    " + closing]
