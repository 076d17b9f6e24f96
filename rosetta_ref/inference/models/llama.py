"""llama, and Mistral, which is one. Read from transformers 5.24: models/{llama,mistral}/{modeling,configuration}_*.py.

All layers of Mistral see its sliding window, where there is one; GGUF's llama has no key for it, so no loader of GGUF has one.
"""

from typing import Any

from rosetta_ref.inference.architecture import ADJACENT, Architecture, Role

_MISTRAL: dict[str, Any] = {"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072}
_MISTRAL |= {"sliding_window": 4096, "max_window_layers": 0, "attention_bias": None, "mlp_bias": None}

MODEL = Architecture(
    name="llama",
    words=(
        "llama", "llamaforcausallm", "mistral", "mistralforcausallm", "llama2", "llama3", "smollm", "smollm2",
    ),
    weights=(
        Role("token_embd", "model.embed_tokens", "VE"),
        Role("output_norm", "model.norm", "E"),
        Role("output", "lm_head", "VE", optional=True),
        Role("blk.{}.attn_norm", "model.layers.{}.input_layernorm", "E"),
        Role("blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", "QE", bias=True, turned=True),
        Role("blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", "KE", bias=True, turned=True),
        Role("blk.{}.attn_v", "model.layers.{}.self_attn.v_proj", "KE", bias=True),
        Role("blk.{}.attn_output", "model.layers.{}.self_attn.o_proj", "EQ", bias=True),
        Role("blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm", "E"),
        Role("blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj", "FE", bias=True),
        Role("blk.{}.ffn_up", "model.layers.{}.mlp.up_proj", "FE", bias=True),
        Role("blk.{}.ffn_down", "model.layers.{}.mlp.down_proj", "EF", bias=True),
        Role("rope_freqs", "", "P", optional=True),  # llama3's scaling, which GGUF has as one factor a pair
    ),
    pairing=ADJACENT,
    config={
        "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": None, "head_dim": None, "rms_norm_eps": 1e-6, "hidden_act": "silu",
        "max_position_embeddings": 2048, "attention_bias": False, "mlp_bias": False,
    },
    biased={"attention_bias": ("attn_",), "mlp_bias": ("ffn_",)},
    kin={"mistral": _MISTRAL, "mistralforcausallm": _MISTRAL},
)  # fmt: skip
