"""Tensor names both ways, by architecture: tables of templates.

An architecture here is GGUF's: `llama` is what llama, mistral and smollm all are in GGUF. What the two sides call a tensor
is in the table; what else is different (the row order of q and k) is a field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.errors import RosettaError

#: Parts of a model that stand once, and per layer: Hugging Face's name and GGUF's. `.weight` and `.bias` follow.
_ONCE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
_PER_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
#: The one spelling of a layer's number: 00, +0 or ٠ would be another tensor's name on the other side.
_LAYER = "(0|[1-9][0-9]{0,8})"
_HF = re.compile(rf"(?:model\.layers\.{_LAYER}\.)?(.+)\.(weight|bias)")
_GGUF = re.compile(rf"(?:blk\.{_LAYER}\.)?(.+)\.(weight|bias)")

#: Made from the configuration on the way to GGUF; a Hugging Face directory has no such tensor.
ROPE_FREQS = "rope_freqs.weight"


class UnmappedTensorError(RosettaError):
    """A tensor without a mapping is refused, never dropped."""


class UnknownArchitectureError(RosettaError):
    """Only of a known architecture can names and numbers be translated."""


class ExpertsError(RosettaError):
    """A mixture of experts has tensors that the mapping of its dense namesake does not know."""


KEEP_HINT = "--keep-names carries tensors as stored."


@dataclass(frozen=True)
class Architecture:
    """One of GGUF's architectures, and what Hugging Face calls it."""

    name: str
    model_types: tuple[str, ...]
    classes: tuple[str, ...]
    permutes_heads: bool
    has_rope_freqs: bool
    #: Parts of a layer that always have a bias.
    biases: tuple[str, ...] = ()
    once: Mapping[str, str] = field(default_factory=lambda: _ONCE)
    per_layer: Mapping[str, str] = field(default_factory=lambda: _PER_LAYER)

    def to_gguf(self, name: str) -> str:
        """GGUF's name of a Hugging Face tensor. Raises UnmappedTensorError.

        >>> ARCHITECTURES["llama"].to_gguf("model.layers.3.mlp.up_proj.weight")
        'blk.3.ffn_up.weight'
        """
        match = _HF.fullmatch(name)
        if match is not None:
            layer, part, kind = match.groups()
            table = self.once if layer is None else self.per_layer
            if part in table and not (layer is None and name.startswith("model.layers.")):
                return f"{table[part]}.{kind}" if layer is None else f"blk.{layer}.{table[part]}.{kind}"
        raise UnmappedTensorError(f"{self.name} has no such tensor", tensor=name, hint=KEEP_HINT)

    def to_hf(self, name: str) -> str:
        """Hugging Face's name of a GGUF tensor. Raises UnmappedTensorError.

        >>> ARCHITECTURES["qwen2"].to_hf("blk.0.attn_k.bias")
        'model.layers.0.self_attn.k_proj.bias'
        """
        match = _GGUF.fullmatch(name)
        if match is not None:
            layer, part, kind = match.groups()
            table = self.once if layer is None else self.per_layer
            for theirs, ours in table.items():
                if ours == part:
                    return f"{theirs}.{kind}" if layer is None else f"model.layers.{layer}.{theirs}.{kind}"
        raise UnmappedTensorError(f"{self.name} has no such tensor", tensor=name, hint=KEEP_HINT)


#: Every architecture that is known, by GGUF's name.
ARCHITECTURES = {
    "llama": Architecture("llama", ("llama", "mistral"), ("LlamaForCausalLM", "MistralForCausalLM"), True, True),
    "qwen2": Architecture("qwen2", ("qwen2",), ("Qwen2ForCausalLM",), False, False, ("attn_q", "attn_k", "attn_v")),
}


def architecture_of_config(config: Mapping[str, Any]) -> Architecture:
    """The architecture of a config.json. Raises UnknownArchitectureError or ExpertsError."""
    classes = config.get("architectures")
    classes = [] if classes is None else classes
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UnknownArchitectureError(f"architectures is {shown(classes)}", file="config.json", hint=KEEP_HINT)
    for key in ("num_local_experts", "num_experts", "n_routed_experts"):
        if config.get(key):
            raise ExpertsError(f"{key} is {shown(config[key])}", file="config.json", hint=KEEP_HINT)
    for known in ARCHITECTURES.values():
        if any(name in known.classes for name in classes) or (
            not classes and config.get("model_type") in known.model_types
        ):
            return known
    stated = classes or config.get("model_type")
    raise UnknownArchitectureError(f"{shown(stated)}", file="config.json", hint=KEEP_HINT)


def architecture_of_metadata(metadata: Mapping[str, Any]) -> Architecture:
    """The architecture of GGUF metadata. Raises UnknownArchitectureError or ExpertsError."""
    value = metadata.get("general.architecture")
    name = value.plain() if value is not None else None
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UnknownArchitectureError(f"general.architecture is {shown(name)}", hint=KEEP_HINT)
    experts = metadata.get(f"{name}.expert_count")
    if experts is not None and experts.plain():
        raise ExpertsError(f"{name}.expert_count is {shown(experts.plain())}", hint=KEEP_HINT)
    return ARCHITECTURES[name]
