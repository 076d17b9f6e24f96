"""qwen3: q and k are normed in each head, whose size is its own. Read from transformers 5.24: models/qwen3/*_qwen3.py."""

from rosetta_ref.inference.architecture import HALVES, Architecture, Role

MODEL = Architecture(
    name="qwen3",
    words=("qwen3", "qwen3forcausallm"),
    weights=(
        Role("token_embd", "model.embed_tokens", "VE"),
        Role("output_norm", "model.norm", "E"),
        Role("output", "lm_head", "VE", optional=True),
        Role("blk.{}.attn_norm", "model.layers.{}.input_layernorm", "E"),
        Role("blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", "QE", bias=True, turned=True),
        Role("blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", "KE", bias=True, turned=True),
        Role("blk.{}.attn_v", "model.layers.{}.self_attn.v_proj", "KE", bias=True),
        Role("blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm", "H", turned=True),
        Role("blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm", "H", turned=True),
        Role("blk.{}.attn_output", "model.layers.{}.self_attn.o_proj", "EQ", bias=True),
        Role("blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm", "E"),
        Role("blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj", "FE"),
        Role("blk.{}.ffn_up", "model.layers.{}.mlp.up_proj", "FE"),
        Role("blk.{}.ffn_down", "model.layers.{}.mlp.down_proj", "EF"),
    ),
    pairing=HALVES,
    biased={"attention_bias": ("attn_",)},
    config={
        "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "head_dim": 128, "rms_norm_eps": 1e-6, "hidden_act": "silu",
        "max_position_embeddings": 32768, "use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28,
        "layer_types": None, "attention_bias": False,
    },
)  # fmt: skip
