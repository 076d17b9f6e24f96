"""qwen2: Qwen 2 and 2.5. q, k and v always have biases, and no key says so; their rows stand in halves everywhere.

Sources: MODEL_ARCH.QWEN2 and the name map of gguf-py, src/models/qwen2.cpp (LLAMA_ROPE_TYPE_NEOX), Qwen2Config of transformers;
for APR the importers of aprender.
"""

from __future__ import annotations

from rosetta_ref.gate.judge.model import ALWAYS, HALVES, Model, Role

MODEL = Model(
    name="qwen2",
    hugging_face="Qwen2ForCausalLM",
    model_type="qwen2",
    whole=(
        Role("token_embd", "model.embed_tokens", "VE"),
        Role("output", "lm_head", "VE"),
        Role("output_norm", "model.norm", "E"),
    ),
    layer=(
        Role("attn_norm", "input_layernorm", "E"),
        Role("attn_q", "self_attn.q_proj", "QE", rotated=True, biased=ALWAYS),
        Role("attn_k", "self_attn.k_proj", "KE", rotated=True, biased=ALWAYS),
        Role("attn_v", "self_attn.v_proj", "KE", biased=ALWAYS),
        Role("attn_output", "self_attn.o_proj", "EQ"),
        Role("ffn_norm", "post_attention_layernorm", "E"),
        Role("ffn_gate", "mlp.gate_proj", "FE"),
        Role("ffn_up", "mlp.up_proj", "FE"),
        Role("ffn_down", "mlp.down_proj", "EF"),
    ),
    tokenizer="qwen2",
    apr_rope_type=HALVES,
    apr_theirs=True,
    taken={
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0, "context_length": 32768, "attention.head_count_kv": 32,
        "attention.key_length": "embedding_length", "attention.value_length": "embedding_length",
    },
)  # fmt: skip
