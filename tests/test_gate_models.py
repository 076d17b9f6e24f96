"""What the judge says of qwen3 and gemma3 when a converter takes them for something else: each mistake by its own name.

Mistakes are made in GGUF's terms, in the model that the faces are written from: a norm to which nothing was added is one that has 1
less than the right one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Tensor, Value
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.inputs import models, write
from rosetta_ref.gate.inputs.default import default
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.chains import Chain
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.models import MODELS, UnknownModelError, reading
from rosetta_ref.gate.judge.question import Leg
from rosetta_ref.gate.judge.tensors import Judged, judge
from rosetta_ref.gate.judge.view import look
from rosetta_ref.quant import TYPES

SAMPLES = {sample.name: sample for sample in default(0) if sample.name in ("qwen3-bf16", "gemma3-bf16")}
QWEN3, GEMMA3 = SAMPLES["qwen3-bf16"], SAMPLES["gemma3-bf16"]
NORM, Q_NORM, K_NORM, POST, POST_FFW, FFN_NORM = (
    f"blk.0.{part}.weight"
    for part in ("attn_norm", "attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm", "ffn_norm")
)
LAST, Q, K = "output_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight"
FACES = {"G": "gguf", "S": "safetensors", "A": "apr"}
WAYS = [f"{one}{other}" for one in FACES for other in FACES if one != other]
Edit = Callable[[dict[str, Tensor]], None]


def written(sample: Sample, face: str, folder: Path, edit: Edit | None = None) -> Path:
    tensors = dict(sample.model.tensors)
    if edit is not None:
        edit(tensors)
    changed = replace(sample, model=replace(sample.model, tensors=tensors))
    return write.write(changed, FACES[face], folder / f"{face}-{len(list(folder.iterdir()))}")


def verdict(source: Path, target: Path) -> tuple[Judged, list[Finding]]:
    with look(source) as ours, look(target) as theirs:
        return judge(ours, theirs), judge_metadata(ours, theirs).findings


def after(sample: Sample, way: str, folder: Path, edit: Edit | None = None) -> set[tuple[str, str | None]]:
    """Kind and tensor of what is found of a target in which something was changed."""
    judged, words = verdict(written(sample, way[0], folder), written(sample, way[1], folder, edit))
    return {(finding.kind, finding.tensor) for finding in judged.findings + words}


def put(tensors: dict[str, Tensor], name: str, values: Any) -> None:
    old = tensors[name]
    numbers = np.ascontiguousarray(values, np.float32)
    kind = old.type if old.type.name != "F32" else TYPES["F32"]
    data = numbers if kind.name == "F32" else kind.encode(numbers.reshape(-1))
    tensors[name] = Tensor.of(name, kind, old.shape, data)


def swapped(one: str, other: str) -> Edit:
    def edit(tensors: dict[str, Tensor]) -> None:
        first, second = tensors[one], tensors[other]
        tensors[one], tensors[other] = replace(second, name=one), replace(first, name=other)

    return edit


def plus(amount: float, *names: str) -> Edit:
    def edit(tensors: dict[str, Tensor]) -> None:
        for name in names:
            put(tensors, name, tensors[name].values() + np.float32(amount))

    return edit


def hugging_face_norms(folder: Path, change: Callable[[Any], Any], *names: str) -> None:
    """Other numbers in norms of a directory, by GGUF's names, stored in F32."""
    path = folder / "model.safetensors"
    with safetensors.read(path) as archive:
        tensors = {name: Tensor.of(name, one.type, one.shape, one.data.copy()) for name, one in archive.tensors.items()}
    for name in names:
        theirs = str(mapping.hugging_face_name(name, "gemma3"))
        old = tensors[theirs]
        tensors[theirs] = Tensor.of(theirs, TYPES["F32"], old.shape, change(old.values()).astype(np.float32))
    safetensors.write(Archive("safetensors", {"format": "pt"}, tensors), path)


# What is right


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sample", [QWEN3, GEMMA3], ids=lambda sample: sample.name)
def test_nothing_is_said_of_a_right_conversion(sample: Sample, way: str, tmp_path: Path) -> None:
    assert after(sample, way, tmp_path) == set()


def test_gguf_has_one_more_in_every_norm_of_gemma3_and_in_none_of_qwen3(tmp_path: Path) -> None:
    for sample, more in ((GEMMA3, 1), (QWEN3, 0)):
        with look(written(sample, "G", tmp_path)) as ours, look(written(sample, "S", tmp_path)) as theirs:
            norms = [name for name, seen in ours.tensors.items() if len(seen.tensor.shape) == 1]
            assert len(norms) == (37 if more else 9)
            for name in norms:
                w = theirs.tensors[name].tensor.values()
                assert np.array_equal(w + np.float32(more), ours.tensors[name].tensor.values())
                narrow = TYPES["BF16"].encode((w + np.float32(1)).astype(np.float32))
                # bfloat16 does not hold the sum: who computes it in the type of the directory is seen
                assert not more or not np.array_equal(TYPES["BF16"].decode(narrow), w + np.float32(1))


# Norms of gemma3


@pytest.mark.parametrize(
    "names", [(NORM,), (Q_NORM, K_NORM), (LAST,), (POST, POST_FFW, FFN_NORM)], ids=lambda one: one[0]
)
@pytest.mark.parametrize(("amount", "said"), [(-1, "nothing was added"), (1, "+2 was added")])
def test_a_norm_without_one_more_or_with_two(amount: int, said: str, names: tuple[str, ...], tmp_path: Path) -> None:
    judged, words = verdict(written(GEMMA3, "S", tmp_path), written(GEMMA3, "G", tmp_path, plus(amount, *names)))
    assert {(finding.kind, finding.tensor) for finding in judged.findings} == {("values", name) for name in names}
    assert all(f": {said}, and +1 has to be" in finding.detail for finding in judged.findings)
    assert not words


@pytest.mark.parametrize(("amount", "said"), [(1, "nothing was added"), (-1, "-2 was added"), (2, "+1 was added")])
def test_a_norm_of_a_directory_that_has_gguf_numbers(amount: int, said: str, tmp_path: Path) -> None:
    source, target = written(GEMMA3, "G", tmp_path), written(GEMMA3, "S", tmp_path)
    hugging_face_norms(target, lambda w: w + np.float32(amount), NORM, K_NORM)
    judged, _ = verdict(source, target)
    assert {(finding.kind, finding.tensor) for finding in judged.findings} == {("values", NORM), ("values", K_NORM)}
    assert all(f": {said}, and -1 has to be" in finding.detail for finding in judged.findings)


def test_the_sum_in_bfloat16_is_not_the_sum(tmp_path: Path) -> None:
    def narrow(tensors: dict[str, Tensor]) -> None:
        kind = TYPES["BF16"]
        put(tensors, NORM, kind.decode(kind.encode(tensors[NORM].values())))

    assert after(GEMMA3, "SG", tmp_path, narrow) == {("values", NORM)}


@pytest.mark.parametrize("lossless", [False, True])
def test_what_the_sum_rounds_away_need_not_come_back(lossless: bool, tmp_path: Path) -> None:
    """1 + 2^-30 is 1: both legs are right, and only who promises every bit has to give the 2^-30 back."""
    small = np.full(GEMMA3.model.tensors[NORM].shape, 2.0**-30, np.float32)
    total = np.float32(1) + small
    start, end = written(GEMMA3, "S", tmp_path), written(GEMMA3, "S", tmp_path)
    hugging_face_norms(start, lambda old: small, NORM)
    hugging_face_norms(end, lambda old: total - np.float32(1), NORM)
    between = written(GEMMA3, "G", tmp_path, lambda tensors: put(tensors, NORM, total))
    legs = [Leg(("safetensors", "gguf"), start, between), Leg(("gguf", "safetensors"), between, end)]
    found = Chain(legs, Judgements(Entry("x", lossless=lossless))).ends("F-CONV-RT-001").findings
    assert [(each.kind, each.tensor) for each in found] == ([("values", NORM)] if lossless else [])


def test_apr_has_the_numbers_of_the_names_that_it_has(tmp_path: Path) -> None:
    """GGUF's names go with 1 more, Hugging Face's with what the directory has; the other way round is wrong."""
    assert after(GEMMA3, "GA", tmp_path, plus(-1, NORM)) == {("values", NORM)}
    assert after(GEMMA3, "SA", tmp_path, plus(-1, NORM)) == {("values", NORM)}
    face = write.apr_face(GEMMA3)
    theirs = write.hugging_face_face(GEMMA3).tensors
    source = written(GEMMA3, "G", tmp_path)
    for tensors, found in ((theirs, set()), (renamed(face.tensors), {"values"})):
        path = tmp_path / f"{len(found)}.apr"
        write.apr.write(Archive("apr", face.metadata, tensors), path)
        judged, _ = verdict(source, path)
        assert {finding.kind for finding in judged.findings} == found
        assert len(judged.findings) == (37 if found else 0)


def renamed(tensors: Any) -> dict[str, Tensor]:
    """GGUF's numbers under Hugging Face's names."""
    names = {name: str(mapping.hugging_face_name(name, "gemma3")) for name in tensors}
    return {names[name]: replace(tensor, name=names[name]) for name, tensor in tensors.items()}


@pytest.mark.parametrize("way", ["SG", "GS", "GA"])
@pytest.mark.parametrize(
    "pair", [(POST, POST_FFW), (POST, FFN_NORM), (Q_NORM, K_NORM), (NORM, POST)], ids=lambda one: one[1]
)
def test_norms_in_each_others_place(pair: tuple[str, str], way: str, tmp_path: Path) -> None:
    assert after(GEMMA3, way, tmp_path, swapped(*pair)) == {("values", name) for name in pair}


def test_the_norms_of_gemma3_by_the_names_of_llama(tmp_path: Path) -> None:
    """Where llama has post_attention_layernorm, GGUF has ffn_norm; the two norms that llama does not have keep their names."""
    wrong = {POST: FFN_NORM}
    wrong |= {name: str(mapping.hugging_face_name(name, "gemma3")) for name in (FFN_NORM, POST_FFW)}
    tensors = {}
    for name, tensor in GEMMA3.model.tensors.items():
        tensors[wrong.get(name, name)] = replace(tensor, name=wrong.get(name, name))
    out = tmp_path / "llama-names.gguf"
    gguf.write(Archive("gguf", GEMMA3.model.metadata, tensors), out)
    judged, _ = verdict(written(GEMMA3, "S", tmp_path), out)
    assert {(finding.kind, finding.tensor) for finding in judged.findings} == {
        ("lost", POST), ("values", FFN_NORM), ("twice", wrong[FFN_NORM]), ("foreign-name", POST_FFW),
    }  # fmt: skip


@pytest.mark.parametrize("theirs", [False, True], ids=["gguf-numbers", "hugging-face-numbers"])
def test_a_norm_under_the_name_of_the_other_format(theirs: bool, tmp_path: Path) -> None:
    """No loader finds it, whosever numbers it has: that is one finding."""
    name = str(mapping.hugging_face_name(NORM, "gemma3"))
    tensors = {**GEMMA3.model.tensors, NORM: GEMMA3.model.tensors[NORM]}
    numbers = tensors[NORM].values() - np.float32(theirs)
    tensors = {name if key == NORM else key: one for key, one in tensors.items()}
    tensors[name] = Tensor.of(name, TYPES["F32"], numbers.shape, numbers)
    out = tmp_path / "out.gguf"
    gguf.write(Archive("gguf", GEMMA3.model.metadata, tensors), out)
    judged, _ = verdict(written(GEMMA3, "S", tmp_path), out)
    assert {(finding.kind, finding.tensor) for finding in judged.findings} == {("foreign-name", NORM)}


@pytest.mark.parametrize(("way", "amount"), [("SG", 0), ("GS", 0), ("GA", 0), ("GA", -1), ("SA", 0), ("SA", -1)])
def test_a_norm_under_a_name_that_nobody_knows(way: str, amount: int, tmp_path: Path) -> None:
    target = written(GEMMA3, way[1], tmp_path)
    path = target / "model.safetensors" if target.is_dir() else target
    module = {"G": gguf, "S": safetensors, "A": write.apr}[way[1]]
    with module.read(path) as archive:
        tensors = {name: Tensor.of(name, one.type, one.shape, one.data.copy()) for name, one in archive.tensors.items()}
        stored = next(name for name in tensors if mapping.canonical_name(name, "gemma3") == POST)
        old = tensors.pop(stored)
        numbers = old.values() + np.float32(amount)
        tensors["mine"] = Tensor.of("mine", TYPES["F32"], old.shape, numbers)
        metadata = archive.metadata
    module.write(Archive(archive.format, metadata, tensors), path)
    judged, _ = verdict(written(GEMMA3, way[0], tmp_path), target)
    assert {(finding.kind, finding.tensor) for finding in judged.findings} == {("foreign-name", POST)}


# qwen3


@pytest.mark.parametrize("way", ["SG", "GS", "GA", "AS"])
def test_q_and_k_norms_in_each_others_place(way: str, tmp_path: Path) -> None:
    assert after(QWEN3, way, tmp_path, swapped(Q_NORM, K_NORM)) == {("values", Q_NORM), ("values", K_NORM)}


@pytest.mark.parametrize("way", ["SG", "GS"])
def test_a_norm_of_qwen3_with_one_more(way: str, tmp_path: Path) -> None:
    assert after(QWEN3, way, tmp_path, plus(1, Q_NORM)) == {("values", Q_NORM)}


@pytest.mark.parametrize("sample", [QWEN3, GEMMA3], ids=lambda sample: sample.name)
@pytest.mark.parametrize("turn", [mapping.to_pairs, mapping.to_halves], ids=["pairs", "halves"])
def test_rows_turned_as_those_of_llama(turn: Any, sample: Sample, tmp_path: Path) -> None:
    def edit(tensors: dict[str, Tensor]) -> None:
        for name, heads in ((Q, 8), (K, 2)):
            put(tensors, name, turn(tensors[name].values(), heads))

    assert after(sample, "SG", tmp_path, edit) == {("rows-permuted", Q), ("rows-permuted", K)}


def test_k_turned_as_q_of_llama(tmp_path: Path) -> None:
    def edit(tensors: dict[str, Tensor]) -> None:
        put(tensors, K, mapping.to_halves(tensors[K].values(), 8))

    assert after(QWEN3, "SG", tmp_path, edit) == {("rows-permuted", K)}


def test_the_size_of_a_head_is_stated(tmp_path: Path) -> None:
    """Without head_dim transformers takes 128, llama.cpp the width over the heads: neither may be left out."""
    source, target = written(QWEN3, "G", tmp_path), written(QWEN3, "S", tmp_path)
    config = json.loads((target / "config.json").read_text())
    del config["head_dim"]
    (target / "config.json").write_text(json.dumps(config))
    _, words = verdict(source, target)
    assert [finding.detail for finding in words] == ["head_dim is not there, which means 128; it is 16"] * 2
    square = build("square", Spec("qwen3", 8, 2, 8, 96, layers=1, modern=True), [("BF16", "index-coded")], 0)
    config = json.loads(square.companions["config.json"])
    del config["head_dim"]
    bare = replace(square, companions={**square.companions, "config.json": json.dumps(config).encode()})
    _, words = verdict(written(square, "G", tmp_path), written(bare, "S", tmp_path))
    assert [finding.detail for finding in words] == ["head_dim is not there, which means 128; it is 8"] * 2
    model = square.model
    keys = {key: value for key, value in model.metadata.items() if not key.endswith(("key_length", "value_length"))}
    _, words = verdict(
        written(square, "S", tmp_path), written(replace(square, model=replace(model, metadata=keys)), "G", tmp_path)
    )
    assert not words


# Numbers, words and names of the architecture


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("sliding_window", 16, "sliding_window is 16, and was 8"),
        ("sliding_window", None, "sliding_window is not there, which means 4096; it is 8"),
        ("query_pre_attn_scalar", 256, "query_pre_attn_scalar is 256, and has to be 16"),
        ("query_pre_attn_scalar", None, "query_pre_attn_scalar is None, and has to be 16"),
        ("layer_types", ["full_attention"] * 6, "layer_types is"),
    ],
)
def test_numbers_of_gemma3(key: str, value: Any, said: str, tmp_path: Path) -> None:
    source, target = written(GEMMA3, "G", tmp_path), written(GEMMA3, "S", tmp_path)
    config = json.loads((target / "config.json").read_text())
    config = {name: one for name, one in config.items() if name != key} | ({} if value is None else {key: value})
    (target / "config.json").write_text(json.dumps(config))
    judged, words = verdict(source, target)
    assert not judged.findings
    assert len(words) == 1
    assert words[0].detail.startswith(said)


@pytest.mark.parametrize(
    ("window", "pattern", "kinds"),
    [
        (None, None, "FFFFFF"),
        (0, None, "FFFFFF"),
        (8, [True, False] * 3, "SFSFSF"),
        (8, 3, "SSFSSF"),
        (8, 0, "SSSSSS"),
    ],
)
def test_the_layers_that_look_at_a_window(window: Any, pattern: Any, kinds: str, tmp_path: Path) -> None:
    """As llama.cpp reads its keys: config.json has to say the same of each layer."""
    metadata = {key: one for key, one in GEMMA3.model.metadata.items() if "sliding_window" not in key}
    if window is not None:
        metadata["gemma3.attention.sliding_window"] = Value.scalar(mapping.Kind.U32, window)
    if isinstance(pattern, list):
        metadata["gemma3.attention.sliding_window_pattern"] = Value.array(mapping.Kind.BOOL, pattern)
    elif pattern is not None:
        metadata["gemma3.attention.sliding_window_pattern"] = Value.scalar(mapping.Kind.U32, pattern)
    source = written(replace(GEMMA3, model=replace(GEMMA3.model, metadata=metadata)), "G", tmp_path)
    target = written(GEMMA3, "S", tmp_path)
    config = json.loads((target / "config.json").read_text())
    words = {"F": "full_attention", "S": "sliding_attention"}
    said = config | {"sliding_window": window, "layer_types": [words[kind] for kind in kinds]}
    (target / "config.json").write_text(json.dumps(said))
    assert verdict(source, target)[1] == []
    (target / "config.json").write_text(json.dumps(said | {"layer_types": config["layer_types"]}))
    assert [finding.kind for finding in verdict(source, target)[1]] == ["number-wrong"]


@pytest.mark.parametrize("layers", [1 << 31, 0, "6"])
def test_nothing_follows_from_a_number_of_layers_that_no_model_has(layers: Any) -> None:
    with pytest.raises(ValueError, match="layers"):
        MODELS["gemma3"].implied({"block_count": layers, "attention.key_length": 16})


@pytest.mark.parametrize("swap", [False, True])
def test_both_bases_of_rope_are_read_in_either_spelling(swap: bool, tmp_path: Path) -> None:
    """`rope_parameters` for each kind of layer since transformers 5, two keys before; a base for the wrong kind is a wrong number."""
    source, target = written(GEMMA3, "G", tmp_path), written(GEMMA3, "S", tmp_path)
    config = json.loads((target / "config.json").read_text())
    new = config.pop("rope_parameters")
    full, local = (new[kind]["rope_theta"] for kind in ("full_attention", "sliding_attention"))
    full, local = (local, full) if swap else (full, local)
    for old in (
        {"rope_theta": full, "rope_local_base_freq": local, "rope_scaling": None},
        {"rope_parameters": {"full_attention": {"rope_theta": full}, "sliding_attention": {"rope_theta": local}}},
    ):
        (target / "config.json").write_text(json.dumps(config | old))
        _, words = verdict(source, target)
        assert {finding.kind for finding in words} == ({"number-wrong"} if swap else set())
        assert len(words) == (2 if swap else 0)


def test_a_scaling_of_the_layers_that_see_everything(tmp_path: Path) -> None:
    keys = {
        "gemma3.rope.scaling.type": Value.scalar(mapping.Kind.STRING, "linear"),
        "gemma3.rope.scaling.factor": Value.scalar(mapping.Kind.F32, np.float32(8)),
    }
    spec = Spec("gemma3", 8, 2, 16, 160, layers=6, stream=96, tied=True, base="BF16", modern=True, keys=keys)
    sample = build("scaled", spec, [("BF16", "index-coded")], 0)
    table = json.loads(sample.companions["config.json"])["rope_parameters"]
    assert table["full_attention"] == {"rope_theta": 100000.0, "rope_type": "linear", "factor": 8.0}
    assert after(sample, "GS", tmp_path) == after(sample, "SG", tmp_path) == set()
    plain = replace(sample, companions=GEMMA3.companions)
    _, words = verdict(written(sample, "G", tmp_path), written(plain, "S", tmp_path))
    assert {finding.kind for finding in words} == {"scaling-lost"}


def test_a_space_before_every_text_is_a_wrong_tokenizer(tmp_path: Path) -> None:
    model = GEMMA3.model
    keys = {key: value for key, value in model.metadata.items() if not key.endswith("add_space_prefix")}
    prefixed = replace(GEMMA3, model=replace(model, metadata=keys))
    _, words = verdict(written(GEMMA3, "S", tmp_path), written(prefixed, "G", tmp_path))
    assert [finding.detail for finding in words] == ["space prefix: it is not there"]
    source, target = written(GEMMA3, "G", tmp_path), written(GEMMA3, "S", tmp_path)
    tokenizer = json.loads((target / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "Prepend", "prepend": "▁"}, tokenizer["normalizer"]],
    }
    (target / "tokenizer.json").write_text(json.dumps(tokenizer))
    _, words = verdict(source, target)
    assert [finding.detail for finding in words] == ["space prefix: it is not there"]


@pytest.mark.parametrize("sample", [QWEN3, GEMMA3], ids=lambda sample: sample.name)
@pytest.mark.parametrize("way", ["SG", "GS"])
def test_an_output_that_names_another_architecture_is_one_finding(way: str, sample: Sample, tmp_path: Path) -> None:
    source, target = written(sample, way[0], tmp_path), written(sample, way[1], tmp_path)
    if way == "SG":
        with gguf.read(target) as archive:
            keys = {
                key.replace(f"{sample.architecture}.", "llama."): value for key, value in archive.metadata.items()
            } | {"general.architecture": Value.scalar(mapping.Kind.STRING, "llama")}
            out = tmp_path / "other.gguf"
            gguf.write(Archive("gguf", keys, dict(archive.tensors)), out)
        target = out
    else:
        config = json.loads((target / "config.json").read_text())
        config |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
        (target / "config.json").write_text(json.dumps(config))
    judged, words = verdict(source, target)
    assert not judged.findings
    assert [finding.detail for finding in words] == [f"{sample.architecture} became llama"]


def test_an_architecture_without_a_record_is_refused_by_name() -> None:
    with pytest.raises(UnknownModelError, match=r"'phi9' is none of gemma3, llama"):
        build("unknown", Spec("phi9", 8, 2, 8, 96), [("F32", "index-coded")], 0)
    assert models.families(("phi9",)) == []
    assert not [sample for sample in default(0, architectures=("phi9",)) if sample.architecture]


def test_names_without_an_architecture_mean_what_the_plainest_model_says() -> None:
    assert mapping.canonical_name("model.layers.0.post_attention_layernorm.weight") == FFN_NORM
    assert mapping.canonical_name("model.layers.0.post_attention_layernorm.weight", "gemma3") == POST
    assert mapping.canonical_name("model.layers.0.pre_feedforward_layernorm.weight") == FFN_NORM
    assert mapping.canonical_name("model.layers.0.self_attn.q_norm.weight", "llama") is None
    for name, model in MODELS.items():
        names = [str(model.to_hugging_face(f"blk.0.{role.gguf}.weight")) for role in model.layer]
        assert len(reading(None, names).layer) == len(model.layer), name
