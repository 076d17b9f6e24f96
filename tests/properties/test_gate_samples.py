"""The samples of the gate show what they are made to show: a blind input would let every converter pass."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.archive import Tensor
from rosetta_ref.formats import gguf
from rosetta_ref.gate.inputs import default as default_samples
from rosetta_ref.gate.inputs import models, write
from rosetta_ref.gate.inputs.alignment import header_size
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.patterns import payloads
from rosetta_ref.quant import TYPES, BlockType

SEEDS = (0, 1, 2)
SCALARS = [kind for kind in TYPES.values() if kind.id is not None and kind.is_scalar]
#: A type that is only carried has no numbers, so the gate cannot ask about it.
BLOCKS = [kind for kind in TYPES.values() if kind.id is not None and kind.decode is not None and not kind.is_scalar]


@cache
def every(seed: int) -> list[Sample]:
    return [sample for whole in (False, True) for sample in default_samples.default(seed, whole_models=whole)]


def values_of(tensor: Tensor) -> np.ndarray:
    """Exact numbers: integers and F64 do not fit float32."""
    return tensor.type.blocks(tensor.data)["x"] if tensor.type.name != "BF16" else tensor.values()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_numbers_of_an_index_coded_tensor_are_equal(seed: int) -> None:
    """So any two elements exchanged are seen, wherever they stand."""
    seen = set()
    for sample in every(seed):
        for name, tensor in sample.model.tensors.items():
            if sample.labels[name].split("/")[2] == "index-coded" and tensor.type.is_scalar:
                assert len(np.unique(values_of(tensor))) == tensor.count, (sample.name, name)
                seen.add(tensor.type.name)
    assert seen == {kind.name for kind in SCALARS}


@pytest.mark.parametrize("kind", BLOCKS, ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_any_two_places_of_a_block_differ_in_some_block(kind: BlockType, seed: int) -> None:
    """So does any permutation of lanes, and any two blocks differ: what is exchanged, within or between, is seen."""
    (sample,) = [
        sample for sample in default_samples.default(seed, types=(kind.name,), architectures=()) if "special" not in sample.name
        and not sample.name.startswith("aligned") and not sample.big_endian
    ]  # fmt: skip
    coded = [tensor for name, tensor in sample.model.tensors.items() if sample.labels[name].endswith("/index-coded")]
    rows = np.concatenate([tensor.values().reshape(-1, kind.elements) for tensor in coded])
    assert np.isfinite(rows).all()
    for place in range(kind.elements):
        differ = (rows != rows[:, place : place + 1]).any(axis=0)
        assert differ.sum() == kind.elements - 1, place
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("kind", BLOCKS, ids=str)
def test_every_bit_of_a_block_means_something_and_takes_both_values(kind: BlockType) -> None:
    """In the index-coded blocks; the sign of a scale of one byte, say, is a bit that one payload alone would leave at 0."""
    data = payloads.payload(kind, 48 * kind.elements, "index-coded", 5)
    bits = np.unpackbits(data.reshape(-1, kind.block_bytes), axis=1)
    constant = np.flatnonzero((bits == bits[0]).all(axis=0))
    # Exponents of ordinary f16 scales, and of E8M0 and UE4M3 ones, are the same few.
    assert len(constant) <= 8 * sum(kind.dtype[name].itemsize for name in _scale_fields(kind))


def _scale_fields(kind: BlockType) -> list[str]:
    names = kind.dtype.names or ()
    return [name for name in names if name in ("d", "dmin", "m", "e", "s")] or ["scales"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["Q4_K", "Q5_K"])
def test_scales_and_minima_of_the_later_sub_blocks_use_their_upper_bits(name: str, seed: int) -> None:
    """`k-scales-bit-stream` and its kin do not show where they are below 16."""
    kind = TYPES[name]
    blocks = kind.blocks(payloads.payload(kind, 6 * 256, "index-coded", seed))
    first, second = blocks["scales"][:, :4], blocks["scales"][:, 4:8]
    upper = np.stack([first >> 6, second >> 6])  # the upper two bits of scale and minimum of 4..7
    assert (upper != 0).any(axis=(1, 2)).all()
    whole = np.concatenate([first & 63, blocks["scales"][:, 8:] & 15 | upper[0] << 4], axis=1)
    assert all(len(set(row.tolist())) == 8 for row in whole)  # all scales of a block differ
    assert (whole > 15).any(axis=1).all()


@pytest.mark.parametrize("kind", [kind for kind in BLOCKS if "d" in (kind.dtype.names or ())], ids=str)
def test_subnormal_scales_are_subnormal_and_matter(kind: BlockType) -> None:
    data = payloads.payload(kind, 6 * kind.elements, "subnormal", 3)
    d = kind.blocks(data)["d"]
    if d.dtype.kind == "f":
        assert ((np.abs(d) > 0) & (np.abs(d.astype(np.float64)) < np.finfo(d.dtype).smallest_normal)).all()
        assert len(np.unique(np.abs(d))) == len(d)
    values = kind.decode(kind.blocks(data))
    assert np.isfinite(values).all()
    assert (values != 0).mean() > 0.2


@pytest.mark.parametrize("kind", SCALARS + BLOCKS, ids=str)
def test_only_special_payloads_are_not_finite(kind: BlockType) -> None:
    for name in payloads.payloads_of(kind):
        data = payloads.payload(kind, 40 * max(kind.elements, 6), name, 1)
        if kind.dtype.names == ("x",) and kind.dtype["x"].kind == "f":
            finite = np.isfinite(kind.blocks(data)["x"])
        else:
            finite = np.isfinite(kind.decode(kind.blocks(data)))
        others = {"Q8_K", "NVFP4", "IQ4_XS"}  # the draw, or the type itself, may have no NaN
        assert finite.all() == (name != "special") or (name == "special" and kind.name in others), name


def test_floats_have_every_hard_pattern_and_every_way_to_round() -> None:
    f32 = payloads.payload(TYPES["F32"], 165, "halfway", 0).view("<f4")
    with np.errstate(over="ignore"):
        narrow = f32.astype("<f2").astype("<f4")
    tie = np.abs(f32.view("<u4") & 0x1FFF) == 0x1000
    assert (np.abs(narrow[tie]) > np.abs(f32[tie])).any()
    assert (np.abs(narrow[tie]) < np.abs(f32[tie])).any()
    bf16_tie = f32.view("<u4") & 0xFFFF == 0x8000
    assert (f32.view("<u4")[bf16_tie] >> 16 & 1).min() == 0
    assert (f32.view("<u4")[bf16_tie] >> 16 & 1).max() == 1
    assert np.isfinite(narrow).all()
    large = payloads.payload(TYPES["F32"], 165, "large", 0).view("<f4")
    assert {65504.0, 65520.0, 1e5} <= set(np.abs(large).tolist())
    for name in ("F16", "BF16", "F32", "F64"):
        made = payloads.payload(TYPES[name], 165, "special", 0).view(f"<u{TYPES[name].block_bytes}")
        assert set(payloads.hard_bits(TYPES[name]).tolist()) <= set(made.tolist())


# Models


@pytest.mark.parametrize("seed", SEEDS)
def test_models_avoid_what_hides_bugs_of_heads(seed: int) -> None:
    shapes = set()
    for sample in every(seed):
        if sample.architecture is None:
            continue
        numbers = {row.gguf: value for row, value in mapping.numbers_of(sample.model.metadata).items()}
        if sample.name == "llama-silent-file":  # which says neither
            continue
        heads, groups = numbers["attention.head_count"], numbers["attention.head_count_kv"]
        assert heads != groups**2
        # Where rows are turned: there and back are the same of so few.
        assert numbers["attention.key_length"] not in (2, 4) or not MODELS[sample.architecture].pairs
        shapes.add((sample.architecture, heads, groups, numbers["attention.key_length"]))
    assert {shape[1:3] for shape in shapes if shape[0] == "llama"} >= {(8, 2), (6, 3), (4, 1)}
    assert {shape[3] for shape in shapes} >= {8, 16, 64}
    assert {shape[0] for shape in shapes} == set(MODELS)


def test_what_a_wrong_head_count_does_is_seen() -> None:
    """A k that is turned with the wrong number of heads, or turned the wrong way, is other bytes in every llama model."""
    for sample in every(0):
        for name, tensor in sample.model.tensors.items():
            heads = mapping.row_heads(name, sample.model.metadata)
            if heads is None or sample.labels[name].endswith(("zero", "special")):
                continue
            rows = tensor.values().reshape(tensor.shape[0], -1)
            right = mapping.to_halves(rows, heads)
            all_heads = mapping.number(sample.model.metadata, "attention.head_count")
            groups = mapping.number(sample.model.metadata, "attention.head_count_kv") or all_heads
            wrong = [
                rows,
                mapping.to_pairs(rows, heads),
                *(mapping.to_halves(rows, n) for n in _others(heads, all_heads, groups, len(rows))),
            ]
            assert not any(np.array_equal(right, other) for other in wrong), (sample.name, name)


def _others(heads: int, all_heads: int, groups: int, rows: int) -> set[int]:
    """Head counts that converters took: that of q for k, that of k for q, all heads over those of k."""
    found = {all_heads, groups, all_heads // groups} - {heads}
    return {count for count in found if rows % (2 * count) == 0}


def test_each_feature_has_a_model() -> None:
    made = {sample.name: sample for sample in default_samples.default(0)}
    tied = {sample.architecture: set() for sample in made.values()}
    for sample in made.values():
        tied[sample.architecture].add("output.weight" in sample.model.tensors)
    assert tied["llama"] == tied["qwen2"] == {True, False}
    assert (tied["qwen3"], tied["gemma3"]) == ({True}, {False})
    for name in set(MODELS) - {"llama", "qwen2"}:  # each has one of its own, and all its roles are in it
        plain = {f"{name}-{kind}" for kind in ("bf16", "f16", "f32")}
        (own,) = [sample for sample in made.values() if sample.name in plain]
        roles = {mapping.role_of(tensor, name) for tensor in own.model.tensors}
        assert roles >= {*MODELS[name].layer}
        assert own.model.metadata[f"{name}.block_count"].plain() >= MODELS[name].pattern
    assert "blk.0.attn_q.bias" in made["llama-bf16-biased"].model.tensors
    assert "blk.0.attn_q.bias" in made["qwen2-f32"].model.tensors
    assert "tokenizer.ggml.scores" in made["llama-f16-scores"].model.metadata
    assert sum("blk.1.attn_q.weight" in sample.model.tensors for sample in made.values()) > 8
    assert made["sharded"].shards == 3
    assert any("blk.10.attn_q.weight" in sample.model.tensors for sample in made.values())
    assert made["aligned-model-64"].architecture is not None  # so that chains go through it
    assert made["aligned-model-64"].model.metadata["general.alignment"].plain() == 64


def test_halves_in_apr_are_what_the_directory_has() -> None:
    """The names, the rows and the number that says so; the same tensors in GGUF's order stand in other files."""
    (sample,) = [sample for sample in default_samples.default(0) if sample.halves_in_apr]
    halves, pairs = write.apr_face(sample), write.apr_face(replace(sample, halves_in_apr=False))
    assert (halves.metadata["rope_type"], pairs.metadata["rope_type"]) == (2, 0)
    heads, size = 4, 16
    for name, theirs in (("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"),):
        here, there = pairs.tensors[name].values(), halves.tensors[theirs].values()
        for head in range(heads):
            rows = here[head * size : (head + 1) * size]
            assert np.array_equal(there[head * size : (head + 1) * size], np.concatenate([rows[0::2], rows[1::2]]))
        assert not np.array_equal(here, there)


def test_big_endian_files_are_what_gguf_py_reads(tmp_path: Path) -> None:
    """It turns fields, shapes and offsets; blocks it leaves to whoever reads them."""
    from gguf import GGUFReader

    (sample,) = [sample for sample in default_samples.default(0) if sample.big_endian]
    path = write.write(sample, "gguf", tmp_path)
    reader = GGUFReader(path)
    assert reader.byte_order == "S"
    assert reader.fields["rosetta.numbers"].contents() == [1, 256]
    assert reader.fields["general.tags"].contents() == ["test", "tiny"]
    assert {tensor.name: tuple(map(int, tensor.shape))[::-1] for tensor in reader.tensors} == {
        name: tensor.shape for name, tensor in sample.model.tensors.items()
    }
    found = {tensor.name: tensor for tensor in reader.tensors}
    for name in ("f32.oblong", "f16.oblong"):
        assert np.array_equal(found[name].data, sample.model.tensors[name].values()), name
    # d and dmin are turned, scales and codes are bytes.
    ours = sample.model.tensors["q4_k.oblong"].data.reshape(-1, 144)
    theirs = np.asarray(found["q4_k.oblong"].data).reshape(-1, 144)
    assert np.array_equal(theirs[:, [1, 0, 3, 2, *range(4, 144)]], ours)


def test_a_model_for_quantisers_has_what_they_get_wrong() -> None:
    (sample,) = default_samples.for_quantisers(0)
    matrices = [tensor.values() for tensor in sample.model.tensors.values() if len(tensor.shape) == 2]
    runs = np.concatenate([matrix.reshape(-1, 256) for matrix in matrices])
    zero = (runs == 0).all(axis=1)
    assert 0.1 < zero.mean() < 0.2
    assert ((runs.reshape(len(runs), 8, 32) == 0).all(axis=2).any(axis=1) & ~zero).mean() > 0.1
    assert ((runs == runs[:, :1]).all(axis=1) & ~zero).mean() > 0.1
    assert (runs > 0).all(axis=1).mean() > 0.1
    assert np.isfinite(runs).all()


def test_stale_copies_come_before_and_behind_the_right_ones(tmp_path: Path) -> None:
    """So that neither the first copy nor the last one is always right."""
    (sample,) = [sample for sample in default_samples.default(0) if sample.stale]
    path = write.write(sample, "safetensors", tmp_path)
    index = write.safetensors.read_index(path / "model.safetensors.index.json")
    first_wins = last_wins = True
    for file in index.files:
        for other in index.files:
            with write.safetensors.read(path / other) as archive:
                stale = [name for name in archive.tensors if index.weight_map[name] == file and other != file]
            first_wins &= not (stale and other < file)
            last_wins &= not (stale and other > file)
    assert not first_wins
    assert not last_wins


# Alignment


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_data_begins_elsewhere_under_every_other_alignment(whole: bool, seed: int, tmp_path: Path) -> None:
    found = set()
    for sample in default_samples.default(seed, whole_models=whole):
        if not sample.name.startswith("aligned"):
            continue
        path = write.write(sample, "gguf", tmp_path / sample.name)
        alignment = sample.model.metadata["general.alignment"].plain()
        with gguf.read(path) as archive:
            first = next(iter(archive.tensors.values()))
            start = first.offset
        size = header_size(sample.model)
        assert start == -(-size // alignment) * alignment
        elsewhere = {-(-size // other) * other for other in (8, 16, 32, 64, 128) if other != alignment}
        assert start not in elsewhere
        assert len(elsewhere) == 4
        found.add(alignment)
    assert found == ({32, 64, 128} if whole else {8, 16, 32, 64})


# The set


def test_the_set_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    def content(seed: int) -> dict[str, bytes]:
        return {
            f"{sample.name}/{name}": bytes(tensor.data)
            for sample in default_samples.default(seed)
            for name, tensor in sample.model.tensors.items()
            if not sample.labels[name].endswith(("zero", "computed"))
        }

    one, again, other = content(1), content(1), content(2)
    assert one == again
    assert one.keys() == other.keys()
    same = [name for name in one if one[name] == other[name]]
    assert not same


@pytest.mark.parametrize("whole", [False, True])
def test_every_type_has_its_cases_in_files_that_are_small(whole: bool) -> None:
    made = default_samples.default(3, whole_models=whole)
    assert len({sample.name for sample in made}) == len(made)
    sizes = {sample.name: sum(tensor.nbytes for tensor in sample.model.tensors.values()) for sample in made}
    # Silence means many and large heads: 8 of 256 for gemma3, in seven layers, and 32 of 128 for k of qwen3.
    assert max(size for name, size in sizes.items() if name.endswith("-silent-directory")) < 6 << 20
    assert max(size for name, size in sizes.items() if not name.endswith("-silent-directory")) < 3 << 20
    labels = {label for sample in made for label in sample.labels.values()}
    for sample in made:
        assert sample.labels.keys() == sample.model.tensors.keys()
        assert sample.formats
        for name, tensor in sample.model.tensors.items():
            assert sample.labels[name].split("/")[0] == tensor.type.name.lower()
    wanted = [kind for kind in SCALARS + BLOCKS if kind.name not in ("Q8_1", "Q8_K")]
    wanted = [kind for kind in wanted if not whole or kind.name[0] not in "I" or kind.name.startswith("IQ")]
    wanted = [kind for kind in wanted if not whole or kind.name != "F64"]
    for kind in wanted:
        for payload in payloads.payloads_of(kind):
            assert any(label.startswith(f"{kind.name.lower()}/") and label.split("/")[2] == payload for label in labels), (
                kind, payload,
            )  # fmt: skip


def test_what_a_converter_does_not_take_is_left_out() -> None:
    only = default_samples.default(0, architectures=("qwen2",), types=("F32", "Q4_K"), whole_models=True)
    assert {sample.architecture for sample in only} == {"qwen2"}
    assert {tensor.type.name for sample in only for tensor in sample.model.tensors.values()} == {"F32", "Q4_K"}
    plain = default_samples.default(0, quantised=False)
    assert all(tensor.type.is_scalar for sample in plain for tensor in sample.model.tensors.values())
    assert any("safetensors" in sample.formats for sample in plain)


def test_too_many_numbers_for_a_type_are_refused() -> None:
    with pytest.raises(ValueError, match="no 40000 different"):
        payloads.payload(TYPES["F16"], 40000, "index-coded", 0)
    with pytest.raises(ValueError, match="no 300 different"):
        payloads.payload(TYPES["I8"], 300, "index-coded", 0)
    assert models.seed_of(1, "a", "b") != models.seed_of(2, "a", "b")
