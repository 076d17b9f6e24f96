"""qwen3: Qwen 3, with norms of q and k within each head, a stated size of heads, and no biases.

Sources: transformers models/qwen3 (what holds where config.json is silent: Qwen3Config); llama.cpp conversion/qwen.py (Qwen3Model)
and conversion/base.py. llama.cpp computes no window in it, so a config.json that asks for one is refused.
"""

from __future__ import annotations

from rosetta_ref.architectures.record import Model, numbers, roles

MODEL = Model(
    "qwen3",
    classes=("Qwen3ForCausalLM",),
    model_types=("qwen3",),
    once=roles("""
        token_embd     model.embed_tokens        VE
        output_norm    model.norm                E
        output         lm_head                   VE  ?
    """),
    layer=roles("""
        attn_norm      input_layernorm           E
        attn_q         self_attn.q_proj          QE
        attn_k         self_attn.k_proj          KE
        attn_v         self_attn.v_proj          KE
        attn_output    self_attn.o_proj          EQ
        attn_q_norm    self_attn.q_norm          D
        attn_k_norm    self_attn.k_norm          D
        ffn_norm       post_attention_layernorm  E
        ffn_gate       mlp.gate_proj             FE
        ffn_up         mlp.up_proj               FE
        ffn_down       mlp.down_proj             EF
    """),
    numbers=numbers("""
        block_count                       u32  num_hidden_layers        num_layers               =32 needed
        context_length                    u32  max_position_embeddings  max_position_embeddings  =32768 needed
        embedding_length                  u32  hidden_size              hidden_size              =4096 needed
        feed_forward_length               u32  intermediate_size        intermediate_size        =22016 needed
        attention.head_count              u32  num_attention_heads      num_heads                =32 needed
        attention.head_count_kv           u32  num_key_value_heads      num_kv_heads             =32 null=num_attention_heads
        rope.freq_base                    f32  rope_theta               rope_theta               =10000.0 rope
        attention.layer_norm_rms_epsilon  f32  rms_norm_eps             rms_norm_eps             =1e-6 zero needed
        attention.key_length              u32  head_dim                 -                        =128
        attention.value_length            u32  head_dim                 -                        =128
        vocab_size                        u32  vocab_size               vocab_size               late untold
    """),
    rope="NEOX",
    apr_hf=True,
    fixed={"attention_bias": (False, None)},
    written={"use_sliding_window": False},
    windows={"Qwen3ForCausalLM": "asked"},
)
