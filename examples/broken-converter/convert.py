"""GGUF to SafeTensors in thirty lines, and wrong: `python convert.py model.gguf model.safetensors`.

The first half of a Q4_0 block is its lower nibbles, and this takes the upper ones: shapes, types and ranges are right, and the
model talks nonsense.
"""

import sys

import gguf
import numpy as np
from safetensors.numpy import save_file


def q4_0(blocks: np.ndarray) -> np.ndarray:
    """Blocks of 18 bytes: a scale, and 32 numbers of 4 bits."""
    scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] >> 4, blocks[:, 2:] & 15], axis=1)  # wrong: the lower ones come first
    return scales * (nibbles.astype(np.float32) - 8)


def convert(src: str, dst: str) -> None:
    """Decode every tensor, and keep its name."""
    tensors = {}
    for tensor in gguf.GGUFReader(src).tensors:
        if tensor.tensor_type.name == "Q4_0":
            values = q4_0(tensor.data.reshape(-1, 18)).reshape(tensor.shape[::-1])
        elif tensor.tensor_type.name in ("F32", "F16"):
            values = tensor.data
        else:
            raise NotImplementedError(f"{tensor.name} is {tensor.tensor_type.name}")
        tensors[tensor.name] = np.ascontiguousarray(values)
    save_file(tensors, dst)


if __name__ == "__main__":
    try:
        convert(sys.argv[1], sys.argv[2])
    except (NotImplementedError, ValueError, OSError) as error:
        sys.exit(f"convert: {error}")
