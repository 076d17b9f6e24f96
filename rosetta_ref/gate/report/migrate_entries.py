"""Rewrite a file of entries, in TOML, to today's names: keys of entries, and kinds in their `loses`.

Nothing else changes: comments, order and quotes stay. A word of the text is replaced where the file then means what it meant
before, so the same word in a command, a comment or the name of a converter stays, too.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.gate import names
from rosetta_ref.gate.converter.named import EntryError

#: Comments and texts of several lines, which are passed over; texts; bare words.
_TOKEN = re.compile(
    r"""\#[^\n]* | \"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5} | (?P<word>"(?:\\.|[^"\\\n])*" | '[^'\n]*' | [A-Za-z0-9_-]+)""",
    re.VERBOSE | re.DOTALL,
)
#: Old names of one file: each is tried by reading the file.
_MOST = 1000


def rewritten(text: str, path: Path) -> str:
    """The text of a file of entries with today's names. Raises EntryError."""
    wanted, tried = _today(_parsed(text, path), path), 0
    for start, stop, new in reversed([*_old_words(text)]):
        if (tried := tried + 1) > _MOST:
            raise EntryError(f"more than {_MOST:,} words of it are old names", file=path)
        made = text[:start] + new + text[stop:]
        try:
            text = made if _today(_parsed(made, path), path) == wanted else text
        except EntryError:  # the new name stands there already
            continue
    if _renamed(_parsed(text, path), path):
        raise EntryError("it cannot be rewritten: an old name is spelled in an unusual way", file=path)
    return text


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return foreign.toml_of(text.encode(), file=path)
    except foreign.ForeignTextError as error:
        raise EntryError(f"no TOML: {error.problem}", file=path, offset=error.offset) from None


def _old_words(text: str) -> Iterator[tuple[int, int, str]]:
    """Words that may be an old name, with the new one in the same quotes."""
    for found in _TOKEN.finditer(text):
        if (token := found["word"]) is None:
            continue
        if token[0] not in "\"'":
            new = _field(token)
        else:
            word = _unquoted(token).strip()
            new = names.kind(word) if names.kind(word) != word else _field(word)
            new = token if new == word else json.dumps(new, ensure_ascii=False)
        if new != token:
            yield found.start(), found.end(), new


def _unquoted(token: str) -> str:
    try:
        return str(tomllib.loads(f"x = {token}")["x"])
    except tomllib.TOMLDecodeError:
        return token


def _field(word: str) -> str:
    """What a key is called today, with the hyphens that it has."""
    new = names.field(word.replace("-", "_"))
    return word if new == word.replace("-", "_") else new.replace("_", "-") if "-" in word else new


def _converters(document: dict[str, Any], path: Path) -> Any:
    tables = document
    for key in ("tool", "rosetta-ref") if path.name == "pyproject.toml" else ():
        tables = tables.get(key, {}) if isinstance(tables, dict) else {}
    return tables.get("converters", {}) if isinstance(tables, dict) else {}


def _today(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a document means: with the names of today in its entries."""
    entries = _converters(document, path)
    for name, table in entries.items() if isinstance(entries, dict) else ():
        if isinstance(table, dict):
            entries[name] = made = {}
            for key, value in table.items():
                if (new := names.field(key.replace("-", "_"))) in made:
                    raise EntryError(f"{name}: {key} is said twice", file=path)
                made[new] = _kinds(value) if new == "loses" else value
    return document


def _kinds(value: Any) -> Any:
    if isinstance(value, list):
        return [_kinds(each) for each in value]
    return names.kind(value.strip()) if isinstance(value, str) else value


def _renamed(document: dict[str, Any], path: Path) -> bool:
    """Whether an old name is left."""
    entries = _converters(document, path)
    tables = [table for table in entries.values() if isinstance(table, dict)] if isinstance(entries, dict) else []
    return any(
        _field(key) != key or (key == "loses" and _kinds(value) != value)
        for table in tables
        for key, value in table.items()
    )
