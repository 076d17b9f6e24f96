"""The reference as the converter `convert(src, dst)` that notes the sha256 of all it is given and of all it writes.

`FREEZE_FUNCTION` is the `file.py:function` that converts, `FREEZE_NOTES` the file that a line of JSON is added to for each call.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

_PART = re.compile(r"\d{5}-of-")


def convert(src: str | Path, dst: str | Path, **options: Any) -> None:
    """Convert, and note it. Raises what the reference raises."""
    note = {"given": sums(Path(src)), "to": Path(dst).suffix, "options": options}
    try:
        _function()(src, dst, **options)
    except Exception as error:
        _add({**note, "refused": f"{type(error).__name__}: {error}"})
        raise
    _add({**note, "written": sums(Path(dst))})


def sums(path: Path) -> dict[str, str]:
    """The sha256 of a file with the other parts of it, or of every file of a directory, by name."""
    home = path if path.is_dir() else path.parent
    files = path.rglob("*") if path.is_dir() else home.glob(_PART.sub("*-of-", path.name))
    return {
        file.relative_to(home).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
        if file.is_file()
    }


def _add(note: dict[str, Any]) -> None:
    with Path(os.environ["FREEZE_NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(json.dumps(note) + "\n")


_loaded: dict[str, Any] = {}


def _function() -> Any:
    """That of `FREEZE_FUNCTION`, loaded once."""
    file, _, name = os.environ["FREEZE_FUNCTION"].rpartition(":")
    if file not in _loaded:
        spec = importlib.util.spec_from_file_location("freeze_function", file)
        assert spec is not None
        assert spec.loader is not None
        _loaded[file] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(_loaded[file])
    return getattr(_loaded[file], name)
