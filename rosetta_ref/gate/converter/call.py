"""Calls one Python function as a program: `python -P call.py FUNCTION SRC DST [--type=T] [--refuse=NAME]...`.

FUNCTION is module:function or path/to/file.py:function; alone, it is only looked for.

Exit 0: it returned. Exit 1 and one line: it refused, by an exception named with --refuse. Anything else ends as Python ends it,
with a traceback. Uses the standard library alone, and is run by its path, so that nothing is imported but what is under test.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Collection
from typing import Any

#: Exceptions by which a function says no: deliberate ones. Others (KeyError, IndexError, TypeError, MemoryError) are accidents.
REFUSALS = ("RosettaError", "ValueError", "OSError", "NotImplementedError", "SafetensorError")


def load(name: str) -> Callable[..., Any]:
    """The function; modules of the current folder are found too. Raises whatever importing raises, and TypeError."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module, _, attributes = name.rpartition(":")
    found: Any = _of_file(module) if module.endswith(".py") else importlib.import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    if not callable(found):
        raise TypeError(f"{name} is no function but a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _of_file(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("converter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refuses(error: BaseException, names: Collection[str]) -> bool:
    """Whether an exception is one of those, or of a class below them; by its name, with or without the module."""
    return any(kind.__name__ in names or f"{kind.__module__}.{kind.__name__}" in names for kind in type(error).__mro__)


def main(arguments: list[str]) -> None:
    """Call it."""
    name, *paths = arguments[:3]
    options = arguments[3:]
    values = [option.partition("=")[::2] for option in options]
    names = [value for key, value in values if key == "--refuse"]
    chosen = {key[2:]: value for key, value in values if key == "--type"}
    function = load(name)
    if not paths:
        return
    try:
        function(*paths, **chosen)
    except Exception as error:
        if not refuses(error, names):
            raise
        raise SystemExit(f"{type(error).__name__}: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
