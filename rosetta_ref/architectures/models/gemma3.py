"""gemma3: Gemma 3, with norms that multiply by 1 + w before and after each part, and a window in five of six layers.

Sources: transformers models/gemma3 (what holds where config.json is silent: Gemma3TextConfig); llama.cpp conversion/gemma.py
(Gemma3Model: the 1 is added to every norm, the rows of the embedding end where the tokenizer does) and conversion/base.py. APR: its
files have GGUF's names, so that they hold GGUF's values, 1 + w, too.
"""

from __future__ import annotations

from rosetta_ref.architectures.checked import Keys
from rosetta_ref.architectures.record import Implied, Model, numbers, roles

#: The number of layers by which llama.cpp knows the model of 27B, whose attention is scaled by the width of the hidden state.
_LAYERS_OF_27B = 62


def _attention_scale(keys: Keys) -> int:
    """What the root is taken of to scale attention: llama.cpp stores no number for it."""
    if keys.need("block_count") == _LAYERS_OF_27B:
        return keys.need("embedding_length") // keys.heads[0]
    return keys.head_dim


MODEL = Model(
    "gemma3",
    classes=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    model_types=("gemma3_text", "gemma3"),
    once=roles("""
        token_embd           model.embed_tokens          VE
        output_norm          model.norm                  E   +1
        output               lm_head                     VE  ?
    """),
    layer=roles("""
        attn_norm            input_layernorm             E   +1
        attn_q               self_attn.q_proj            QE
        attn_k               self_attn.k_proj            KE
        attn_v               self_attn.v_proj            KE
        attn_output          self_attn.o_proj            EQ
        attn_q_norm          self_attn.q_norm            D   +1
        attn_k_norm          self_attn.k_norm            D   +1
        post_attention_norm  post_attention_layernorm    E   +1
        ffn_norm             pre_feedforward_layernorm   E   +1
        ffn_gate             mlp.gate_proj               FE
        ffn_up               mlp.up_proj                 FE
        ffn_down             mlp.down_proj               EF
        post_ffw_norm        post_feedforward_layernorm  E   +1
    """),
    numbers=numbers("""
        block_count                       u32  num_hidden_layers        num_layers               =26 needed
        context_length                    u32  max_position_embeddings  max_position_embeddings  =131072 needed
        embedding_length                  u32  hidden_size              hidden_size              =2304 needed
        feed_forward_length               u32  intermediate_size        intermediate_size        =9216 needed
        attention.head_count              u32  num_attention_heads      num_heads                =8 needed
        attention.head_count_kv           u32  num_key_value_heads      num_kv_heads             =4
        rope.freq_base                    f32  rope_theta               rope_theta               =1000000.0 rope
        rope.freq_base_swa                f32  rope_local_base_freq     rope_local_base_freq     =10000.0 rope
        attention.layer_norm_rms_epsilon  f32  rms_norm_eps             rms_norm_eps             =1e-6 zero needed
        attention.key_length              u32  head_dim                 -                        =256
        attention.value_length            u32  head_dim                 -                        =256
        final_logit_softcapping           f32  final_logit_softcapping  final_logit_softcapping  stated late off
        attention.sliding_window          u32  sliding_window           sliding_window           =4096 late off apr-needed
        vocab_size                        u32  vocab_size               vocab_size               late untold
    """),
    rope="NEOX",
    scalings=("default", "linear"),
    activation=("hidden_activation", ("gelu_pytorch_tanh",)),
    tied=True,
    fixed={
        "attention_bias": (False, None), "attn_logit_softcapping": (None,), "use_bidirectional_attention": (False, None),
    },
    implied={"query_pre_attn_scalar": Implied(256, _attention_scale)},
    window_pattern=6,
    nested=True,
    aside=("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."),
    space_prefix=False,
    spare_rows=True,
)  # fmt: skip
