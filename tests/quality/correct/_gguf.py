"""A GGUF file read and written by gguf-py, with its metadata as it is: what converters within GGUF have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

#: Of a file itself: gguf-py writes its own.
_OWN = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count")
#: Bytes of a tensor as gguf-py takes them (rows of bytes), and their type.
Encoded = tuple[Any, gguf.GGMLQuantizationType]


def rewrite(
    src: str | Path, dst: str | Path, encoded: Callable[[str, Any], Encoded], keys: Mapping[str, int] | None = None
) -> None:
    """Write a file anew: each tensor, in float32, becomes what `encoded` gives for its name; `keys` are U32 that it gets."""
    reader = gguf.GGUFReader(src)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(dst, architecture)
    keys = dict(keys or {})
    if "general.alignment" in reader.fields:  # gguf-py pads by what it was told, not by the key
        writer.data_alignment = reader.alignment
    for name, field in reader.fields.items():
        if name in _OWN or name == "general.architecture" or name in keys:
            continue
        kind, item = field.types[0], field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, item)
    for name, value in keys.items():
        writer.add_uint32(name, value)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        data, kind = encoded(tensor.name, np.ascontiguousarray(values, np.float32))
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
