"""A Hugging Face directory computed in float64, from config.json and the weights alone, as transformers defines it.

Rope and its scalings are those of transformers' modeling_rope_utils: what llama.cpp computes with a conversion is compared with
what the directory means, not with what the converter believes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

Array = NDArray[np.float64]


def frequencies(config: dict[str, Any], size: int) -> tuple[Array, float]:
    """The frequency of each pair of elements, and the factor of cosine and sine."""
    rope = {"rope_theta": config.get("rope_theta")} | (
        config.get("rope_parameters") or config.get("rope_scaling") or {}
    )
    theta, kind = rope["rope_theta"] or 10000.0, rope.get("rope_type", rope.get("type", "default"))
    plain = theta ** -(np.arange(0, size, 2) / size)
    factor = rope.get("factor", 1.0)
    original = rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    if kind == "linear":
        return plain / factor, 1.0
    if kind == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        turns = original * plain / (2 * math.pi)
        smooth = np.clip((turns - low) / (high - low), 0, 1)
        return plain * ((1 - smooth) / factor + smooth), 1.0
    if kind == "yarn":
        original = original or config["max_position_embeddings"]
        bounds = [
            size * math.log(original / (beta * 2 * math.pi)) / (2 * math.log(theta))
            for beta in (rope.get("beta_fast", 32), rope.get("beta_slow", 1))
        ]
        first, last = max(math.floor(bounds[0]), 0), min(math.ceil(bounds[1]), size - 1)
        ramp = np.clip((np.arange(size // 2) - first) / max(last - first, 0.001), 0, 1)
        return plain * ((1 - ramp) + ramp / factor), 0.1 * math.log(factor) + 1
    assert kind == "default"
    return plain, 1.0


class Directory:
    """Weights and configuration of a Hugging Face directory of the llama or qwen2 kind."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.weights: dict[str, Array] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "np") as file:
                self.weights |= {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}  # noqa: SIM118

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0)

    def norm(self, name: str, x: Array) -> Array:
        scale = np.sqrt((x**2).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return x / scale * self.weights[f"{name}.weight"]

    def attention(self, name: str, x: Array) -> Array:
        heads = self.config["num_attention_heads"]
        groups = self.config.get("num_key_value_heads") or heads
        size = self.config.get("head_dim") or self.config["hidden_size"] // heads
        q, k, v = (
            self.linear(f"{name}.{part}_proj", x).reshape(len(x), -1, size).swapaxes(0, 1) for part in ("q", "k", "v")
        )
        k, v = (np.repeat(part, heads // groups, axis=0) for part in (k, v))
        inverse, scale = frequencies(self.config, size)
        angles = np.tile(np.arange(len(x))[:, None] * inverse, 2)
        cosine, sine = np.cos(angles) * scale, np.sin(angles) * scale
        q, k = (p * cosine + np.concatenate([-p[..., size // 2 :], p[..., : size // 2]], -1) * sine for p in (q, k))
        scores = q @ k.swapaxes(1, 2) / math.sqrt(size) + np.triu(np.full((len(x), len(x)), -np.inf), 1)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ v
        return self.linear(f"{name}.o_proj", mixed.swapaxes(0, 1).reshape(len(x), -1))

    def logits(self, tokens: Sequence[int]) -> Array:
        """Shape (tokens, vocabulary)."""
        x = self.weights["model.embed_tokens.weight"][list(tokens)]
        for layer in range(self.config["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            x = x + self.attention(f"{name}.self_attn", self.norm(f"{name}.input_layernorm", x))
            y = self.norm(f"{name}.post_attention_layernorm", x)
            gate = self.linear(f"{name}.mlp.gate_proj", y)
            x = x + self.linear(
                f"{name}.mlp.down_proj", gate / (1 + np.exp(-gate)) * self.linear(f"{name}.mlp.up_proj", y)
            )
        head = "lm_head" if "lm_head.weight" in self.weights else "model.embed_tokens"
        return self.linear(head, self.norm("model.norm", x))
