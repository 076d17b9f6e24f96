"""llama: what Llama, Mistral, SmolLM and many others are in GGUF.

Sources: transformers models/llama and models/mistral; llama.cpp conversion/llama.py (`undo_permute` turns the rows of q and k,
their biases too) and conversion/base.py.
"""

from __future__ import annotations

from rosetta_ref.architectures.record import Model, numbers, roles

MODEL = Model(
    "llama",
    classes=("LlamaForCausalLM", "MistralForCausalLM"),
    model_types=("llama", "mistral"),
    once=roles("""
        token_embd     model.embed_tokens        VE
        output_norm    model.norm                E
        output         lm_head                   VE  ?
    """),
    layer=roles("""
        attn_norm      input_layernorm           E
        attn_q         self_attn.q_proj          QE  rows=q ?bias
        attn_k         self_attn.k_proj          KE  rows=k ?bias
        attn_v         self_attn.v_proj          KE  ?bias
        attn_output    self_attn.o_proj          EQ  ?bias
        ffn_norm       post_attention_layernorm  E
        ffn_gate       mlp.gate_proj             FE  ?bias
        ffn_up         mlp.up_proj               FE  ?bias
        ffn_down       mlp.down_proj             EF  ?bias
    """),
    numbers=numbers("""
        block_count                       u32  num_hidden_layers        num_layers               needed
        context_length                    u32  max_position_embeddings  max_position_embeddings  =2048 needed
        embedding_length                  u32  hidden_size              hidden_size              needed
        feed_forward_length               u32  intermediate_size        intermediate_size        needed
        attention.head_count              u32  num_attention_heads      num_heads                needed
        attention.head_count_kv           u32  num_key_value_heads      num_kv_heads             null=num_attention_heads
        rope.freq_base                    f32  rope_theta               rope_theta               =10000.0 rope
        attention.layer_norm_rms_epsilon  f32  rms_norm_eps             rms_norm_eps             =1e-6 zero needed
        attention.key_length              u32  head_dim                 -                        stated
        attention.value_length            u32  head_dim                 -                        stated
        vocab_size                        u32  vocab_size               vocab_size               late
        rope.dimension_count              u32  head_dim                 -                        late
    """),
    rope="NORM",
    scalings=("default", "linear", "yarn", "llama3"),
    silent={"MistralForCausalLM": {"num_key_value_heads": 8, "sliding_window": 4096, "max_position_embeddings": 131072}},
    unread={"MistralForCausalLM": ("attention_bias", "mlp_bias")},
    windows={"MistralForCausalLM": "all"},
    apr_words=("llama2", "llama3", "smollm", "smollm2"),
    bias_flags={
        "attention_bias": ("attn_q", "attn_k", "attn_v", "attn_output"), "mlp_bias": ("ffn_gate", "ffn_up", "ffn_down"),
    },
)  # fmt: skip
