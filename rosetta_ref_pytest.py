"""What pytest loads wherever rosetta-ref is installed: next to nothing, until a run asks for `rosetta_ref.gate`, or comes upon a
folder that a reduction left.

A module of its own, since importing anything of the package imports NumPy. The options are declared only in a run of the gate: they
cannot be in the way of anybody else's `--converter`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: The gate, and what is done about what it finds.
PLUGINS = ("rosetta_ref.gate.plugin.plugin", "rosetta_ref.reduce.pytest_gate")
_GATE = re.compile(r"rosetta_ref[./\\]gate[/\\]?($|::|\.?test_gate\b)")


def asks_for_the_gate(args: Sequence[str]) -> bool:
    """Whether one of the arguments is the gate or something in it: with --pyargs a module, else a path or a test's id."""
    return any(_GATE.search(str(arg)) for arg in args)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Load the plugin where it is wanted. Processes of xdist get the arguments, too."""
    if asks_for_the_gate(args):
        for plugin in PLUGINS:
            early_config.pluginmanager.import_plugin(plugin)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """`failures/NAME/expected.json` is a test, if a reduction has left it."""
    if file_path.name != "expected.json" or file_path.parent.parent.name != "failures" or not is_ours(file_path):
        return None
    from rosetta_ref.reduce.folder.pytest_failures import Failure

    return Failure.from_parent(parent, path=file_path)


def is_ours(path: Path) -> bool:
    """Whether a file expected.json is the record of a failure that a reduction has left: docs/shrink.md has the rule.

    Any project may have a folder of that name with anything in it. So nothing is waited for, nothing is large, and nothing raises.
    """
    folder = path.parent
    if not _is_plain_name(folder.name):
        return False
    case = _read(folder / "evidence.json", _MOST_EVIDENCE)
    if case is None or not _is_our_case(_parsed(case)):
        return False
    record = _read(path, _MOST_RECORD)
    if record is None:
        return False
    # Cut short, of another version, with the marks of a merge in it: it says what it is, and its evidence stands beside it.
    return _BEGINS.match(record) is not None or _is_our_record(_parsed(record))


#: Bytes of the two files at most: those of a whole model have 2 MB, and a run of the converter leaves 32,000 characters.
_MOST_RECORD, _MOST_EVIDENCE = 8 << 20, 1 << 20
#: How our records begin.
_BEGINS = re.compile(rb'\s*\{\s*"format"\s*:\s*\d{1,9}\s*,\s*"fingerprint"\s*:\s*\{')
_GATES = re.compile(r"F-CONV-[A-Z0-9-]{1,40}")
_DIGEST, _ID = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")
#: The fields of a record, with their types.
_FIELDS = {
    "format": int, "fingerprint": dict, "source_format": str, "target_format": str, "input": str, "files": dict,
    "safetensors_as": str, "loses": list, "converter": dict, "expected": dict, "wrong": dict, "versions": dict,
}  # fmt: skip
_FORMATS = ("gguf", "apr", "safetensors")


def _is_plain_name(name: str) -> bool:
    """Whether a test may be called that: names stand in terminals, in logs and in XML."""
    return name.isprintable() and "::" not in name and "##[" not in name


def _read(path: Path, most: int) -> bytes | None:
    """The bytes of a regular file, of so many at most; None for anything else. A pipe is not waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0))
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            return file.read(most) if stat.S_ISREG(about.st_mode) and about.st_size <= most else None
    except (OSError, ValueError):
        return None


def _parsed(data: bytes) -> object:
    """The JSON of a file; None for what is none, or not to be read."""
    try:
        found: object = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError, MemoryError):
        return None
    return found


def _is_our_record(found: object) -> bool:
    """Whether that has the structure of an expected.json of ours: each field, of its type."""
    if not isinstance(found, dict) or not all(type(found.get(name)) is kind for name, kind in _FIELDS.items()):
        return False
    fingerprint, files = found["fingerprint"], found["files"]
    words = [fingerprint.get(name) for name in ("gate", "kind", "subject")]
    return (
        all(isinstance(word, str) for word in words)
        and _GATES.fullmatch(words[0]) is not None
        and isinstance(fingerprint.get("cause"), list)
        and found["source_format"] in _FORMATS
        and found["target_format"] in _FORMATS
        and bool(files)
        and all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in files.values())
    )


def _is_our_case(found: object) -> bool:
    """Whether that is our evidence of one failure."""
    case = found[0] if isinstance(found, list) and len(found) == 1 else None
    if not isinstance(case, dict):
        return False
    about, gate, made = case.get("metadata"), case.get("gate_id"), case.get("id")
    return (
        isinstance(gate, str)
        and _GATES.fullmatch(gate) is not None
        and isinstance(made, str)
        and _ID.fullmatch(made) is not None
        and case.get("outcome") == "Falsified"
        and isinstance(about, dict)
        and isinstance(about.get("reproduction"), str)
    )
