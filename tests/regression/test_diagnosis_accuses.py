"""A right output is accused of nothing, whoever rounded or encoded it: NumPy's astype, ggml's quantiser. And a bug keeps its name.

Every output here is encoded by `tests.support.encoded`, which uses none of our codecs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.convert import convert
from rosetta_ref.diagnosis import UNKNOWN, Diagnosis, diagnose
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.formats.detect import open_archive, sniff
from rosetta_ref.gate.inputs import default as default_samples
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.inputs import smallest
from rosetta_ref.zoo.member import is_model
from tests.regression.test_diagnosis import IN_MODELS, RUNNING, ids, named
from tests.support.encoded import data_of, encoded, floats_of
from tests.support.nightly import part

FLOATS, BLOCKS = ("F32", "F16", "BF16"), ("Q8_0", "Q4_K")
SAMPLES = {
    one.name: one for one in (*default_samples.default(1, whole_models=True), *default_samples.for_quantisers(1))
}
#: Members whose output is not of the type that is asked for, or no file that can be written anew.
NO_NUMBERS = ("aprq8-labelled-q8_0",)
#: Bugs on the way to one type, which no other type shows.
OF_ONE_TYPE = {"bf16-labelled-f16", "bf16-through-f16", "f16-truncates-and-flushes", "bf16-truncates", "f16-clamps"}


def face(sample: str, kind: str, folder: Path) -> Path:
    return write.write(SAMPLES[sample], kind, folder)


def in_types(pair: str) -> tuple[str, ...]:
    return FLOATS + (BLOCKS if pair[-1] == "G" else ())


def no_name(found: list[Diagnosis]) -> bool:
    """Whether no bug is named: "nothing known" is no accusation."""
    return all(one.ids == (UNKNOWN,) for one in found)


# --- what was said of correct converters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["Q8_0", *(pytest.param(one, marks=pytest.mark.slow) for one in ("F16", "Q4_K", "Q6_K"))]
)
@pytest.mark.parametrize("sample", ["qwen2-bf16-tied", pytest.param("qwen2-f32", marks=pytest.mark.slow)])
def test_an_exact_encoding_that_nobody_asked_for(sample: str, kind: str, tmp_path: Path) -> None:
    """Two members that undo each other, `permutes-every-architecture + rows-permuted`, gave the same bytes."""
    source = face(sample, "safetensors", tmp_path / "in")
    convert(source, tmp_path / "out.gguf")
    assert diagnose(source, encoded(tmp_path / "out.gguf", kind, tmp_path / "other")) == []


def file(path: Path, kind: str, values: np.ndarray, name: str = "a.weight") -> Path:
    data = data_of(kind, values)
    assert data is not None
    tensor = Tensor.of(name, TYPES[kind], values.shape, np.frombuffer(data, np.uint8))
    writer = gguf if path.suffix == ".gguf" else safetensors
    writer.write(Archive(path.suffix[1:], {}, {name: tensor}), path)
    return path


def test_numbers_that_overflow(tmp_path: Path) -> None:
    """`factor`: every number times a little more than 1, and the largest of all beyond the type."""
    with np.errstate(all="ignore"):
        values = np.random.default_rng(2).standard_normal((4, 64)).astype(np.float32)
    values[1, 3], values[2, 5] = 70000.0, -3.4028e38
    source = file(tmp_path / "a.gguf", "F32", values)
    for kind in ("F16", "BF16"):
        assert diagnose(source, file(tmp_path / f"{kind}.safetensors", kind, values)) == []
    only = np.array([[1.0, 65504.0, 65520.0, 1e6, -1e6, np.float32(3.4028e38), 2.0, 4.0]], np.float32)
    source = file(tmp_path / "b.gguf", "F32", only)
    for kind in ("F16", "BF16"):
        assert diagnose(source, file(tmp_path / f"b{kind}.safetensors", kind, only)) == []


def test_nan_that_became_quiet(tmp_path: Path) -> None:
    """`first-part-only`: the first 256 elements of 256, and zeros behind them."""
    bits = np.random.default_rng(2).standard_normal((4, 64)).astype(np.float32).view(np.uint32)
    bits[2, 5], bits[3, 7] = 0x7F800001, 0xFF812345
    quiet = bits.copy()
    quiet[2, 5], quiet[3, 7] = 0x7FC00001, 0xFFC12345
    source = file(tmp_path / "a.gguf", "F32", bits.view(np.float32))
    assert diagnose(source, file(tmp_path / "out.safetensors", "F32", quiet.view(np.float32))) == []


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("constant", [2.0, *slow(4.6006e-41, 0.0, 1.0, -1.0, np.nan, np.inf)])
@pytest.mark.parametrize("value", [1.0, *slow(0.5)])
def test_a_constant_output(value: float, constant: float, tmp_path: Path) -> None:
    """`summand + floats-written-big-endian` on norms of 1.0: what is added swallows what it is added to."""
    folder = face("llama-f32-wide", "gguf", tmp_path / "in")
    with gguf.read(folder) as archive:
        kept = {one.name: Tensor.of(one.name, one.type, one.shape, one.data.copy()) for one in archive.tensors.values()}
        metadata = dict(archive.metadata)
    norms = [name for name in kept if "norm" in name]
    for place, name in enumerate(norms):
        values = np.full(kept[name].shape, np.float32(value))
        values[0] += place % 2  # one that is constant, one that is not
        kept[name] = Tensor.of(name, TYPES["F32"], values.shape, values)
    source = tmp_path / "norms.gguf"
    gguf.write(Archive("gguf", metadata, kept), source)
    convert(source, tmp_path / "out")
    model = tmp_path / "out" / "model.safetensors"
    with safetensors.read(model) as archive:
        made = {one.name: Tensor.of(one.name, one.type, one.shape, one.data.copy()) for one in archive.tensors.values()}
        about = dict(archive.metadata)
    for name in [name for name in made if "norm" in name]:
        made[name] = Tensor.of(name, TYPES["F32"], made[name].shape, np.full(made[name].shape, np.float32(constant)))
    safetensors.write(Archive("safetensors", about, made), model)
    assert no_name(diagnose(source, tmp_path / "out"))


def test_no_configuration_at_all(tmp_path: Path) -> None:
    """`tokenizer-dropped`: nobody dropped the tokenizer of a file that has no place for it."""
    source = face("llama-f32-tied", "gguf", tmp_path / "in")
    convert(source, tmp_path / "out")
    for beside in (tmp_path / "out").iterdir():
        if beside.is_dir():
            shutil.rmtree(beside)
        elif beside.name != "model.safetensors":
            beside.unlink()
    found = diagnose(source, tmp_path / "out")
    assert any("config.json" in fact for one in found for fact in one.facts)
    assert no_name(found)


def test_a_factor_beside_one_is_rounding(tmp_path: Path) -> None:
    """Numbers that lie beside those of F16, written as the F16 numbers in F32: all by 2^-24 smaller."""
    half = np.random.default_rng(3).standard_normal((4, 64)).astype(np.float16).astype(np.float32)
    values = np.nextafter(half, np.float32(np.inf) * np.sign(half))
    source = file(tmp_path / "a.gguf", "F32", values)
    assert no_name(diagnose(source, file(tmp_path / "out.safetensors", "F32", half)))


# --- and of all inputs that the zoo has ----------------------------------------------------------------------------------------


def right(source: Path, kind: str, folder: Path, target: str) -> Path | None:
    """The tensors of a source that is no model in a type: decoded by ggml, encoded by NumPy or ggml."""
    with open_archive(source, as_row_major=True) as archive:
        numbers = {name: floats_of(tensor) for name, tensor in archive.tensors.items()}
    made = {
        name: (values, data_of(kind, values)) for name, values in numbers.items() if values is not None and values.ndim
    }
    if not made or len(made) != len(numbers) or any(data is None for _, data in made.values()):
        return None
    tensors = {
        name: Tensor.of(name, TYPES[kind], values.shape, np.frombuffer(data or b"", np.uint8))
        for name, (values, data) in made.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}.{target}"
    {"gguf": gguf, "safetensors": safetensors}[target].write(Archive(target, {}, tensors), path)
    return path


@pytest.mark.parametrize("member", part(RUNNING, every=24), ids=lambda member: member.id)
def test_no_right_output_of_its_smallest_input_is_accused(member, tmp_path: Path) -> None:
    source = smallest(member.id, tmp_path / "in")
    if is_model(source):
        for pair in [pair for pair in ("G-S", "S-G", "A-S", "A-G") if LETTERS[pair[0]] == sniff(source)]:
            _no_model_is_accused(source, pair, tmp_path / pair)
        return
    try:
        open_archive(source, as_row_major=True).close()
    except RosettaError:
        return  # to be refused: there is no right output
    made = [(kind, right(source, kind, tmp_path / "right", form)) for kind in FLOATS + BLOCKS
            for form in (("gguf", "safetensors") if kind in FLOATS else ("gguf",))]  # fmt: skip
    for kind, output in made:
        if output is not None:
            assert diagnose(source, output) == [], kind


def _no_model_is_accused(source: Path, pair: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    output = named(folder, source, pair)
    convert(source, output)
    for kind in in_types(pair):
        assert no_name(diagnose(source, encoded(output, kind, folder / kind))), (pair, kind)


MODELS = sorted({(sample, pair) for _, sample, pair in IN_MODELS if pair[-1] in "GS"})


@pytest.mark.slow
@pytest.mark.parametrize(("sample", "pair"), MODELS)
def test_no_right_model_is_accused(sample: str, pair: str, tmp_path: Path) -> None:
    _no_model_is_accused(face(sample, LETTERS[pair[0]], tmp_path / "in"), pair, tmp_path / "out")


# --- one bug, one name ---------------------------------------------------------------------------------------------------------

CROSSED = [
    (member, sample, pair) for member, sample, pair in IN_MODELS
    if pair[-1] in "GS" and member.id not in OF_ONE_TYPE and member.id not in NO_NUMBERS and member.asks is None
]  # fmt: skip


def same_name(member, sample: str, pair: str, kinds: tuple[str, ...], folder: Path) -> None:
    source = face(sample, LETTERS[pair[0]], folder / "in")
    output = named(folder, source, pair)
    member.convert(source, output)
    for kind in kinds:
        assert ids(diagnose(source, encoded(output, kind, folder / kind))) == {(member.id,)}, kind


@pytest.mark.parametrize("kind", ["F16", *slow("F32", "BF16", "Q8_0", "Q4_0")])
def test_a_stale_shard_in_every_type(kind: str, tmp_path: Path) -> None:
    same_name(MEMBERS["stale-shard-wins"], "sharded-stale", "S-G", (kind,), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("member", "sample", "pair"), CROSSED, ids=lambda x: x if isinstance(x, str) else x.id)
def test_a_bug_has_the_same_name_in_every_type(member, sample: str, pair: str, tmp_path: Path) -> None:
    same_name(member, sample, pair, in_types(pair), tmp_path)


DONE = {
    "sign-flipped": lambda x: -x,
    "factor": lambda x: x * np.float32(8),
    "another-tensors-data": None,
    "shape-not-reversed": lambda x: x.reshape(x.shape[::-1]),
    "data-transposed-too": lambda x: np.ascontiguousarray(x.T),
    "first-part-only": lambda x: np.concatenate([x[:32], np.zeros_like(x[32:])]),
}


@pytest.mark.parametrize("kind", ["F16", "Q8_0", *slow("F32", "BF16", "Q4_K")])
@pytest.mark.parametrize("done", DONE)
def test_what_was_done_has_the_same_name_in_every_type(done: str, kind: str, tmp_path: Path) -> None:
    """By the data alone, in APR's place a GGUF file: nobody of the zoo is asked."""
    first, second = (np.random.default_rng(seed).standard_normal((256, 512)).astype(np.float32) for seed in (1, 2))
    do = DONE[done]
    found = second if do is None else do(first)
    source, output = tmp_path / "a.safetensors", tmp_path / "b.gguf"
    for path, (values, types) in {source: ((first, second), "F32"), output: ((found, second), kind)}.items():
        held = {
            name: Tensor.of(name, TYPES[types], one.shape, np.frombuffer(data_of(types, one) or b"", np.uint8))
            for name, one in zip(("a.weight", "b.weight"), values, strict=True)
        }
        (gguf if path is output else safetensors).write(Archive(path.suffix[1:], {}, held), path)
    names = {name: one.ids for one in diagnose(source, output, members=[]) for name in one.tensors}
    assert names == {"a.weight": (done,)}
