"""Gemma 3: what config.json may leave out and may not say, norms of 1 + w that round, spare rows, and a directory with other parts."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.architectures.models.gemma3 import MODEL
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.view import look
from rosetta_ref.quant import TYPES

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "architectures" / "gemma3"
NORM = "model.layers.3.self_attn.q_norm.weight"
EMBEDDING = "model.embed_tokens.weight"
FULL, SLIDING = "full_attention", "sliding_attention"


def directory(
    folder: Path,
    config: dict[str, Any] | None = None,
    tensors: dict[str, Tensor] | None = None,
    spelling: str = "hf/config.json",
) -> Path:
    """The golden directory with other keys (`...` takes one out) and other tensors."""
    copy = Path(shutil.copytree(GOLDEN / "hf", folder / "hf"))
    said = json.loads((GOLDEN / spelling).read_bytes()) | (config or {})
    (copy / "config.json").write_text(json.dumps({key: value for key, value in said.items() if value is not ...}))
    if tensors:
        with safetensors.read(GOLDEN / "hf" / "model.safetensors") as archive:
            safetensors.write(
                Archive("safetensors", archive.metadata, archive.tensors | tensors), folder / "new.safetensors"
            )
        (folder / "new.safetensors").rename(copy / "model.safetensors")
    return copy


def converted(source: Path, target: Path, **options: Any) -> dict[str, Any]:
    """The plain metadata of what a directory becomes."""
    rosetta_ref.convert(source, target, extra_keys=False, **options)
    with gguf.read(target) as archive:
        return {key.removeprefix("gemma3."): value.plain() for key, value in archive.metadata.items()}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bytes_of(archive: Archive) -> dict[str, str]:
    """The digest of each tensor: 43 tensors in full say nothing that can be read."""
    return {name: hashlib.sha256(tensor.data.tobytes()).hexdigest() for name, tensor in archive.tensors.items()}


# --- what silence means

SILENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "epsilon": ({"rms_norm_eps": ...}, {"attention.layer_norm_rms_epsilon": np.float32(1e-6)}),
    "length": ({"max_position_embeddings": ...}, {"context_length": 131072}),
    "window": ({"sliding_window": ...}, {"attention.sliding_window": 4096}),
    "kinds of layers": ({"layer_types": ...}, {"attention.sliding_window": 8}),
    "tied": ({"tie_word_embeddings": ...}, {}),
    "activation": ({"hidden_activation": ...}, {}),
    "rope": ({"rope_parameters": ...}, {"rope.freq_base": 1e6, "rope.freq_base_swa": 1e4, "rope.scaling.type": None}),
    "rope of one kind": (
        {"rope_parameters": {FULL: {"rope_type": "default"}}}, {"rope.freq_base": 1e6, "rope.freq_base_swa": 1e4},
    ),
    "vocabulary": ({"vocab_size": ...}, {"embedding_length": 64}),
    "softcap": ({"final_logit_softcapping": 30.0}, {"final_logit_softcapping": 30.0}),
    "every second layer": (
        {"layer_types": [SLIDING, FULL] * 3}, {"attention.sliding_window_pattern": [True, False] * 3},
    ),
    "every second layer, as a number": (
        {"layer_types": ..., "sliding_window_pattern": 2}, {"attention.sliding_window_pattern": [True, False] * 3},
    ),
    "no window": (
        {"layer_types": [FULL] * 6, "sliding_window": 8}, {"attention.sliding_window_pattern": [False] * 6},
    ),
    "a window of null": (
        {"layer_types": [FULL] * 6, "sliding_window": None},
        {"attention.sliding_window": None, "attention.sliding_window_pattern": None},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SILENT)
def test_what_config_json_leaves_out_is_what_transformers_takes(what: str, tmp_path: Path) -> None:
    config, expected = SILENT[what]
    made = converted(directory(tmp_path, config), tmp_path / "m.gguf")
    assert {key: made.get(key) for key in expected} == expected
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "back", keep_blocks=False)
    again = converted(tmp_path / "back", tmp_path / "again.gguf")
    assert {key: again.get(key) for key in expected} == expected


def test_the_numbers_of_published_configurations_are_the_defaults(tmp_path: Path) -> None:
    """gemma-3-4b says no number of heads and no size of one: the shapes of this model are others, and say so."""
    for key, default in {"num_attention_heads": 8, "head_dim": 256, "num_key_value_heads": 4}.items():
        with pytest.raises(RosettaError) as caught:
            rosetta_ref.convert(directory(tmp_path / key, {key: ...}), tmp_path / "m.gguf")
        assert type(caught.value).__name__ in ("TensorRowsError", "UnevenGroupsError", "ConstantError"), default


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "activation": ("ActivationError", {"hidden_activation": "gelu"}),
    "softcap of attention": ("ConstantError", {"attn_logit_softcapping": 50.0}),
    "both directions": ("ConstantError", {"use_bidirectional_attention": True}),
    "biases": ("ConstantError", {"attention_bias": True}),
    "another scale": ("ConstantError", {"query_pre_attn_scalar": 168}),
    "the scale left out": ("ConstantError", {"query_pre_attn_scalar": ...}),
    "flat rope": ("PerLayerRopeError", {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}),
    "yarn": ("UnknownRopeError", {"rope_parameters": {FULL: {"rope_type": "yarn", "factor": 8.0}}}),
    "a scaled window": ("RopeParameterError", {"rope_parameters": {SLIDING: {"rope_type": "linear", "factor": 2.0}}}),
    "two local bases": ("RopeConflictError", {"rope_local_base_freq": 5e3}),
    "a kind of layer": ("LayerKindError", {"layer_types": ["chunked_attention"] * 6}),
    "a layer too few": ("LayerKindError", {"layer_types": [FULL] * 5}),
    "no size of the window": ("LayerKindError", {"sliding_window": None}),
    "text_config": ("ConfigError", {"text_config": [1]}),
    "more rows asked for": ("EmbeddingShapeError", {"vocab_size": 400}),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_gguf_cannot_say_is_refused(what: str, tmp_path: Path) -> None:
    name, config = REFUSED[what]
    with pytest.raises(RosettaError) as caught:
        rosetta_ref.convert(directory(tmp_path, config), tmp_path / "m.gguf")
    assert type(caught.value).__name__ == name
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.parametrize("key", ["use_sliding_window", "attention_bias", "layer_types"])
def test_what_qwen3_cannot_say_is_refused(key: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(GOLDEN.parent / "qwen3" / "hf", tmp_path / "hf"))
    said = json.loads((copy / "config.json").read_bytes())
    said[key] = [SLIDING] * 2 if key == "layer_types" else True
    if key == "use_sliding_window":  # from that layer on, of that many tokens; transformers' own are 28 and 4096
        said |= {"max_window_layers": 0, "sliding_window": 16}
        said.pop("layer_types", None)
    (copy / "config.json").write_text(json.dumps(said))
    with pytest.raises(RosettaError, match=key.removeprefix("use_")):
        rosetta_ref.convert(copy, tmp_path / "m.gguf")


def test_an_unknown_architecture_is_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RosettaError, match=r"Gemma9ForCausalLM.*known are gemma3, llama, qwen2, qwen3"):
        rosetta_ref.convert(directory(tmp_path, {"architectures": ["Gemma9ForCausalLM"]}), tmp_path / "m.gguf")


# --- 1 + w

#: BF16: too small to stay beside 1, a zero with a sign, a subnormal, NaN; and what comes back by itself.
LOST = (0x3780 - 0x80 * 4 + 1, 0x8000, 0x0001, 0x7FC1)
EXACT = (0x0000, 0x3780, 0xB781, 0x3F80, 0xBF80, 0x4B00, 0x4321)


@pytest.mark.parametrize("middle", [("x.gguf",), ("x.apr",), ("x.apr", "y.gguf"), ("x.gguf", "y.apr")])
@pytest.mark.parametrize("words", [*((word,) for word in LOST), LOST + EXACT, EXACT])
def test_a_norm_comes_back_bit_for_bit(words: tuple[int, ...], middle: tuple[str, ...], tmp_path: Path) -> None:
    stored = np.resize(np.array(words, np.uint16), 32)
    path = source = directory(tmp_path, tensors={NORM: Tensor.of(NORM, TYPES["BF16"], (32,), stored)})
    for step in (*middle, "back"):
        rosetta_ref.convert(path, tmp_path / step)
        path = tmp_path / step
    assert files_of(path) == files_of(source)


@pytest.mark.parametrize("word", EXACT)
def test_nothing_is_kept_of_a_norm_that_comes_back_by_itself(word: int, tmp_path: Path) -> None:
    stored = np.full(32, word, np.uint16)
    source = directory(tmp_path, tensors={NORM: Tensor.of(NORM, TYPES["BF16"], (32,), stored)})
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    with gguf.read(tmp_path / "m.gguf") as archive:
        assert "originals" not in archive.metadata["rosetta.safetensors"].data


def test_an_original_that_no_longer_is_the_model_s_is_not_written(tmp_path: Path) -> None:
    stored = np.full(32, LOST[0], np.uint16)
    source = directory(tmp_path, tensors={NORM: Tensor.of(NORM, TYPES["BF16"], (32,), stored)})
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    with gguf.read(tmp_path / "m.gguf") as archive:
        name = "blk.3.attn_q_norm.weight"
        changed = archive.tensors | {name: Tensor.of(name, TYPES["F32"], (32,), np.full(32, 1.5, np.float32))}
        gguf.write(Archive("gguf", archive.metadata, changed), tmp_path / "tuned.gguf")
    report = rosetta_ref.convert(tmp_path / "tuned.gguf", tmp_path / "back")
    assert any("no longer as it was" in note for note in report.notes)
    with safetensors.read(tmp_path / "back" / "model.safetensors") as archive:
        assert set(archive.tensors[NORM].values().tolist()) == {0.5}


FORGED: dict[str, tuple[bool, dict[str, Any]]] = {
    "another shape": (True, {"shape": [16], "base64": base64.b64encode(bytes(32)).decode()}),
    "another type": (False, {"type": "F16"}),
    "too few bytes": (False, {"base64": base64.b64encode(bytes(62)).decode()}),
    "no base64": (False, {"base64": "?" * 86}),
    "a row beyond": (False, {"row": 32}),
    "a row before": (False, {"row": -1}),
    "no shape": (False, {"shape": []}),
    "a negative size": (False, {"shape": [1, -64]}),
    "a type of nobody": (False, {"type": "Q9_9"}),
    "true": (False, {"row": True}),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_an_original_from_a_stranger_is_refused_or_left_aside(what: str, tmp_path: Path) -> None:
    written, forged = FORGED[what]
    stored = np.full(32, LOST[0], np.uint16)
    source = directory(tmp_path, tensors={NORM: Tensor.of(NORM, TYPES["BF16"], (32,), stored)})
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    with gguf.read(tmp_path / "m.gguf") as archive:
        record = json.loads(archive.metadata["rosetta.safetensors"].data)
        record["originals"][NORM] |= forged
        text = Value.scalar(Kind.STRING, json.dumps(record))
        gguf.write(
            Archive("gguf", archive.metadata | {"rosetta.safetensors": text}, archive.tensors), tmp_path / "f.gguf"
        )
    if written:
        report = rosetta_ref.convert(tmp_path / "f.gguf", tmp_path / "back")
        assert any("no longer as it was" in note for note in report.notes)
        return
    with pytest.raises(RosettaError, match=r"rosetta\.safetensors"):
        rosetta_ref.convert(tmp_path / "f.gguf", tmp_path / "back")
    assert not (tmp_path / "back").exists()


#: As GGUF stores them: below 1/2 a float32 has more bits than 1 + w leaves.
GAINS = (0.1, 1e-30, -0.0, 324.01, 3e38, np.nan, np.inf)


@pytest.mark.parametrize("gain", GAINS)
def test_a_gain_of_any_value_goes_round_bit_for_bit(gain: float, tmp_path: Path) -> None:
    name, gains = "blk.2.post_ffw_norm.weight", np.linspace(1, 2, 64, dtype=np.float32)
    gains[17] = gain
    with gguf.read(GOLDEN / "auto.gguf") as archive:
        tensors = archive.tensors | {name: Tensor.of(name, TYPES["F32"], (64,), gains)}
        gguf.write(Archive("gguf", archive.metadata, tensors), tmp_path / "m.gguf")
    path = tmp_path / "m.gguf"
    for step in ("hf", "x.apr", "back.gguf"):
        rosetta_ref.convert(path, tmp_path / step)
        path = tmp_path / step
    with gguf.read(path) as archive, gguf.read(tmp_path / "m.gguf") as before:
        assert archive.metadata == before.metadata
        assert bytes_of(archive) == bytes_of(before)


def test_what_is_rounded_without_the_folder_is_said(tmp_path: Path) -> None:
    name = "blk.2.post_ffw_norm.weight"
    with gguf.read(GOLDEN / "auto.gguf") as archive:
        tensors = archive.tensors | {name: Tensor.of(name, TYPES["F32"], (64,), np.full(64, 0.1, np.float32))}
        gguf.write(Archive("gguf", archive.metadata, tensors), tmp_path / "m.gguf")
    report = rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "hf", keep_blocks=False)
    assert f"without rosetta/, the way back rounds {name}" in report.notes
    report = rosetta_ref.convert(GOLDEN / "auto.gguf", tmp_path / "exact", keep_blocks=False)
    assert not any("rounds" in note for note in report.notes)


# --- rows and tokens


def taller(rows: int) -> dict[str, Tensor]:
    with safetensors.read(GOLDEN / "hf" / "model.safetensors") as archive:
        data = archive.tensors[EMBEDDING].data.tobytes()
    more = np.arange(rows * 64, dtype=np.uint16).tobytes()
    return {EMBEDDING: Tensor.of(EMBEDDING, TYPES["BF16"], (320 + rows, 64), data + more)}


@pytest.mark.parametrize("middle", [("x.gguf",), ("x.apr", "y.gguf")])
def test_rows_that_no_token_uses_are_cut_off_and_come_back(middle: tuple[str, ...], tmp_path: Path) -> None:
    path = source = directory(tmp_path, tensors=taller(7))
    for step in (*middle, "back"):
        rosetta_ref.convert(path, tmp_path / step)
        path = tmp_path / step
    assert files_of(path) == files_of(source)
    with gguf.read(tmp_path / middle[-1] if middle[-1].endswith("gguf") else path) as archive:
        assert archive.tensors["token_embd.weight"].shape == (320, 64)
        assert len(archive.metadata["tokenizer.ggml.tokens"].data) == 320


def test_a_token_without_a_row_is_left_out(tmp_path: Path) -> None:
    """<image_soft_token> of the published text models: a token of the tokenizer, and not of the model."""
    source = directory(tmp_path)
    config = json.loads((source / "tokenizer_config.json").read_bytes())
    config["added_tokens_decoder"] = {"320": {"content": "<image_soft_token>", "special": True}}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    made = converted(source, tmp_path / "m.gguf")
    assert len(made["tokenizer.ggml.tokens"]) == 320
    assert "<image_soft_token>" not in made["tokenizer.ggml.tokens"]
    rosetta_ref.convert(source, tmp_path / "kept.gguf")
    rosetta_ref.convert(tmp_path / "kept.gguf", tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(source)


def test_a_tokenizer_json_as_gemma_has_it(tmp_path: Path) -> None:
    """The published files part a text at spaces, behind a normalizer that leaves none; without one, they would part it."""
    tokenizers = pytest.importorskip("tokenizers")
    rosetta_ref.convert(GOLDEN / "auto.gguf", tmp_path / "hf", keep_blocks=False)
    path = tmp_path / "hf" / "tokenizer.json"
    made = json.loads(path.read_bytes())
    assert [step["type"] for step in made["normalizer"]["normalizers"]] == ["Replace"]
    gemma = made | {
        "normalizer": made["normalizer"]["normalizers"][0],
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
    }
    path.write_text(json.dumps(gemma))
    keys = converted(tmp_path / "hf", tmp_path / "m.gguf")
    assert (keys["tokenizer.ggml.model"], keys["tokenizer.ggml.add_space_prefix"]) == ("llama", False)
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "back", keep_blocks=False)
    theirs, ours = (
        tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (path.parent, tmp_path / "back")
    )
    for text in json.loads((GOLDEN / "tokens.json").read_bytes())["texts"]:
        assert ours.encode(text).ids == theirs.encode(text).ids
    path.write_text(json.dumps(gemma | {"normalizer": None}))
    with pytest.raises(RosettaError, match="pre-tokenizer"):
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "no.gguf")


# --- a directory with other parts


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_the_text_model_of_a_directory_with_images(prefix: str, tmp_path: Path) -> None:
    """What transformers 4 and 5 call the tensors of Gemma3ForConditionalGeneration."""
    inner = json.loads((GOLDEN / "hf" / "config.json").read_bytes())
    del inner["architectures"]
    source = directory(tmp_path)
    outer = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": inner,
        "vision_config": {},
    }
    (source / "config.json").write_text(json.dumps(outer))
    with safetensors.read(GOLDEN / "hf" / "model.safetensors") as archive:
        named = {name.replace("model.", prefix, 1): tensor for name, tensor in archive.tensors.items()}
        tower = "vision_tower.vision_model.head.weight"
        named[tower] = Tensor.of(tower, TYPES["F32"], (2,), np.zeros(2, np.float32))
        tensors = {name: Tensor(name, one.type, one.shape, one.source) for name, one in named.items()}
        safetensors.write(Archive("safetensors", {}, tensors), tmp_path / "new.safetensors")
    (tmp_path / "new.safetensors").rename(source / "model.safetensors")
    report = rosetta_ref.convert(source, tmp_path / "m.gguf")
    assert any(tower in note for note in report.notes)
    with gguf.read(tmp_path / "m.gguf") as made, gguf.read(GOLDEN / "auto.gguf") as golden:
        assert bytes_of(made) == bytes_of(golden)
        assert made.metadata == golden.metadata


# --- APR


@pytest.mark.parametrize("stated", [None, "safetensors", "gguf"])
def test_norms_under_hugging_face_s_names_in_apr(stated: str | None, tmp_path: Path) -> None:
    """Aprender's importers keep values, so that what such a norm is hangs on where the file came from: w, or 1 + w."""
    from rosetta_ref.architectures import aprender

    with gguf.read(GOLDEN / "auto.gguf") as golden:
        made = aprender.to_apr(golden, extra=False)
        assert list(made.tensors) == list(golden.tensors)
        named = {}
        for name, tensor in golden.tensors.items():
            theirs = aprender.ARCHITECTURES["gemma3"].to_hf(name)
            is_norm = stated == "safetensors" and name.endswith("norm.weight")
            values = tensor.values() - np.float32(1) if is_norm else None
            named[theirs] = (
                Tensor(theirs, tensor.type, tensor.shape, tensor.source) if values is None
                else Tensor.of(theirs, tensor.type, tensor.shape, values)
            )  # fmt: skip
        metadata = {key: value for key, value in made.metadata.items() if key != "original_format"}
        metadata |= {} if stated is None else {"original_format": stated}
        file = Archive("apr", metadata, named)
        if stated is None:
            with pytest.raises(RosettaError, match="original_format"):
                aprender.from_apr(file)
            return
        back = aprender.from_apr(file)
        assert bytes_of(back) == bytes_of(golden)


def test_a_gemma_in_apr_that_says_no_window_is_refused() -> None:
    from rosetta_ref.architectures import aprender

    with gguf.read(GOLDEN / "auto.gguf") as golden:
        made = aprender.to_apr(golden, extra=False)
        assert made.metadata["sliding_window"] == 8
        del made.metadata["sliding_window"]
        with pytest.raises(RosettaError, match="sliding_window"):
            aprender.from_apr(made)


def test_a_pattern_that_is_no_list_of_flags_is_refused(tmp_path: Path) -> None:
    for value in (Value.array(Kind.BOOL, [True] * 5), Value.array(Kind.U32, [1] * 6), Value.scalar(Kind.STRING, "x")):
        with gguf.read(GOLDEN / "auto.gguf") as archive:
            stated = archive.metadata | {"gemma3.attention.sliding_window_pattern": value}
            gguf.write(Archive("gguf", stated, archive.tensors), tmp_path / "m.gguf", lenient=True)
        with pytest.raises(RosettaError, match="sliding_window_pattern"):
            rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "hf")
        (tmp_path / "m.gguf").unlink()


ZERO = {
    "window": ({"attention.sliding_window": Value.scalar(Kind.U32, 0)}, [FULL] * 6),
    "pattern": ({"attention.sliding_window_pattern": Value.scalar(Kind.U32, 0)}, [SLIDING] * 6),
    "softcap": ({"final_logit_softcapping": Value.scalar(Kind.F32, 0.0)}, [*[SLIDING] * 5, FULL]),
}


def golden_with(path: Path, keys: dict[str, Value | None]) -> Path:
    """llama.cpp's own file with other keys, or without some."""
    with gguf.read(GOLDEN / "auto.gguf") as golden:
        stated = golden.metadata | {f"gemma3.{key}": value for key, value in keys.items()}
        gguf.write(Archive("gguf", {k: v for k, v in stated.items() if v is not None}, golden.tensors), path)
    return path


@pytest.mark.parametrize("what", ZERO)
def test_zero_is_what_llamacpp_takes_it_for(what: str, tmp_path: Path) -> None:
    """No window, all layers with one, no cap: the file computes the same behind a Hugging Face directory, and the gate agrees."""
    llama = pytest.importorskip("tests.support.llama")
    keys, kinds = ZERO[what]
    source = golden_with(tmp_path / "m.gguf", dict(keys))
    rosetta_ref.convert(source, tmp_path / "hf", extra_keys=False)
    config = json.loads((tmp_path / "hf" / "config.json").read_bytes())
    assert config["layer_types"] == kinds
    assert config["sliding_window"] == (None if what == "window" else 8)
    assert config["final_logit_softcapping"] is None
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf", extra_keys=False)
    tokens = list(range(5, 25))
    assert np.array_equal(llama.logits(source, tokens), llama.logits(tmp_path / "back.gguf", tokens))
    for target in ("hf", "back.gguf"):
        with look(source) as one, look(tmp_path / target) as other:
            assert judge_metadata(one, other).findings == []


def test_apr_says_that_there_is_no_window(tmp_path: Path) -> None:
    source = golden_with(tmp_path / "m.gguf", {"attention.sliding_window": None})
    rosetta_ref.convert(source, tmp_path / "m.apr", extra_keys=False)
    rosetta_ref.convert(tmp_path / "m.apr", tmp_path / "hf")
    assert json.loads((tmp_path / "hf" / "config.json").read_bytes())["layer_types"] == [FULL] * 6
    rosetta_ref.convert(tmp_path / "m.apr", tmp_path / "back.gguf")
    for one, other in (("m.gguf", "m.apr"), ("m.apr", "hf"), ("m.apr", "back.gguf")):
        with look(tmp_path / one) as source_, look(tmp_path / other) as target:
            assert judge_metadata(source_, target).findings == []


@pytest.mark.parametrize("pattern", [Value.scalar(Kind.U32, 2), Value.array(Kind.BOOL, [True, False] * 3)])
def test_a_pattern_that_apr_has_no_place_for_is_refused_without_our_keys(pattern: Value, tmp_path: Path) -> None:
    source = golden_with(tmp_path / "m.gguf", {"attention.sliding_window_pattern": pattern})
    with pytest.raises(RosettaError, match="sliding_window_pattern") as caught:
        rosetta_ref.convert(source, tmp_path / "m.apr", extra_keys=False)
    assert "--no-extra-keys" in str(caught.value)
    rosetta_ref.convert(source, tmp_path / "m.apr")
    rosetta_ref.convert(tmp_path / "m.apr", tmp_path / "hf")
    assert json.loads((tmp_path / "hf" / "config.json").read_bytes())["layer_types"] == [SLIDING, FULL] * 3
    usual = golden_with(tmp_path / "usual.gguf", {"attention.sliding_window_pattern": Value.scalar(Kind.U32, 6)})
    rosetta_ref.convert(usual, tmp_path / "usual.apr", extra_keys=False)


@pytest.mark.parametrize("name", ["model.layers.0.language_model.mlp.up_proj.weight", "lm_head.language_model.weight"])
def test_the_prefix_of_a_text_model_stands_in_front(name: str) -> None:
    with pytest.raises(RosettaError, match="no such tensor"):
        MODEL.to_gguf(name)
    assert MODEL.to_gguf("language_model.lm_head.weight") == "output.weight"
