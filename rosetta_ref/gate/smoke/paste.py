"""The entry of what smoke found, as TOML to paste into a `rosetta.toml`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from rosetta_ref.gate.converter.entry import CRASHED
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.gate.smoke.attempt import Attempt
from rosetta_ref.gate.smoke.smoke import Findings

#: Fields that nothing was found out about: what the entry says is kept.
_KEPT = ("refuse_exit", "refuse_exceptions", "isolated", "lossless", "quantises_on", "disk_limit")
#: Codes by which a program may refuse, and not a shell say that it was killed.
_MAY_REFUSE = range(2, 126)


def as_toml(found: Findings) -> str:
    """The entry, with what works. Nothing where nothing does."""
    if not found.works:
        return ""
    lines = [f"[converters.{_name(found)}]", *(f"{key} = {_value(value)}" for key, value in _fields(found).items())]
    if codes := _perhaps_refusals(found):
        what = "this code" if len(codes) == 1 else "one of these"
        lines.append(f"# refuse_exit = {_value(codes)}  # where {what} is how it refuses: without it, that is a crash")
    return "\n".join(lines) + "\n"


def _perhaps_refusals(found: Findings) -> list[int]:
    """Exit codes that may be refusals: undeclared ones, without a panic or a traceback."""
    crashes = [each.run for each in found.attempts if each.run.outcome == CRASHED]
    codes = {run.exit_code or 0 for run in crashes if run.detail == f"exit code {run.exit_code}"}
    return sorted(codes & set(_MAY_REFUSE))


def _fields(found: Findings) -> dict[str, Any]:
    """The fields that say something."""
    entry = found.entry
    made: dict[str, Any] = {"command": entry.command, "function": entry.function if entry.command is None else None}
    made["pairs"] = _working(found.pairs)
    made["architectures"] = _working(found.architectures)
    tried = dict.fromkeys(name for types in found.types.values() for name in types)
    made["types"] = [name for name in tried if any(_works(types, name) for types in found.types.values())]
    for name in ("tokenizers", "rope_scaling", "quantises"):
        attempts: Mapping[str, Attempt] = getattr(found, name)
        made[name] = _working(attempts) if name == "quantises" or not all(a.works for a in attempts.values()) else None
    made["safetensors_as"] = _form(found)
    made["whole_models"] = found.whole_models
    made["loses"] = [*entry.loses, *(word for word in _refused(found, made["types"]) if word not in entry.loses)]
    made |= {name: getattr(entry, name) for name in _KEPT}
    says = {key: value for key, value in made.items() if value not in (None, (), [], False)}
    return says if found.whole_models is not False else {**says, "whole_models": False}


def _form(found: Findings) -> str | None:
    """Directory or file, where SafeTensors is taken or written at all."""
    forms = [each.safetensors_as for pair, each in found.pairs.items() if each.works and "S" in pair]
    return forms[0] if forms else None


def _refused(found: Findings, types: list[str]) -> Iterator[str]:
    """Types that it takes in one format, and not in another."""
    for pair, tried in found.types.items():
        for name, each in tried.items():
            if not each.works and name in types:
                yield f"{LETTERS[pair[0]]}/{name.lower()}"


def _working(attempts: Mapping[str, Attempt]) -> list[str]:
    return [name for name, each in attempts.items() if each.works]


def _works(attempts: Mapping[str, Attempt], name: str) -> bool:
    return name in attempts and attempts[name].works


def _name(found: Findings) -> str:
    """A name for the table: that of the program, or of the function."""
    name = found.entry.name.rpartition(":")[2] if found.entry.command is None else PurePath(found.entry.name).stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:100] or "converter"


def _value(value: Any) -> str:
    """A value of TOML: lists, texts, numbers and truth values are written as in JSON."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
