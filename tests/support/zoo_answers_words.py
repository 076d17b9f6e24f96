"""What members of the zoo do to kinds of keys, to silence, and to tokens: their answers, by readers that share nothing with the package."""

from __future__ import annotations

from tests.support.stored import File
from tests.support.zoo_answers import check

#: Kinds of GGUF's values (ggml/docs/gguf.md).
U32, I32, F32 = 4, 5, 6
_TYPES, _EOS = "tokenizer.ggml.token_type", "tokenizer.ggml.eos_token_id"


def _kinds(right: File, wrong: File, key: str) -> tuple[int, int]:
    assert right.metadata[key] == wrong.metadata[key]
    return right.kinds[key], wrong.kinds[key]


@check("integers-are-signed")
def _(source: File, right: File, wrong: File) -> None:
    assert _kinds(right, wrong, "llama.embedding_length") == (U32, I32)
    assert U32 not in {kind for key, kind in wrong.kinds.items() if "tokenizer" not in key}


@check("rope-base-is-whole")
def _(source: File, right: File, wrong: File) -> None:
    assert _kinds(right, wrong, "llama.rope.freq_base") == (F32, U32)


@check("context-is-real")
def _(source: File, right: File, wrong: File) -> None:
    assert _kinds(right, wrong, "llama.context_length") == (U32, F32)


@check("usual-window-forgotten")
def _(source: File, right: File, wrong: File) -> None:
    assert right.metadata["gemma3.attention.sliding_window"] == 4096
    assert "gemma3.attention.sliding_window" not in wrong.metadata


@check("usual-heads-forgotten")
def _(source: File, right: File, wrong: File) -> None:
    assert right.metadata["qwen2.attention.head_count_kv"] == 32
    assert "qwen2.attention.head_count_kv" not in wrong.metadata


@check("tie-not-said")
def _(source: File, right: File, wrong: File) -> None:
    assert "lm_head.weight" not in right.tensors
    assert (right.metadata["tie_word_embeddings"], wrong.metadata.get("tie_word_embeddings")) == (True, None)


@check("biases-denied")
def _(source: File, right: File, wrong: File) -> None:
    assert "model.layers.0.self_attn.q_proj.bias" in wrong.tensors
    assert (right.metadata["attention_bias"], wrong.metadata["attention_bias"]) == (True, False)


@check("post-processor-removed")
def _(source: File, right: File, wrong: File) -> None:
    made = right.texts["tokenizer.json"]["post_processor"]
    assert made["single"][0]["SpecialToken"]["id"] == "<s>"
    assert wrong.texts["tokenizer.json"]["post_processor"] is None


@check("user-tokens-are-special-in-a-directory")
def _(source: File, right: File, wrong: File) -> None:
    flags = [
        {token["id"]: token["special"] for token in one.texts["tokenizer.json"]["added_tokens"]}
        for one in (right, wrong)
    ]
    assert source.metadata[_TYPES][3] == 4
    assert [one[3] for one in flags] == [False, True]


@check("user-tokens-are-control")
def _(source: File, right: File, wrong: File) -> None:
    assert (right.metadata[_TYPES][3], wrong.metadata[_TYPES][3]) == (4, 3)


@check("control-tokens-are-plain")
def _(source: File, right: File, wrong: File) -> None:
    assert (right.metadata[_TYPES][1:3], wrong.metadata[_TYPES][1:3]) == ([3, 3], [1, 1])


@check("unused-tokens-are-plain")
def _(source: File, right: File, wrong: File) -> None:
    assert (right.metadata[_TYPES][4], wrong.metadata[_TYPES][4]) == (5, 1)


@check("end-of-config-alone")
def _(source: File, right: File, wrong: File) -> None:
    assert source.texts["generation_config.json"] == {"eos_token_id": 2}
    assert (right.metadata[_EOS], wrong.metadata.get(_EOS)) == (2, None)
