"""mlx: load the one format, save the other. Q4_0, Q4_1 and Q8_0 become arrays of its own kind, other blocks float16."""

from __future__ import annotations

from pathlib import Path


def convert(src: str | Path, dst: str | Path) -> None:
    """GGUF <-> SafeTensors, names as they are."""
    import mlx.core as mx

    arrays, metadata = mx.load(str(src), return_metadata=True)
    if str(dst).endswith(".gguf"):
        mx.save_gguf(str(dst), arrays, metadata)
    else:
        mx.save_safetensors(str(dst), arrays, {key: value for key, value in metadata.items() if isinstance(value, str)})
