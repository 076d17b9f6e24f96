"""gguf-py and safetensors, as in a script of twenty lines: names and rows stay as they are, and nearly all metadata is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

_PLAIN = {gguf.GGMLQuantizationType[name] for name in ("F64", "I8", "I16", "I32", "I64")}


def convert(src: str | Path, dst: str | Path) -> None:
    """GGUF -> SafeTensors decodes everything to float32; SafeTensors -> GGUF writes the arrays down."""
    src, dst = Path(src), Path(dst)
    ends = (src.suffix, dst.suffix)
    if ends == (".gguf", ".safetensors"):
        _to_safetensors(src, dst)
    elif ends == (".safetensors", ".gguf"):
        _to_gguf(src, dst)
    else:
        raise ValueError(f"it does not convert {src.name} to {dst.name}")


def _to_safetensors(src: Path, dst: Path) -> None:
    reader = gguf.GGUFReader(src)
    tensors: dict[str, Any] = {}
    for tensor in reader.tensors:
        kind = tensor.tensor_type
        values = tensor.data if kind in _PLAIN else gguf.dequantize(tensor.data, kind)
        tensors[tensor.name] = np.ascontiguousarray(values)
    save_file(tensors, dst, metadata={"format": "pt"})


def _to_gguf(src: Path, dst: Path) -> None:
    writer = gguf.GGUFWriter(dst, "llama")
    with safe_open(src, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 (no mapping)
            if file.get_slice(name).get_dtype() == "BF16":
                raise NotImplementedError(f"{name} is BF16, which NumPy does not have")
            writer.add_tensor(name, file.get_tensor(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
