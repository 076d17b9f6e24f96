"""A synthetic GGUF file of any size: a llama model with F16 matrices and the tokenizer of the demo model.

`python benchmarks/memory.py OUT.gguf [GIGABYTES]`. gguf-py writes it, tensor by tensor, so this needs little memory
itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np

DEMO = Path(__file__).parents[1] / "rosetta_ref" / "demo" / "tiny.gguf"
E, F, HEADS, KV_HEADS = 2048, 8192, 32, 8
KV = E // HEADS * KV_HEADS
LAYER = {
    "attn_norm": (E,), "ffn_norm": (E,), "attn_q": (E, E), "attn_k": (KV, E), "attn_v": (KV, E), "attn_output": (E, E),
    "ffn_gate": (F, E), "ffn_up": (F, E), "ffn_down": (E, F),
}  # fmt: skip


def shapes(vocabulary: int, size: int) -> dict[str, tuple[int, ...]]:
    """As many layers as make up `size` bytes."""
    layers = max(round(size / sum(2 * int(np.prod(shape)) for shape in LAYER.values())), 1)
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocabulary, E), "output_norm.weight": (E,)}
    for layer in range(layers):
        found |= {f"blk.{layer}.{name}.weight": shape for name, shape in LAYER.items()}
    return found


def copy_tokenizer(writer: gguf.GGUFWriter) -> int:
    """The tokenizer keys of the demo model; the size of its vocabulary."""
    fields = gguf.GGUFReader(DEMO).fields
    for name, field in fields.items():
        if name.startswith("tokenizer."):
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    return len(fields["tokenizer.ggml.tokens"].data)


def make(path: Path, size: int) -> None:
    """Write a file of about `size` bytes."""
    writer = gguf.GGUFWriter(path, "llama")
    names = shapes(vocabulary := copy_tokenizer(writer), size)
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(2048)
    writer.add_embedding_length(E)
    writer.add_feed_forward_length(F)
    writer.add_block_count(sum(name.endswith("attn_q.weight") for name in names))
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(E // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    for name, shape in names.items():
        dtype = np.dtype(np.float32 if len(shape) == 1 else np.float16)
        writer.add_tensor_info(name, shape, dtype, int(np.prod(shape)) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    values = np.random.default_rng(0).standard_normal(F * E, np.float32)
    halves = values.astype(np.float16)
    for shape in names.values():
        count = int(np.prod(shape))
        writer.write_tensor_data((values if len(shape) == 1 else halves)[:count].reshape(shape))
    writer.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(float(sys.argv[2] if len(sys.argv) > 2 else 4) * 1e9))
