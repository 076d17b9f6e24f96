"""The tensors of a Hugging Face directory, read by the library safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors

NUMBERS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def tensors_of(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor in float32: by the index where there is one, so that what it does not name is left out."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = json.loads(index.read_text("utf-8"))["weight_map"]
        files = {file: {name for name in named if named[name] == file} for file in dict.fromkeys(named.values())}
    else:
        files = {"model.safetensors": None}
    for file, wanted in files.items():
        for name, about in sorted(safetensors.deserialize((folder / file).read_bytes()), key=lambda one: one[0]):
            if wanted is not None and name not in wanted:
                continue
            values = np.frombuffer(about["data"], NUMBERS[about["dtype"]]).reshape(about["shape"])
            wide = (values.astype(np.uint32) << 16).view(np.float32) if about["dtype"] == "BF16" else values
            yield name, wide.astype(np.float32)
