"""Metadata: tokenizers and numbers that do not arrive, or arrive as others."""

from __future__ import annotations

from typing import Any

from rosetta_ref.architectures import aprender, config, tokenizer
from rosetta_ref.archive import Kind, Value
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.files import floats, in_gguf, model_in
from rosetta_ref.zoo.member import Member
from rosetta_ref.zoo.seams import nothing, replacing

_own_keys, _config_of, _tokenizer_metadata, _numbers_of = (
    aprender.own_keys, config.config_of_metadata, tokenizer.tokenizer_metadata, config.metadata_of_config,
)  # fmt: skip


def _no_vocabulary(*_: Any, **__: Any) -> dict[str, Value]:
    return {"tokenizer.ggml.model": Value.scalar(Kind.STRING, "no_vocab")}


def _no_files(*_: Any) -> dict[str, bytes]:
    return {}


def _with_aliases(*args: Any, **options: Any) -> dict[str, Any]:
    """A key with its value, and its alias with null: serde takes them for one field that is there twice."""
    return _own_keys(*args, **options) | {"hidden_dim": None, "num_hidden_layers": None}


def _plain_theta(*args: Any) -> dict[str, Any]:
    made = _config_of(*args)
    made["rope_theta"] = made["rope_parameters"]["rope_theta"] = 10000.0
    return made


def _as_many_as_queries(*args: Any) -> dict[str, Any]:
    made = _config_of(*args)
    return made | {"num_key_value_heads": made["num_attention_heads"]}


def _exchanged(*args: Any, **options: Any) -> dict[str, Value]:
    made = _tokenizer_metadata(*args, **options)
    bos, eos = (f"tokenizer.ggml.{word}_token_id" for word in ("bos", "eos"))
    return made | {bos: made[eos], eos: made[bos]} if {bos, eos} <= made.keys() else made


def _words_only(*args: Any, **options: Any) -> dict[str, Any]:
    """The tokens and how they merge, without what tells them apart."""
    lost = ("tokenizer.scores", "tokenizer.token_type", "tokenizer.pre_type", "chat_template")
    return {key: value for key, value in _own_keys(*args, **options).items() if key not in lost}


#: What aprender 0.25.0 writes once more.
_AGAIN = (
    "architecture", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "vocab_size", "intermediate_size",
    "max_position_embeddings", "rope_theta", "rope_type", "rms_norm_eps",
)  # fmt: skip


def _again_as_models(*args: Any, **options: Any) -> dict[str, Any]:
    made = _own_keys(*args, **options)
    again = {f"model.{key}": made[key] for key in _AGAIN if key in made}
    return made | again if "num_layers" in made else made


def _epsilon_of_another(*args: Any) -> dict[str, Value]:
    """Every model gets the epsilon of the first ones."""
    made = _numbers_of(*args)
    return {key: _EPSILON if key.endswith("rms_epsilon") else value for key, value in made.items()}


_EPSILON = Value.scalar(Kind.F32, 1e-6)

MEMBERS = (
    Member(
        "tokenizer-dropped", "metadata", "aprender #185, #2437",
        "converted file has no tokenizer, exit 0",
        "any file with one", "files without",
        ("G-S", "S-G", "G-A", "S-A", "A-S"), ("gguf", "apr", "safetensors"),
        replacing(
            seams.TOKENIZER_FILES.by(_no_files), seams.TOKENIZER_METADATA.by(_no_vocabulary),
            seams.TOKENIZER_KEYS.by(_no_files),
        ),
        model_in("gguf", tokenizer=True),
        model_in("gguf", tokenizer=False),
        "https://github.com/paiml/aprender/issues/185",
        options={"extra_keys": False},
    ),
    Member(
        "null-and-alias", "metadata", "aprender merge",
        "writes a key and its alias: the reader drops all metadata",
        "any model", "-",
        ("G-A", "S-A"), ("apr",),
        replacing(seams.OWN_KEYS.by(_with_aliases), seams.APR_CHECK_METADATA.by(nothing)),
        model_in("gguf"),
    ),
    Member(
        "tokenizer-words-only", "metadata", "aprender 0.25.0",
        "scores, token types, the kind of pre-tokenizer and the chat template are lost in APR",
        "any file with scores", "files without a tokenizer",
        ("G-A", "S-A"), ("apr",),
        replacing(seams.OWN_KEYS.by(_words_only)),
        model_in("gguf", tokenizer=True),
        model_in("gguf", tokenizer=False),
        options={"extra_keys": False},
    ),
    Member(
        "numbers-under-two-keys", "metadata", "aprender 0.25.0",
        "every number of the model stands in APR twice, as num_heads and as model.num_heads",
        "any model", "files without numbers",
        ("G-A", "S-A"), ("apr",),
        replacing(seams.OWN_KEYS.by(_again_as_models)),
        model_in("gguf"),
        in_gguf(floats("F32", 1, 2)),
        options={"extra_keys": False},
    ),
    Member(
        "rope-theta-forgotten", "metadata", "ours",
        "config.json says the usual base of 10000 whatever the model's is",
        "a base of 500000", "a base of 10000",
        ("G-S", "A-S"), ("safetensors",),
        replacing(seams.CONFIG_OF_METADATA.by(_plain_theta)),
        model_in("gguf", numbers={"rope.freq_base": 500000.0}),
        model_in("gguf", numbers={"rope.freq_base": 10000.0}),
    ),
    Member(
        "kv-heads-are-query-heads", "metadata", "ours",
        "config.json says of the heads of k and v that there are as many as of q",
        "grouped heads", "as many heads of k as of q",
        ("G-S", "A-S"), ("safetensors",),
        replacing(seams.CONFIG_OF_METADATA.by(_as_many_as_queries)),
        model_in("gguf", heads=(2, 1)),
        model_in("gguf", heads=(2, 2)),
    ),
    Member(
        "bos-and-eos-exchanged", "metadata", "ours",
        "the ids of the first and the last token under each other's keys",
        "any file with a tokenizer", "files without",
        ("S-G", "S-A"), ("gguf",),
        replacing(seams.TOKENIZER_METADATA.by(_exchanged)),
        model_in("safetensors", tokenizer=True),
        model_in("safetensors", tokenizer=False),
        options={"extra_keys": False},
    ),
    Member(
        "epsilon-is-a-constant", "metadata", "ours",
        "the epsilon of the norms is 1e-6 whatever config.json says",
        "an epsilon of 1e-5", "an epsilon of 1e-6",
        ("S-G", "S-A"), ("gguf",),
        replacing(seams.METADATA_OF_CONFIG.by(_epsilon_of_another)),
        model_in("safetensors"),
        model_in("safetensors", numbers={"attention.layer_norm_rms_epsilon": 1e-6}),
    ),
)  # fmt: skip
