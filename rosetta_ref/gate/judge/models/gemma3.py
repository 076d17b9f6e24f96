"""gemma3: Gemma 3. Norms multiply by 1 + w, and GGUF has the sum; they stand before and behind each part, and within heads.

Five of six layers look at a window only, with a base of rope of their own; which, llama.cpp knows by itself. The head is always
the embedding, text begins with no space. Sources: MODEL_ARCH.GEMMA3 and the name map of gguf-py, where Hugging Face's
post_attention_layernorm is another norm than llama's; src/models/gemma3.cpp (LLAMA_ROPE_TYPE_NEOX; a window of 6; the scale of
attention); Gemma3TextConfig and `Gemma3RMSNorm` of transformers. Inside of Gemma3ForConditionalGeneration, which also takes images,
its names begin as `_checkpoint_conversion_mapping` of transformers has it (before 4.52: language_model.model.).
No APR files of others are known: here they have GGUF's tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosetta_ref.archive import Kind
from rosetta_ref.gate.judge.config import FULL, LOCAL_BASE, WINDOWED
from rosetta_ref.gate.judge.model import HALVES, NUMBERS, PATTERN, WINDOW, Model, Number, Role, Within

_PATTERN = 6
#: More layers than any loader takes, and few enough to be written down one by one.
_MOST_LAYERS = 1 << 16
#: The model of 27B, by its layers: attention is scaled by what a head would have of the width, not by what it has.
_LAYERS_OF_27B = 62


def _implied(numbers: Mapping[str, Any]) -> dict[str, Any]:
    layers, head = numbers["block_count"], numbers["attention.key_length"]
    if type(layers) is not int or not 0 < layers <= _MOST_LAYERS:
        raise ValueError(f"{layers!r:.80} layers")
    if layers == _LAYERS_OF_27B:
        head = numbers["embedding_length"] // numbers["attention.head_count"]
    windowed = _windowed(layers, numbers.get(WINDOW, True), numbers.get(PATTERN, _PATTERN))
    return {"query_pre_attn_scalar": head, "layer_types": [WINDOWED if one else FULL for one in windowed]}


def _windowed(layers: int, window: Any, pattern: Any) -> list[bool]:
    """For each layer, whether llama.cpp gives it a window: no layer where None or 0 stands for one."""
    if not window:
        return [False] * layers
    if isinstance(pattern, list) and len(pattern) == layers:
        return [bool(one) for one in pattern]
    if type(pattern) is not int or pattern < 0:
        raise ValueError(f"{pattern!r:.80} is no pattern of {layers} layers")
    return [pattern == 0 or layer % pattern < pattern - 1 for layer in range(layers)]


def _by_default(numbers: Mapping[str, Any]) -> list[str]:
    """The layers of Gemma3TextConfig where config.json names none: whatever the window is."""
    return [WINDOWED if one else FULL for one in _windowed(numbers["block_count"], True, _PATTERN)]


MODEL = Model(
    name="gemma3",
    hugging_face="Gemma3ForCausalLM",
    model_type="gemma3_text",
    whole=(
        Role("token_embd", "model.embed_tokens", "VE"),
        Role("output", "lm_head", "VE"),
        Role("output_norm", "model.norm", "E", plus=1),
    ),
    layer=(
        Role("attn_norm", "input_layernorm", "E", plus=1),
        Role("attn_q", "self_attn.q_proj", "QE", rotated=True),
        Role("attn_q_norm", "self_attn.q_norm", "D", plus=1),
        Role("attn_k", "self_attn.k_proj", "KE", rotated=True),
        Role("attn_k_norm", "self_attn.k_norm", "D", plus=1),
        Role("attn_v", "self_attn.v_proj", "KE"),
        Role("attn_output", "self_attn.o_proj", "EQ"),
        Role("post_attention_norm", "post_attention_layernorm", "E", plus=1),
        Role("ffn_norm", "pre_feedforward_layernorm", "E", plus=1),
        Role("ffn_gate", "mlp.gate_proj", "FE"),
        Role("ffn_up", "mlp.up_proj", "FE"),
        Role("ffn_down", "mlp.down_proj", "EF"),
        Role("post_ffw_norm", "post_feedforward_layernorm", "E", plus=1),
    ),
    tokenizer="gemma",
    apr_rope_type=HALVES,
    apr_theirs=False,
    numbers=(
        *NUMBERS,
        Number("attention.value_length", "head_dim", "head_dim"),
        Number(WINDOW, "sliding_window", "sliding_window"),
        Number("rope.freq_base_swa", LOCAL_BASE, LOCAL_BASE, Kind.F32),
        Number("final_logit_softcapping", "final_logit_softcapping", "final_logit_softcapping", Kind.F32),
    ),
    head_keys=("attention.key_length", "attention.value_length"),
    assumed=frozenset({"rope.freq_base_swa"}),
    pattern=_PATTERN,
    tied=True,
    config={
        "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False, "attn_logit_softcapping": None,
        "final_logit_softcapping": None, "use_bidirectional_attention": False,
    },
    example={WINDOW: 8, "rope.freq_base_swa": 10000.0},
    implied=_implied,
    silent={"query_pre_attn_scalar": 256, "layer_types": _by_default},
    within=Within(
        "Gemma3ForConditionalGeneration", "gemma3",
        {"language_model.model.": "model.", "model.language_model.": "model.", "language_model.lm_head.": "lm_head."},
        ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."),
    ),
    taken={
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 1000000.0, "rope.freq_base_swa": 10000.0,
        "context_length": 131072, "attention.head_count": 8, "attention.head_count_kv": 4, "attention.key_length": 256,
        "attention.value_length": 256, WINDOW: 4096,
    },
    loads=frozenset({
        "attention.layer_norm_rms_epsilon", WINDOW, PATTERN, "rope.freq_base_swa", "final_logit_softcapping",
    }),
)  # fmt: skip
