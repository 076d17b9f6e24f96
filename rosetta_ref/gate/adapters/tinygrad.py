"""tinygrad: its reader of GGUF, which decodes every block, and its writer of SafeTensors."""

from __future__ import annotations

from pathlib import Path


def convert(src: str | Path, dst: str | Path) -> None:
    """GGUF -> SafeTensors, names as they are."""
    from tinygrad import Tensor
    from tinygrad.nn.state import safe_save

    try:
        from tinygrad.llm.gguf import gguf_load
    except ImportError:  # older ones
        from tinygrad.nn.state import gguf_load

    _, tensors = gguf_load(Tensor(Path(src)).to(None))
    safe_save({name: tensor.contiguous().realize() for name, tensor in tensors.items()}, str(dst))
