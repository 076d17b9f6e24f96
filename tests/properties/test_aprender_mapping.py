"""Between APR's keys and names and the canonical model: nothing lost either way."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.architectures import aprender, aprender_keys
from rosetta_ref.architectures.names import ExpertsError, UnknownArchitectureError, UnmappedTensorError
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import apr
from rosetta_ref.quant import TYPES

HIDDEN, HEADS, KV, LAYERS, WORDS = 64, 8, 2, 2, 7
NUMERIC = [kind for kind in Kind if kind not in (Kind.STRING, Kind.ARRAY)]

#: Text as GGUF has it: any bytes, those that are not UTF-8 as surrogate escapes.
TEXT = st.binary(max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape")) | st.text(max_size=8)


def bits(kind):
    """Any bits of a numeric kind, NaN payloads and bools of 2 among them."""
    size = kind.dtype.itemsize
    return st.binary(min_size=size, max_size=size).map(lambda raw: np.frombuffer(raw, kind.dtype)[0])


def numbers():
    return st.sampled_from(NUMERIC).flatmap(lambda kind: bits(kind).map(lambda value: Value(kind, value)))


def arrays(depth=2):
    plain = st.sampled_from(NUMERIC).flatmap(
        lambda kind: st.lists(bits(kind), max_size=80).map(lambda v: Value(Kind.ARRAY, np.array(v, kind.dtype), kind))
    )
    texts = st.lists(TEXT, max_size=4).map(lambda v: Value(Kind.ARRAY, v, Kind.STRING))
    if not depth:
        return plain | texts
    nested = st.lists(arrays(depth - 1), max_size=3).map(lambda v: Value(Kind.ARRAY, v, Kind.ARRAY))
    return plain | texts | nested


VALUES = numbers() | TEXT.map(lambda text: Value(Kind.STRING, text)) | arrays()


def metadata(architecture="llama", **more):
    """Metadata as a converter writes it; `more` replaces values by key, with dots written as __."""
    u32 = {
        "context_length": 128, "embedding_length": HIDDEN, "block_count": LAYERS, "feed_forward_length": 96,
        "attention.head_count": HEADS, "attention.head_count_kv": KV, "vocab_size": WORDS, "rope.dimension_count": 8,
    }  # fmt: skip
    made = {
        "general.architecture": Value.scalar(Kind.STRING, architecture),
        "general.name": Value.scalar(Kind.STRING, "n"),
    }
    made |= {f"{architecture}.{key}": Value.scalar(Kind.U32, value) for key, value in u32.items()}
    made[f"{architecture}.attention.layer_norm_rms_epsilon"] = Value.scalar(Kind.F32, 1e-5)
    made[f"{architecture}.rope.freq_base"] = Value.scalar(Kind.F32, 10000.1)
    made["tokenizer.ggml.model"] = Value.scalar(Kind.STRING, "gpt2")
    made["tokenizer.ggml.pre"] = Value.scalar(Kind.STRING, "smollm")
    made["tokenizer.ggml.tokens"] = Value.array(Kind.STRING, [f"é{i}" for i in range(WORDS)])
    made["tokenizer.ggml.token_type"] = Value.array(Kind.I32, [1] * WORDS)
    made["tokenizer.ggml.scores"] = Value.array(Kind.F32, [0.1 * i for i in range(WORDS)])
    made["tokenizer.ggml.merges"] = Value.array(Kind.STRING, ["a b", "ab c"])
    made["tokenizer.ggml.eos_token_id"] = Value.scalar(Kind.U32, 2)
    made["tokenizer.chat_template"] = Value.scalar(Kind.STRING, "{{ messages }}")
    return made | {key.replace("__", "."): value for key, value in more.items()}


def tensors(kind="Q8_0"):
    block = TYPES[kind]
    shapes = {"token_embd.weight": (WORDS, HIDDEN), "output_norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        shapes[f"blk.{layer}.attn_q.weight"] = (HIDDEN, HIDDEN)
        shapes[f"blk.{layer}.attn_k.weight"] = (HIDDEN // HEADS * KV, HIDDEN)
        shapes[f"blk.{layer}.attn_k.bias"] = (HIDDEN // HEADS * KV,)
        shapes[f"blk.{layer}.ffn_down.weight"] = (HIDDEN, 96)
    made = {}
    for number, (name, shape) in enumerate(shapes.items()):
        one = block if len(shape) == 2 else TYPES["F32"]
        data = np.random.default_rng(number).permutation(one.nbytes(shape)).astype(np.uint32).astype(np.uint8)
        made[name] = Tensor.of(name, one, shape, data)
    return made


def model(architecture="llama", kind="Q8_0", **more):
    return Archive("gguf", metadata(architecture, **more), tensors(kind))


def around(given_, folder):
    apr.write(aprender.to_apr(given_), folder / "a.apr")
    return aprender.from_apr(apr.read(folder / "a.apr"))


def assert_same(back, given_):
    assert list(back.metadata) == list(given_.metadata)
    for key, value in given_.metadata.items():
        assert back.metadata[key] == value, key
    assert list(back.tensors) == list(given_.tensors)
    for name, tensor in given_.tensors.items():
        found = back.tensors[name]
        assert (found.name, found.type, found.shape) == (name, tensor.type, tensor.shape)
        assert found.data.tobytes() == tensor.data.tobytes(), name


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("kind", ["F32", "Q8_0", "AprQ4"])
def test_a_model_goes_through_apr_and_back(architecture, kind, tmp_path):
    given_ = model(architecture, kind)
    assert_same(around(given_, tmp_path), given_)


@given(more=st.dictionaries(TEXT.filter(lambda key: key not in metadata()), VALUES, max_size=5))
def test_metadata_of_every_type_keeps_order_and_bits(more, tmp_path_factory):
    given_ = model()
    given_.metadata |= {key: value for key, value in more.items() if key != aprender.APR_METADATA}
    assert_same(around(given_, tmp_path_factory.mktemp("apr")), given_)


@given(tokens=st.lists(TEXT, max_size=8), scores=st.lists(bits(Kind.F32), max_size=8))
def test_a_tokenizer_of_any_bytes(tokens, scores, tmp_path_factory):
    given_ = model(
        tokenizer__ggml__tokens=Value.array(Kind.STRING, tokens),
        tokenizer__ggml__scores=Value(Kind.ARRAY, np.array(scores, "<f4"), Kind.F32),
    )
    assert_same(around(given_, tmp_path_factory.mktemp("apr")), given_)


def test_nothing_long_is_stored_twice():
    made = aprender.to_apr(model()).metadata
    entries = {entry["key"]: entry for entry in made[aprender.GGUF_METADATA]}
    places = {key: entry["apr"] for key, entry in entries.items() if "apr" in entry}
    assert places == {
        "tokenizer.ggml.tokens": "tokenizer.vocabulary",
        "tokenizer.ggml.scores": "tokenizer.scores",
        "tokenizer.ggml.token_type": "tokenizer.token_type",
        "tokenizer.ggml.merges": "tokenizer.merges",
        "tokenizer.chat_template": "chat_template",
    }
    assert json.dumps(made).count("{{ messages }}") == 1


def test_keys_that_the_engine_needs():
    made = aprender.to_apr(model()).metadata
    expected = {
        "architecture": "llama", "model_type": "llama", "hidden_size": 64, "num_layers": 2, "num_heads": 8,
        "num_kv_heads": 2, "vocab_size": 7, "intermediate_size": 96, "max_position_embeddings": 128, "rope_type": 0,
        "head_dim": 8, "license": None, "data_source": None, "data_license": None, "original_format": "gguf",
        "tokenizer.vocab_size": 7, "chat_template": "{{ messages }}", "name": "n",
    }  # fmt: skip
    assert {key: made[key] for key in expected} == expected
    assert np.float32(made["rope_theta"]) == np.float32(10000.1)
    assert made["special_tokens"] == {"eos_token": "é2"}
    assert made["param_count"] == sum(math.prod(t.shape) for t in tensors().values())
    aliases = {alias for names in aprender.ALIASES.values() for alias in names}
    assert not aliases & made.keys()


def test_names_and_row_order_by_architecture():
    llama, qwen2 = aprender.to_apr(model("llama")), aprender.to_apr(model("qwen2"))
    assert list(llama.tensors) == list(tensors())
    assert llama.metadata["rope_type"] == 0
    assert "model.layers.1.self_attn.k_proj.bias" in qwen2.tensors
    assert "model.embed_tokens.weight" in qwen2.tensors
    assert qwen2.metadata["rope_type"] == 2
    assert aprender.apr_names(model("qwen2")) == list(qwen2.tensors)


def foreign(rope_type=2, names="hf", **more):
    """A llama as another writer stores it: Hugging Face names, rows in halves; its own key; no tokenizer."""
    stored = {
        "architecture": "llama", "model_type": "llama", "n_embd": HIDDEN, "num_layers": LAYERS, "num_heads": HEADS,
        "num_kv_heads": KV, "vocab_size": WORDS, "intermediate_size": 96, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_type": rope_type, "mine": {"a": [1.5, None]},
    } | more  # fmt: skip
    qwen2 = aprender.to_apr(model("qwen2", "Q8_0"))
    held = qwen2.tensors if names == "hf" else tensors()
    return Archive("apr", {key: value for key, value in stored.items() if value is not None}, dict(held))


def rows(tensor):
    return tensor.data.reshape(tensor.shape[0], -1)


def test_rows_in_halves_become_pairs_where_the_file_says_halves():
    made = aprender.from_apr(foreign())
    for name, heads in (("attn_q.weight", HEADS), ("attn_k.weight", KV), ("attn_k.bias", KV)):
        before, after = rows(tensors()[f"blk.1.{name}"]), rows(made.tensors[f"blk.1.{name}"])
        size = len(before) // heads
        # Row 2i of a head in pairs is row i in halves, and row 2i + 1 is row i + half.
        for head in range(heads):
            for i in range(size // 2):
                base = head * size
                assert (after[base + 2 * i] == before[base + i]).all()
                assert (after[base + 2 * i + 1] == before[base + i + size // 2]).all()
    for name in ("token_embd.weight", "blk.0.ffn_down.weight", "output_norm.weight"):
        assert made.tensors[name].data.tobytes() == tensors()[name].data.tobytes()


@pytest.mark.parametrize(("rope_type", "names", "moves"), [(0, "hf", False), (0, "gguf", False), (2, "gguf", True), (None, "hf", True), (None, "gguf", False)])  # fmt: skip
def test_rope_type_decides_not_the_name(rope_type, names, moves):
    made = aprender.from_apr(foreign(rope_type, names))
    q = "blk.0.attn_q.weight"
    assert (made.tensors[q].data.tobytes() != tensors()[q].data.tobytes()) == moves


def test_a_foreign_file_comes_back_with_its_own_keys():
    stored = foreign()
    made = aprender.from_apr(stored)
    assert made.metadata["llama.embedding_length"] == Value.scalar(Kind.U32, HIDDEN)
    again = aprender.to_apr(made)
    assert again.metadata == stored.metadata | {"rope_type": 0}
    assert aprender.from_apr(again).metadata == aprender.from_apr(stored).metadata | {
        aprender.APR_METADATA: Value.scalar(Kind.STRING, json.dumps(again.metadata, separators=(",", ":")))
    }


def test_a_key_that_somebody_added_survives():
    stored = aprender.to_apr(model())
    stored.metadata |= {"data_source": "mine", "stamp": [1]}
    made = aprender.from_apr(stored)
    again = aprender.to_apr(made)
    assert again.metadata["stamp"] == [1]
    assert any("data_source" in note for note in stored.notes)
    assert {k: v for k, v in made.metadata.items() if k != aprender.APR_METADATA} == metadata()


def test_without_extra_keys_there_is_no_rosetta_key():
    made = aprender.to_apr(model(), extra=False).metadata
    assert not [key for key in made if key.startswith("rosetta.")]
    back = aprender.from_apr(Archive("apr", made, dict(aprender.to_apr(model()).tensors))).metadata
    for key, value in metadata().items():
        assert back[key] == value, key


def test_what_gguf_needs_is_asked_for_by_name():
    with pytest.raises(aprender_keys.MissingMetadataError, match="num_layers, rms_norm_eps"):
        aprender.from_apr(foreign(num_layers=None, rms_norm_eps=None))


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"architecture": "mamba"}, UnknownArchitectureError),
        ({"architecture": None, "model_type": None}, UnknownArchitectureError),
        ({"num_experts": 8}, ExpertsError),
        ({"rope_type": 1}, aprender.RopeTypeError),
        ({"num_layers": "x"}, aprender_keys.MetadataValueError),
        ({"num_layers": 2**40}, aprender_keys.MetadataValueError),
        ({"tokenizer.vocabulary": ["a"]}, aprender_keys.MissingMetadataError),
        ({"tokenizer.vocabulary": ["a"], "tokenizer.model": "rwkv"}, aprender_keys.MetadataValueError),
    ],
)
def test_what_is_refused(more, error):
    with pytest.raises(error):
        aprender.from_apr(foreign(**more))


def test_an_unknown_tensor_is_refused_not_dropped():
    stored = foreign()
    stored.tensors["model.layers.0.extra.weight"] = Tensor.of("model.layers.0.extra.weight", TYPES["U8"], (1,), b"1")
    with pytest.raises(UnmappedTensorError, match="keep-names"):
        aprender.from_apr(stored)


def test_an_unknown_architecture_is_carried_with_keep_names(tmp_path):
    given_ = Archive("gguf", metadata("mamba"), tensors())
    with pytest.raises(UnknownArchitectureError, match="keep-names"):
        aprender.to_apr(given_)
    apr.write(aprender.to_apr(given_, keep_names=True), tmp_path / "a.apr")
    assert_same(aprender.from_apr(apr.read(tmp_path / "a.apr"), keep_names=True), given_)


def test_experts_are_refused():
    with pytest.raises(ExpertsError):
        aprender.to_apr(model(llama__expert_count=Value.scalar(Kind.U32, 8)))


@pytest.mark.parametrize("entries", [7, [7], [{"key": "a"}], [{"key": "a", "type": "u99", "value": 1}], [{"key": "a", "type": "string", "apr": "b"}]])  # fmt: skip
def test_broken_gguf_metadata_is_refused(entries):
    stored = foreign(**{aprender.GGUF_METADATA: entries})
    with pytest.raises(aprender.RosettaError, match="gguf_metadata"):
        aprender.from_apr(stored)
