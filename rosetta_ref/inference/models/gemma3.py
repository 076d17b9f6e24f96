"""gemma3, text alone: norms around both parts of a layer, and five layers that slide for each that sees everything.

Read from transformers 5.24, models/gemma3/{modeling,configuration}_gemma3.py; GGUF's keys from llama.cpp, src/models/gemma3.cpp.
Every norm is stored as w in Hugging Face, where 1 + w is meant. `attn_logit_softcapping` is a field of the configuration class
that no operation uses.
"""

from rosetta_ref.inference.architecture import HALVES, Architecture, Role

MODEL = Architecture(
    name="gemma3",
    words=("gemma3", "gemma3_text", "gemma3forcausallm"),
    weights=(
        Role("token_embd", "model.embed_tokens", "VE"),
        Role("output_norm", "model.norm", "E", plus_one=True),
        Role("output", "lm_head", "VE", optional=True),
        Role("blk.{}.attn_norm", "model.layers.{}.input_layernorm", "E", plus_one=True),
        Role("blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", "QE", bias=True, turned=True),
        Role("blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", "KE", bias=True, turned=True),
        Role("blk.{}.attn_v", "model.layers.{}.self_attn.v_proj", "KE", bias=True),
        Role("blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm", "H", turned=True, plus_one=True),
        Role("blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm", "H", turned=True, plus_one=True),
        Role("blk.{}.attn_output", "model.layers.{}.self_attn.o_proj", "EQ", bias=True),
        Role("blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm", "E", plus_one=True),
        Role("blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm", "E", plus_one=True),
        Role("blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj", "FE"),
        Role("blk.{}.ffn_up", "model.layers.{}.mlp.up_proj", "FE"),
        Role("blk.{}.ffn_down", "model.layers.{}.mlp.down_proj", "EF"),
        Role("blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm", "E", plus_one=True),
    ),
    pairing=HALVES,
    activation="gelu_tanh",
    scaled_embedding=True,
    width_scaled=(62,),  # 27B
    tied=True,
    gguf={
        "attention.sliding_window": 0, "attention.sliding_window_pattern": 6, "rope.freq_base_swa": 10_000.0,
        "final_logit_softcapping": 0.0,
    },
    apr={
        "attention.sliding_window": "sliding_window", "rope.freq_base_swa": "rope_local_base_freq",
        "final_logit_softcapping": "final_logit_softcapping",
    },
    biased={"attention_bias": ("attn_",)},
    config={
        "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131_072, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
        "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6, "layer_types": None,
        "final_logit_softcapping": None, "use_bidirectional_attention": False,
        "attention_bias": False,
    },
)  # fmt: skip
