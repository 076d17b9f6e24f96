"""Diagnosis, crossed: each member of the zoo is diagnosed as itself, two at once as two, and what is right not at all."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.convert import convert
from rosetta_ref.diagnosis import UNKNOWN, Diagnosis, attach, diagnose
from rosetta_ref.formats import safetensors
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, Finding, Result
from rosetta_ref.gate.inputs import default as default_samples
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.judge.tensors import META, judge
from rosetta_ref.gate.judge.view import look
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.zoo import MEMBERS, Member
from rosetta_ref.zoo.inputs import smallest
from rosetta_ref.zoo.member import CLASSES, is_model, unchecked
from rosetta_ref.zoo.members import words
from tests.support.nightly import part

RUNNING = [member for member in MEMBERS.values() if member.waiting_for is None]
SUFFIXES = {"gguf": ".gguf", "apr": ".apr", "safetensors": ""}
#: A model of the gate, a pair, and the members that show there.
MODELS: dict[tuple[str, str], tuple[str, ...]] = {
    ("apr-types", "A-S"): (
        "quant-bytes-read-as-f32", "first-block-only", "aprq4-in-halves", "aprq8-scale-divides", "floats-written-big-endian",
        "apr-offsets-unpadded",
    ),
    ("apr-types", "A-G"): ("aprq8-labelled-q8_0",),
    ("llama-legacy", "G-S"): (
        "type-ids-from-memory", "q5_0-interleaved", "q4_1-skips-two-bytes", "f16-scale-as-bf16", "shape-not-reversed",
    ),
    ("llama-few-bits", "G-S"): ("mxfp4-neighbours",),
    ("llama-k", "G-A"): ("raw-blocks-labelled-f32",),
    ("llama-k", "G-S"): (
        "q5_k-in-sequence", "q2_k-sequential-scales", "q3_k-scales-4-bit", "k-scales-bit-stream", "k-scales-low-bits",
        "subnormal-scale-zeroed",
    ),
    ("qwen2-bf16-tied", "G-S"): ("bf16-labelled-f16", "bf16-pairs-turned", "bf16-through-f16", "tied-head-dropped"),
    ("qwen2-bf16-tied", "G-A"): ("embedding-scaled",),
    ("qwen2-bf16-tied", "S-G"): (
        "q4_0-packs-neighbours", "q4_0-twos-complement", "header-padding-not-counted", "permutes-every-architecture",
        "drops-biases", "tied-head-invented", "bos-and-eos-exchanged", "epsilon-is-a-constant", "gate-and-up-exchanged",
    ),
    ("qwen2-bf16-tied", "S-A"): ("ragged-row-flattened", "aprq4-rounds-towards-zero"),
    ("llama-f32-tied", "G-S"): (
        "f16-truncates-and-flushes", "bf16-truncates", "query-scale-folded-in", "vectors-made-rows", "data-transposed-too",
        "inverse-permutation-is-forward", "rope-theta-forgotten", "kv-heads-are-query-heads",
    ),
    ("llama-f32-tied", "S-G"): (
        "k-permuted-with-wrong-head-count", "k-permuted-as-q", "norm-plus-one-everywhere", "tokenizer-dropped",
    ),
    ("gemma3-bf16", "S-G"): ("norm-plus-one-forgotten", "norm-plus-one-twice"),
    ("llama-f32-tied", "G-A"): (
        "null-and-alias", "tokenizer-words-only", "numbers-under-two-keys", "index-sorted-data-not",
    ),
    ("llama-floats-special", "A-S"): ("f16-subnormals-read-as-zero", "f16-clamps"),
    ("llama-bf16-biased", "S-G"): ("biases-not-permuted", "head-taken-for-tied"),
    ("llama-rough", "G-A"): ("zero-block-gives-nan-scale",),
    ("aligned-64", "G-S"): ("alignment-key-ignored",),
    ("sharded", "G-S"): ("first-part-only",),
    ("sharded-stale", "S-G"): ("stale-shard-wins", "first-copy-wins"),
}  # fmt: skip
#: Members whose smallest input is a model, or a file that no model of the gate is.
NO_MODEL = {
    "alignment-key-kept-not-applied": "needs an APR file that remembers GGUF's alignment",
    "truncation-accepted": "needs a file that is cut",
    "big-endian-block-swapped-whole": "needs a big-endian file",
    "shard-taken-for-whole": "needs an APR file with the flag of a shard",
    "shards-by-pattern": "needs an index that cannot be read",
    "every-file-of-the-folder": "needs a single file beside an index",
    "missing-shard-left-out": "needs a directory without one of its files",
    "apr-rope-type-ignored": "its smallest input is a model",
    "layers-sorted-as-text": "its smallest input is a model",
} | dict.fromkeys(
    (member.id for member in words.MEMBERS), "its smallest input is a model, and no number of it is wrong"
)
#: Members whose smallest output is constant, which proves nothing by itself: they are asked whether it is theirs.
CONSTANT = ("subnormal-scale-zeroed", "zero-block-gives-nan-scale", "apr-offsets-unpadded")
IN_MODELS = [(MEMBERS[name], sample, pair) for (sample, pair), names in MODELS.items() for name in names]
EVERY_RUN = tuple(names[0] for names in list(MODELS.values())[:3])
#: Three models in every run, the others by night.
CROSSED = [
    pytest.param(member, sample, pair, marks=() if member.id in EVERY_RUN else pytest.mark.slow)
    for member, sample, pair in IN_MODELS
]

#: Of each class every third member in every run, and so one of each; the others by night.
EVERY_THIRD = [one for name in CLASSES for one in part([member for member in RUNNING if member.klass == name], every=3)]


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory):
    """The file or directory of a sample in a format, made once."""
    folder = tmp_path_factory.mktemp("faces")
    known = {
        one.name: one for one in (*default_samples.default(1, whole_models=True), *default_samples.for_quantisers(1))
    }
    made: dict[tuple[str, str], Path] = {}

    def give(sample: str, kind: str) -> Path:
        if (sample, kind) not in made:
            made[sample, kind] = write.write(known[sample], kind, folder / sample / kind)
        return made[sample, kind]

    return give


def named(folder: Path, source: Path, pair: str) -> Path:
    kind = LETTERS[pair[-1]]
    return folder / ("out.safetensors" if kind == "safetensors" and not is_model(source) else f"out{SUFFIXES[kind]}")


def ids(found: list[Diagnosis]) -> set[tuple[str, ...]]:
    return {one.ids for one in found}


def causes(found: list[Diagnosis]) -> dict[str, tuple[str, ...]]:
    return {name: one.ids for one in found for name in one.tensors}


# --- crossing ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", EVERY_THIRD, ids=lambda member: member.id)
def test_a_member_is_diagnosed_as_itself_on_its_smallest_input(member: Member, tmp_path: Path) -> None:
    source = smallest(member.id, tmp_path / "in")
    output = named(tmp_path, source, member.pairs[0])
    member.convert(source, output)
    if member.id in CONSTANT:
        assert ids(diagnose(source, output, asked=member.asks)) == {(UNKNOWN,)}
    suspects = [member] if member.id in CONSTANT else None
    found = diagnose(source, output, asked=member.asks, members=suspects)
    assert found
    assert len(ids(found)) == 1
    (diagnosed,) = ids(found).pop()
    assert diagnosed == member.id or diagnosed in member.alike
    assert {cause.link for one in found for cause in one.causes} == {MEMBERS[diagnosed].link}
    if diagnosed != member.id:
        assert all(member.id in cause.alike for one in found for cause in one.causes)


@pytest.mark.parametrize(("member", "sample", "pair"), CROSSED, ids=lambda x: x if isinstance(x, str) else x.id)
def test_a_member_is_diagnosed_as_itself_in_a_model(
    member: Member, sample: str, pair: str, face, tmp_path: Path
) -> None:
    source = face(sample, LETTERS[pair[0]])
    output = named(tmp_path, source, pair)
    member.convert(source, output)
    assert ids(diagnose(source, output, asked=member.asks)) == {(member.id,)}


def test_every_member_is_crossed_in_a_model_or_says_why_not() -> None:
    crossed = {member.id for member, _, _ in IN_MODELS}
    assert crossed | NO_MODEL.keys() == {member.id for member in RUNNING}
    assert not crossed & NO_MODEL.keys()


@pytest.mark.parametrize("pair", ["G-A", "G-S", "S-G", "S-A"])
def test_the_reference_gets_no_diagnosis(pair: str, face, tmp_path: Path) -> None:
    for sample in ("llama-f32-tied", "qwen2-bf16-tied"):
        source = face(sample, LETTERS[pair[0]])
        output = named(tmp_path / sample, source, pair)
        output.parent.mkdir()
        convert(source, output)
        with look(source) as before, look(output) as after:
            assert sum(judge(before, after).elements.values()) > 30_000
        assert diagnose(source, output) == []


@pytest.mark.parametrize(
    ("member", "sample", "pair"),
    [
        ("k-permuted-as-q", "llama-f32-tied", "S-G"),
        ("quant-bytes-read-as-f32", "apr-types", "A-S"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("norm-plus-one-everywhere", "llama-f32-tied", "S-G"),
                ("q5_0-interleaved", "llama-legacy", "G-S"),
                ("tokenizer-words-only", "llama-f32-tied", "G-A"),
                ("drops-biases", "qwen2-bf16-tied", "S-G"),
            )
        ),
    ],
)
def test_a_large_source_is_converted_in_parts(member: str, sample: str, pair: str, face, tmp_path: Path) -> None:
    source = face(sample, LETTERS[pair[0]])
    output = named(tmp_path, source, pair)
    MEMBERS[member].convert(source, output)
    assert ids(diagnose(source, output, whole=0)) == {(member,)}


# --- two at once -------------------------------------------------------------------------------------------------------------


def both(first: str, second: str, source: Path, output: Path) -> None:
    """Two wrong parts in one conversion; the options of the first."""
    with unchecked(), ExitStack() as open_:
        open_.enter_context(MEMBERS[second].broken())
        MEMBERS[first].convert(source, output)


@pytest.mark.parametrize(
    ("first", "second", "sample", "pair"),
    [
        ("q5_0-interleaved", "q4_1-skips-two-bytes", "llama-legacy", "G-S"),
        pytest.param("k-permuted-as-q", "norm-plus-one-everywhere", "llama-f32-tied", "S-G", marks=pytest.mark.slow),
        pytest.param(
            "query-scale-folded-in", "kv-heads-are-query-heads", "llama-f32-tied", "G-S", marks=pytest.mark.slow
        ),
        ("numbers-under-two-keys", "embedding-scaled", "qwen2-bf16-tied", "G-A"),
    ],
)
def test_two_members_in_one_file_are_each_named(
    first: str, second: str, sample: str, pair: str, face, tmp_path: Path
) -> None:
    source = face(sample, LETTERS[pair[0]])
    output = named(tmp_path, source, pair)
    both(first, second, source, output)
    assert ids(diagnose(source, output)) == {(first,), (second,)}


@pytest.mark.parametrize(
    ("first", "second", "sample", "pair", "tensor", "expected"),
    [
        ("q5_0-interleaved", "shape-not-reversed", "llama-legacy", "G-S", "blk.1.attn_k.weight", ("shape-not-reversed", "q5_0-interleaved")),
        (
            "norm-plus-one-everywhere", "floats-written-big-endian", "llama-f32-tied", "G-S", "output_norm.weight",
            ("bytes-swapped", "norm-plus-one-everywhere"),
        ),
        pytest.param(
            "k-permuted-as-q", "data-transposed-too", "llama-f32-tied", "G-S", "blk.0.attn_k.weight",
            ("data-transposed-too", "k-permuted-as-q"), marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_two_members_in_one_tensor_are_both_named(
    first: str, second: str, sample: str, pair: str, tensor: str, expected: tuple[str, ...], face, tmp_path: Path
) -> None:
    source = face(sample, LETTERS[pair[0]])
    output = named(tmp_path, source, pair)
    both(first, second, source, output)
    found = causes(diagnose(source, output))
    assert found[tensor] == expected


def change(path: Path, name: str, how) -> None:
    """Another tensor in the place of one in a SafeTensors directory."""
    file = path / "model.safetensors"
    with safetensors.read(file) as archive:
        kept = {one.name: Tensor.of(one.name, one.type, one.shape, one.data.copy()) for one in archive.tensors.values()}
        metadata = dict(archive.metadata)
    data = kept[name].data.view("<f4").reshape(kept[name].shape).copy()
    kept[name] = Tensor.of(name, kept[name].type, kept[name].shape, how(data))
    safetensors.write(Archive("safetensors", metadata, kept), file)


def one_more(data):
    data.reshape(-1)[3] += 1
    return data


def test_one_element_besides_makes_it_unknown(face, tmp_path: Path) -> None:
    """Members that explain all the other elements are not named for this tensor; they are for others."""
    source = face("llama-f32-tied", "gguf")
    both("k-permuted-as-q", "norm-plus-one-everywhere", source, tmp_path / "out")
    for name in ("model.layers.0.self_attn.k_proj.weight", "model.norm.weight"):
        change(tmp_path / "out", name, one_more)
    found = diagnose(source, tmp_path / "out")
    assert {name for name, ids in causes(found).items() if ids == (UNKNOWN,)} == {
        "blk.0.attn_k.weight",
        "output_norm.weight",
    }
    assert ids(found) == {("k-permuted-as-q",), ("norm-plus-one-everywhere",), (UNKNOWN,)}


# --- into results ------------------------------------------------------------------------------------------------------------


def test_results_get_the_name_and_the_link(face, tmp_path: Path) -> None:
    source = face("llama-f32-tied", "safetensors")
    both("k-permuted-as-q", "tokenizer-dropped", source, tmp_path / "out.gguf")
    tensor = "blk.1.attn_k.weight"
    results = [
        Result("a", "F-CONV-004", FALSIFIED, findings=[Finding("rows-permuted", "F-CONV-004", "", tensor)]),
        Result("b", "F-CONV-004", CORROBORATED),
        Result("c", "F-CONV-004", FALSIFIED, findings=[Finding("values", "F-CONV-004", "", "blk.0.ffn_up.weight")]),
        Result("d", META, FALSIFIED, findings=[Finding("tokenizer-lost", META, "tokens: it is not there")]),
    ]
    attach(source, tmp_path / "out.gguf", results)
    assert [(result.diagnosis, result.link) for result in results] == [
        ("k-permuted-as-q", MEMBERS["k-permuted-as-q"].link),
        (None, None),
        (None, None),
        ("tokenizer-dropped", MEMBERS["tokenizer-dropped"].link),
    ]


def test_a_foreign_name_is_explained_by_no_numbers(face, tmp_path: Path) -> None:
    """The right numbers under GGUF's name: members that give the same numbers under the right one are not it."""
    source = face("llama-f32-tied", "gguf")
    output = tmp_path / "out"
    convert(source, output, keep_blocks=False, extra_keys=False)
    with safetensors.read(output) as archive:
        tensors = {one.name: one for one in archive.tensors.values()}
        moved = tensors.pop("model.layers.0.mlp.up_proj.weight")
        tensors["blk.0.ffn_up.weight"] = replace(moved, name="blk.0.ffn_up.weight")
        safetensors.write(Archive("safetensors", dict(archive.metadata), tensors), tmp_path / "new.safetensors")
    (tmp_path / "new.safetensors").replace(output / "model.safetensors")
    assert causes(diagnose(source, output)) == {"blk.0.ffn_up.weight": ("unknown",)}
