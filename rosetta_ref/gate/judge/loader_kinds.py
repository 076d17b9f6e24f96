"""The kind that llama.cpp takes a key of, for every key that one of its loaders reads: any other is refused.

Source: llama.cpp as llama-cpp-python 0.3.36 has it. `GGUFMeta::GKV` of src/llama-model-loader.cpp takes a scalar of one kind alone:
that of the variable which src/llama-model.cpp, src/llama-vocab.cpp or src/models/*.cpp reads the key into. `get_key_or_arr` takes
an array as well, of U32, I32 or BOOL where numbers are whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rosetta_ref.archive import Kind, Value
from rosetta_ref.gate.judge.models import MODELS


def _words(text: str) -> list[str]:
    return text.split()


#: Keys behind "{architecture}." that are whole numbers; those of the second table may be one for each layer.
_WHOLE = _words("""
    attention.decay_lora_rank attention.gate_lora_rank attention.group_norm_groups attention.iclr_lora_rank
    attention.indexer.block_size attention.indexer.head_count attention.indexer.key_length attention.indexer.kpool
    attention.indexer.local_blocks attention.indexer.top_k attention.key_length attention.key_length_mla
    attention.key_length_mla_swa attention.key_length_swa attention.kv_lora_rank attention.kv_lora_rank_swa
    attention.output_group_count attention.output_lora_rank attention.q_lora_rank attention.relative_buckets_count
    attention.shared_kv_layers attention.sliding_window attention.temperature_length attention.value_length
    attention.value_length_mla attention.value_length_mla_swa attention.value_length_swa
    attention.value_residual_mix_lora_rank attn_res.block_size block_count block_size context_length conv_group_size
    conv_kernel_size convnext.block_count convnext.embedding_length decoder_block_count decoder_start_token_id
    dense_2_feat_in dense_2_feat_out dense_3_feat_in dense_3_feat_out embedding_length embedding_length_out
    embedding_length_per_layer_input expert_chunk_feed_forward_length expert_count expert_gating_func expert_group_count
    expert_group_used_count expert_latent_length expert_shared_count expert_shared_feed_forward_length experts_per_group
    features_length full_attention_interval hash_layer_count hrm.h_cycles hrm.l_cycles hrm.layers_per_stack
    hyper_connection.count hyper_connection.low_rank hyper_connection.sinkhorn_iterations interleave_moe_layer_step
    kda.head_dim leading_dense_block_count moe_every_n_layers moe_latent_size n_deepstack_layers nextn_predict_layers
    num_loops pooling_type classifier.pooling_type posnet.block_count posnet.embedding_length rescale_every_n_layers
    rope.dimension_count rope.dimension_count_swa rope.scaling.original_context_length selector_rank selector_top_k
    shortconv.l_cache ssm.conv_kernel ssm.group_count ssm.inner_size ssm.state_size ssm.time_step_rank target_hidden_size
    time_decay_extra_dim time_mix_extra_dim token_shift_count vocab_size wkv.head_size
""")
_WHOLE_OR_EACH = _words("""
    attention.compress_ratios attention.head_count attention.head_count_kv attention.indexer.types attention.recurrent_layers
    attention.sliding_window_pattern expert_feed_forward_length expert_used_count feed_forward_length rope.dimension_sections
""")
_REAL = _words("""
    activation.situ_beta activation.situ_linear_beta attention.clamp_kqv attention.compress_rope_freq_base
    attention.group_norm_epsilon attention.layer_norm_epsilon attention.layer_norm_rms_epsilon attention.max_alibi_bias
    attention.output_scale attention.scale attention.temperature_scale attention.value_scale attn_logit_softcapping
    embedding_scale expert_group_scale expert_weights_scale final_logit_softcapping hyper_connection.epsilon
    hyper_connection.magnitude kda.gate_lower_bound logit_scale residual_scale rope.freq_base rope.freq_base_swa
    rope.scale_linear rope.scaling.alpha rope.scaling.attn_factor rope.scaling.factor rope.scaling.yarn_attn_factor
    rope.scaling.yarn_beta_fast rope.scaling.yarn_beta_slow rope.scaling.yarn_ext_factor rope.scaling.yarn_log_multiplier
    router_logit_softcapping
""")
_REAL_OR_EACH = ["swiglu_clamp_exp", "swiglu_clamp_shexp"]
_FLAG = _words("""
    attention.causal attention.indexer.kpool_select_tail expert_weights_norm hrm.prefix_lm kda.safe_gate norm_before_fc
    norm_before_residual rope.scaling.finetuned ssm.dt_b_c_rms swin_norm use_parallel_residual
""")
_TEXT = ["hidden_activation", "rope.scaling.type"]
_LISTS = {
    "attention.rope_pattern": (Kind.U32, Kind.I32), "deepstack_mapping": (Kind.U32, Kind.I32),
    "target_layers": (Kind.U32, Kind.I32), "classifier.output_labels": (Kind.STRING,),
}  # fmt: skip
_SPECIAL = _words("bos eos eot eom unknown seperator padding mask fim_pre fim_suf fim_mid fim_pad fim_rep fim_sep")
#: Keys that are the same for every architecture.
_SCALARS: dict[str, Kind] = {
    "general.architecture": Kind.STRING, "general.name": Kind.STRING, "general.file_type": Kind.U32,
    "general.alignment": Kind.U32, "split.no": Kind.U16, "split.count": Kind.U16,
    "tokenizer.ggml.model": Kind.STRING, "tokenizer.ggml.pre": Kind.STRING, "tokenizer.ggml.token_type_count": Kind.U32,
    "tokenizer.ggml.remove_extra_whitespaces": Kind.BOOL, "tokenizer.ggml.add_space_prefix": Kind.BOOL,
    **{f"tokenizer.ggml.add_{word}_token": Kind.BOOL for word in ("bos", "eos", "sep")},
    **{f"tokenizer.ggml.{word}_token_id": Kind.U32 for word in _SPECIAL},
    "tokenizer.chat_template": Kind.STRING,  # taken of any kind, and as a text that is no template
}  # fmt: skip
_ARRAYS: dict[str, tuple[Kind, ...]] = {
    "tokenizer.ggml.tokens": (Kind.STRING,), "tokenizer.ggml.merges": (Kind.STRING,),
    "tokenizer.ggml.token_type": (Kind.I32,), "tokenizer.ggml.scores": (Kind.F32,),
    "tokenizer.ggml.suppress_tokens": (Kind.I32,),
    "xielu.alpha_n": (Kind.F32,), "xielu.alpha_p": (Kind.F32,), "xielu.beta": (Kind.F32,), "xielu.eps": (Kind.F32,),
}  # fmt: skip
_OF_MODEL: dict[str, Kind] = {
    **dict.fromkeys([*_WHOLE, *_WHOLE_OR_EACH], Kind.U32), **dict.fromkeys([*_REAL, *_REAL_OR_EACH], Kind.F32),
    **dict.fromkeys(_FLAG, Kind.BOOL), **dict.fromkeys(_TEXT, Kind.STRING),
}  # fmt: skip
_EACH: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(_WHOLE_OR_EACH, (Kind.U32, Kind.I32, Kind.BOOL)), **dict.fromkeys(_REAL_OR_EACH, (Kind.F32,)), **_LISTS,
}  # fmt: skip
#: What src/llama-model.cpp reads of every architecture; what src/models/NAME.cpp reads besides says the record (`loads`).
_OF_ALL = frozenset(
    _words("""
    attention.causal attention.head_count attention.head_count_kv attention.key_length attention.key_length_swa
    attention.value_length attention.value_length_swa block_count classifier.output_labels classifier.pooling_type
    context_length embedding_length embedding_length_out expert_count expert_group_count expert_group_used_count
    expert_used_count feed_forward_length nextn_predict_layers pooling_type rope.dimension_count rope.dimension_count_swa
    rope.freq_base rope.scale_linear rope.scaling.alpha rope.scaling.attn_factor rope.scaling.factor
    rope.scaling.finetuned rope.scaling.original_context_length rope.scaling.type
""")
)


def kinds_of(key: str, architecture: str | None) -> tuple[Kind | None, tuple[Kind, ...]] | None:
    """What a loader takes under a key: the kind of a scalar (None: no scalar), and the kinds of an array's items; None for others.

    >>> kinds_of("llama.attention.head_count_kv", "llama")
    (<Kind.U32: 4>, (<Kind.U32: 4>, <Kind.I32: 5>, <Kind.BOOL: 7>))
    """
    if key in _SCALARS or key in _ARRAYS:
        return _SCALARS.get(key), _ARRAYS.get(key, ())
    stem = f"{architecture}."
    rest = key[len(stem) :] if architecture and key.startswith(stem) else ""
    if architecture in MODELS and rest not in MODELS[architecture].loads | _OF_ALL:
        return None  # nobody reads it
    return (_OF_MODEL.get(rest), _EACH.get(rest, ())) if rest in _OF_MODEL or rest in _EACH else None


def wrong_kinds(metadata: Mapping[str, Value], architecture: str | None) -> Iterator[tuple[str, str]]:
    """Each key that a loader reads, with what is wrong with its kind, "" where nothing is."""
    for key, value in metadata.items():
        kinds = kinds_of(key, architecture)
        if kinds is None:
            continue
        scalar, items = kinds
        if value.kind is Kind.ARRAY:
            yield (
                key,
                "" if value.item in items else _said(f"an array of {value.item and value.item.name}", scalar, items),
            )
        else:
            yield key, "" if value.kind is scalar else _said(value.kind.name, scalar, items)


def _said(found: str, scalar: Kind | None, items: tuple[Kind, ...]) -> str:
    wanted = [scalar.name] if scalar is not None else []
    wanted += [f"an array of {' or '.join(item.name for item in items)}"] if items else []
    return f"is {found}, and loaders take {' or '.join(wanted)}"
