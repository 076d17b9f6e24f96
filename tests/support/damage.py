"""Converted models that are wrong in one known way: edits of files, by libraries that nobody here wrote where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

Tensors = dict[str, np.ndarray]


def edit_weights(folder: Path, edit: Callable[[Tensors], None]) -> None:
    """Change the tensors of a Hugging Face directory with one file."""
    path = folder / "model.safetensors"
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    edit(tensors)
    save_file(tensors, path, metadata)


def edit_json(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def pairs_to_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """GGUF's order of the rows of q or k to Hugging Face's, for so many heads."""
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def halves_to_pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    """The way back."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)
