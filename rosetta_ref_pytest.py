"""What pytest loads wherever rosetta-ref is installed: next to nothing, until a run asks for `rosetta_ref.gate`, or comes upon a
folder that a reduction left.

A module of its own, since importing anything of the package imports NumPy. The options are declared only in a run of the gate: they
cannot be in the way of anybody else's `--converter`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: The gate, and what is done about what it finds.
PLUGINS = ("rosetta_ref.gate.pytest_plugin", "rosetta_ref.reduce.pytest_gate")
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
    from rosetta_ref.reduce.pytest_failures import Failure

    return Failure.from_parent(parent, path=file_path)


def is_ours(path: Path) -> bool:
    """Whether that is the record of a failure: by its fingerprint, or where it cannot be read by what stands beside it."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, OSError):
        return (path.parent / "evidence.json").exists() and any(path.parent.glob("input*"))
    fingerprint = found.get("fingerprint") if isinstance(found, dict) else None
    return isinstance(fingerprint, dict) and str(fingerprint.get("gate", "")).startswith("F-CONV-")
