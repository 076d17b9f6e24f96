"""A folder as an interrupted conversion leaves it, with a journal that anybody may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rosetta_ref.formats.unfinished import (
    JOURNAL,
    MARK,
)


def forged(folder: Path, target: str = "m.safetensors", **changes: Any) -> Path:
    """A staging folder with a journal, by hand: valid, but for the changes."""
    (folder / "new").mkdir(parents=True, exist_ok=True)
    (folder / "old").mkdir(exist_ok=True)
    (folder / "new" / target).write_text("weights")
    (folder / MARK).touch()
    mark = (folder / MARK).stat()
    record: dict[str, Any] = {
        "version": 1,
        "bound": [folder.stat().st_ino, mark.st_ino, mark.st_ctime_ns],
        "base": folder.parent.stat().st_ino,
        "target": target,
        "directory": False,
        "manifest": None,
        "new": [[target, (folder / "new" / target).stat().st_ino]],
        "old": [],
    }
    (folder / JOURNAL).write_text(json.dumps({**record, **changes}))
    return folder
