"""llama: Llama 1 to 3.3, Mistral 7B, SmolLM2 and whatever else has their layers.

Rope turns adjacent rows of a head in GGUF files (LLAMA_ROPE_TYPE_NORM), and the two halves against each other in Hugging Face's
(`rotate_half`), so rows of q and k are moved, those of their biases too. Sources: MODEL_ARCH.LLAMA and the name map of gguf-py,
src/models/llama.cpp, LlamaConfig of transformers; for APR the importers of aprender.
"""

from __future__ import annotations

from rosetta_ref.gate.judge.model import PAIRS, SOMETIMES, Model, Role

MODEL = Model(
    name="llama",
    hugging_face="LlamaForCausalLM",
    model_type="llama",
    whole=(
        Role("token_embd", "model.embed_tokens", "VE"),
        Role("output", "lm_head", "VE"),
        Role("output_norm", "model.norm", "E"),
    ),
    layer=(
        Role("attn_norm", "input_layernorm", "E"),
        Role("attn_q", "self_attn.q_proj", "QE", rotated=True, biased=SOMETIMES),
        Role("attn_k", "self_attn.k_proj", "KE", rotated=True, biased=SOMETIMES),
        Role("attn_v", "self_attn.v_proj", "KE", biased=SOMETIMES),
        Role("attn_output", "self_attn.o_proj", "EQ", biased=SOMETIMES),
        Role("ffn_norm", "post_attention_layernorm", "E"),
        Role("ffn_gate", "mlp.gate_proj", "FE"),
        Role("ffn_up", "mlp.up_proj", "FE"),
        Role("ffn_down", "mlp.down_proj", "EF"),
    ),
    tokenizer="smollm",
    pairs=True,
    apr_rope_type=PAIRS,
    apr_theirs=False,
    head_keys=("attention.key_length", "attention.value_length", "rope.dimension_count"),
    bias_keys={"attention_bias": "attn_q", "mlp_bias": "ffn_up"},
    taken={
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0, "context_length": 2048,
        "attention.head_count_kv": "attention.head_count", "attention.key_length": "embedding_length",
        "attention.value_length": "embedding_length",
    },
    loads=frozenset({"attention.layer_norm_rms_epsilon", "vocab_size"}),
)  # fmt: skip
