"""Sketches of models: names, numbers and row lengths as of real ones, with a few rows of random F32, written with gguf-py.

llama.cpp's quantiser looks at no more than that. The tensors stand in a shuffled order unless told otherwise,
since no type may depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np


@dataclass(frozen=True)
class Sketch:
    """A model's numbers. `width` is the row length of most matrices, `inner` that of ffn_down."""

    architecture: str = "llama"
    layers: int = 2
    heads: int = 8
    kv_heads: int | list[int] = 8
    width: int = 256
    inner: int = 512
    tied: bool = True
    rows: int = 2
    experts: int = 0
    fused: bool = False
    ints: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor and its shape."""
        rows, width, inner = self.rows, self.width, self.inner
        found: dict[str, tuple[int, ...]] = {"token_embd.weight": (rows, width), "output_norm.weight": (width,)}
        if not self.tied:
            found["output.weight"] = (rows, width)
        stacked = (self.experts,) if self.experts else ()
        suffix = "_exps" if self.experts else ""
        for layer in range(self.layers):
            part = f"blk.{layer}."
            for name in ("attn_qkv",) if self.fused else ("attn_q", "attn_k", "attn_v"):
                found[f"{part}{name}.weight"] = (rows, width)
                found[f"{part}{name}.bias"] = (rows,)
            found |= {f"{part}{name}.weight": (width,) for name in ("attn_norm", "ffn_norm")}
            found[f"{part}attn_output.weight"] = (rows, width)
            found |= {f"{part}{name}{suffix}.weight": (*stacked, rows, width) for name in ("ffn_gate", "ffn_up")}
            found[f"{part}ffn_down{suffix}.weight"] = (*stacked, rows, inner)
            if self.experts:
                found[f"{part}ffn_gate_inp.weight"] = (self.experts, width)
                found[f"{part}ffn_down_shexp.weight"] = (rows, inner)
        return found | dict(self.more)

    def write(self, path: Path, *, seed: int = 0, shuffled: bool = True) -> Path:
        """The model as a GGUF file; unless `shuffled`, with its tensors in the order that llama.cpp writes them in."""
        random = np.random.default_rng(seed)
        writer = gguf.GGUFWriter(path, self.architecture)
        writer.add_file_type(0)
        writer.add_context_length(64)
        writer.add_block_count(self.layers)
        writer.add_embedding_length(self.width)
        writer.add_feed_forward_length(self.inner)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_layer_norm_eps(1e-6)
        if self.experts:
            writer.add_expert_count(self.experts)
            writer.add_expert_used_count(2)
        for name, number in self.ints.items():
            writer.add_uint32(f"{self.architecture}.{name}", number)
        writer.add_tokenizer_model("no_vocab")
        writer.add_vocab_size(32)
        shapes = self.shapes()
        names = sorted(shapes, key=lambda name: (int(name.split(".")[1]) if name.startswith("blk.") else -1, name))
        for name in map(str, random.permutation(names)) if shuffled else names:
            writer.add_tensor(name, random.standard_normal(shapes[name]).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def weights(self, *, seed: int = 1) -> dict[str, np.ndarray]:
        """Plausible importance for every matrix but the embedding: squares of activations, some of them much larger."""
        random = np.random.default_rng(seed)
        found = {}
        for name, shape in self.shapes().items():
            if len(shape) > 1 and name != "token_embd.weight" and "gate_inp" not in name:
                experts = shape[0] if len(shape) == 3 else 1
                found[name] = (random.standard_normal((experts, shape[-1])) ** 2).astype(np.float32)
                found[name][:, ::37] *= np.float32(50)
        return found


def write_imatrix(path: Path, weights: Mapping[str, np.ndarray], *, count: float = 512.0, chunks: int = 3) -> Path:
    """An importance matrix as llama-imatrix writes one; the weights come out as they are given, where `count` is a power of two."""
    writer = gguf.GGUFWriter(path, "none")
    writer.kv_data[0].pop("general.architecture")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["calibration.txt", "more.txt"])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in weights.items():
        writer.add_tensor(f"{name}.in_sum2", (values * np.float32(count)).astype(np.float32))
        writer.add_tensor(f"{name}.counts", np.full((len(values), 1), count, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
