"""qwen3: Qwen 3. Norms of q and k within a head, a head of its own size, no biases; rows stand in halves everywhere.

Sources: MODEL_ARCH.QWEN3 and the name map of gguf-py, src/models/qwen3.cpp (LLAMA_ROPE_TYPE_NEOX; the norms have as many elements
as a head), Qwen3Config of transformers: where it says nothing of the heads of k and v or of their size, these are 32 and 128,
whatever the width is. For APR the importers of aprender, as for qwen2.
"""

from __future__ import annotations

from rosetta_ref.gate.judge.model import HALVES, NUMBERS, Model, Number, Role

MODEL = Model(
    name="qwen3",
    hugging_face="Qwen3ForCausalLM",
    model_type="qwen3",
    whole=(
        Role("token_embd", "model.embed_tokens", "VE"),
        Role("output", "lm_head", "VE"),
        Role("output_norm", "model.norm", "E"),
    ),
    layer=(
        Role("attn_norm", "input_layernorm", "E"),
        Role("attn_q", "self_attn.q_proj", "QE", rotated=True),
        Role("attn_q_norm", "self_attn.q_norm", "D"),
        Role("attn_k", "self_attn.k_proj", "KE", rotated=True),
        Role("attn_k_norm", "self_attn.k_norm", "D"),
        Role("attn_v", "self_attn.v_proj", "KE"),
        Role("attn_output", "self_attn.o_proj", "EQ"),
        Role("ffn_norm", "post_attention_layernorm", "E"),
        Role("ffn_gate", "mlp.gate_proj", "FE"),
        Role("ffn_up", "mlp.up_proj", "FE"),
        Role("ffn_down", "mlp.down_proj", "EF"),
    ),
    tokenizer="qwen2",
    apr_rope_type=HALVES,
    apr_theirs=True,
    numbers=(*NUMBERS, Number("attention.value_length", "head_dim", "head_dim")),
    head_keys=("attention.key_length", "attention.value_length"),
    assumed=frozenset({"rope.freq_base"}),
    config={
        "hidden_act": "silu", "attention_bias": False, "max_window_layers": 28, "sliding_window": None,
        "use_sliding_window": False,
    },
    taken={
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0, "context_length": 32768, "attention.head_count_kv": 32,
        "attention.key_length": 128, "attention.value_length": 128,
    },
)  # fmt: skip
