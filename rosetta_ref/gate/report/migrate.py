"""Rewrite a file of another project to today's names: a file of expectations, a result.json, or the entries of a rosetta.toml.

In YAML and TOML nothing but the names changes: comments, order, quotes and line ends of everything else stay. The file appears
whole or not at all.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rosetta_ref import evidence, foreign
from rosetta_ref.gate import names
from rosetta_ref.gate.converter.named import read_entries
from rosetta_ref.gate.report import expectations, history, migrate_entries
from rosetta_ref.gate.report.expectations import ExpectationError

_BOM = "\ufeff"


class _Change(NamedTuple):
    """Characters of a text, and what comes in their place."""

    start: int
    stop: int
    text: str


def migrate(path: Path) -> bool:
    """Rewrite a file; False where it has today's names already.

    Raises ExpectationError, HistoryError or EntryError for what is no such file, LimitExceededError and its kin, and OSError.
    """
    target = path.resolve()  # what a link points to is rewritten, and the link stays
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", names.OldNameWarning)
        if target.suffix == ".json":
            return _migrate_result(target)
        if target.suffix == ".toml":
            return _migrate_entries(target)
        return _migrate_expectations(target)


def _migrate_result(path: Path) -> bool:
    value = history.read(path)  # read by today's names
    if foreign.json_object(foreign.read_file(path, "record-bytes"), file=path) == value:
        return False
    evidence.write_json(path, value)
    return True


def _migrate_entries(path: Path) -> bool:
    read_entries(path)
    text = foreign.text_of(foreign.read_file(path, "toml-bytes"), file=path)
    made = migrate_entries.rewritten(text, path)
    if made == text:
        return False
    evidence.write_text(path, made)
    return True


def _migrate_expectations(path: Path) -> bool:
    before = expectations.load(path, drafting=True)
    data = foreign.read_file(path, "yaml-bytes")
    text = foreign.text_of(data, file=path)
    try:
        made = rewritten(text)
        if made == text:
            return False
        after = expectations.parse(made, drafting=True)
    except ExpectationError as error:
        raise error.at(file=path) from None
    if after != before:
        raise ExpectationError("it cannot be rewritten: its entries would mean something else", file=path)
    evidence.write_text(path, made)
    return True


def rewritten(text: str) -> str:
    """A file of expectations with today's names, and the line that says so. Raises ExpectationError."""
    expectations.parse(text, drafting=True)
    items = _items(text)
    if not items:
        return text
    said = expectations.version_of(text)
    if said == names.VERSION:
        return text
    changes = [change for item in items for change in _changes(text, item, said)]
    for change in sorted(changes, reverse=True):
        text = text[: change.start] + change.text + text[change.stop :]
    return _stated(text, said)


def _items(text: str) -> list[Any]:
    """The nodes of the entries, with their places in the text."""
    node = _sequence(text)
    return [] if node is None else list(node.value)


def _sequence(text: str) -> Any:
    """The node of the list; None where there is none."""
    import yaml

    node = yaml.compose(text, yaml.SafeLoader)
    return node if isinstance(node, yaml.SequenceNode) else None


def _changes(text: str, item: Any, said: int) -> Iterator[_Change]:
    renames: dict[str, Callable[[str], str]] = {
        "kinds": lambda word: names.kind(word, names=said),
        "pattern": lambda word: names.case(word, names=said),
    }
    for key, value in item.value:
        rename = renames.get(key.value)
        if rename is None:
            continue
        for node in value.value if isinstance(value.value, list) else [value]:
            if (new := rename(node.value)) != node.value:
                start, stop = node.start_mark.index, node.end_mark.index
                old = text[start:stop]
                yield _Change(
                    start,
                    stop,
                    json.dumps(new, ensure_ascii=False) if old[:1] in "'\"" else old.replace(node.value, new),
                )


def _stated(text: str, said: int) -> str:
    """With the version of the names: in the place of the one that is stated, or before the first entry."""
    whole = _sequence(text)
    first = whole.value[0]
    for key, value in first.value:
        if key.value == "names":
            return text[: value.start_mark.index] + str(names.VERSION) + text[value.end_mark.index :]
    dash, entry = whole.start_mark.index, first.start_mark.index
    indent = text[text.rfind("\n", 0, dash) + 1 : dash].removeprefix(_BOM)
    if text[dash] != "-" or indent.strip(" "):
        raise ExpectationError("names can only be stated in a list that has one entry per `-`")
    end = "\r\n" if "\r\n" in text else "\n"
    between = text[dash + 1 : entry]
    gap = between if between and not between.strip(" ") else " "  # the entry may begin below its `-`
    return f"{text[:dash]}-{gap}names: {names.VERSION}{end}{indent}{text[dash:]}"
