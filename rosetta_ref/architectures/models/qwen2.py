"""qwen2: Qwen 2 and 2.5, with biases of q, k and v, and the row order of Hugging Face.

Sources: transformers models/qwen2; llama.cpp conversion/qwen.py (Qwen2Model) and conversion/base.py.
"""

from __future__ import annotations

from rosetta_ref.architectures.record import Model, numbers, roles

MODEL = Model(
    "qwen2",
    classes=("Qwen2ForCausalLM",),
    model_types=("qwen2",),
    once=roles("""
        token_embd     model.embed_tokens        VE
        output_norm    model.norm                E
        output         lm_head                   VE  ?
    """),
    layer=roles("""
        attn_norm      input_layernorm           E
        attn_q         self_attn.q_proj          QE  bias
        attn_k         self_attn.k_proj          KE  bias
        attn_v         self_attn.v_proj          KE  bias
        attn_output    self_attn.o_proj          EQ
        ffn_norm       post_attention_layernorm  E
        ffn_gate       mlp.gate_proj             FE
        ffn_up         mlp.up_proj               FE
        ffn_down       mlp.down_proj             EF
    """),
    numbers=numbers("""
        block_count                       u32  num_hidden_layers        num_layers               needed
        context_length                    u32  max_position_embeddings  max_position_embeddings  =32768 needed
        embedding_length                  u32  hidden_size              hidden_size              needed
        feed_forward_length               u32  intermediate_size        intermediate_size        needed
        attention.head_count              u32  num_attention_heads      num_heads                needed
        attention.head_count_kv           u32  num_key_value_heads      num_kv_heads             =32 null=num_attention_heads
        rope.freq_base                    f32  rope_theta               rope_theta               =10000.0 rope
        attention.layer_norm_rms_epsilon  f32  rms_norm_eps             rms_norm_eps             =1e-6 zero needed
        attention.key_length              u32  head_dim                 -                        stated
        attention.value_length            u32  head_dim                 -                        stated
        vocab_size                        u32  vocab_size               vocab_size               late untold
    """),
    rope="NEOX",
    apr_hf=True,
    apr_words=("qwen2.5",),
    windows={"Qwen2ForCausalLM": "asked"},
)
