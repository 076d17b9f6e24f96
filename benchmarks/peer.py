"""The other side: decode a GGUF file with gguf-py and save it with the safetensors library. No checks, no tokenizer."""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file


def main(source: str, target: str) -> None:
    reader = gguf.GGUFReader(source)
    tensors = {t.name: np.ascontiguousarray(gguf.dequantize(t.data, t.tensor_type), np.float32) for t in reader.tensors}
    Path(target).mkdir()
    save_file(tensors, Path(target) / "model.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
