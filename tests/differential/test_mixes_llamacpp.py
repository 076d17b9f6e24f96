"""llama.cpp's mixes: `convert --type` gives the types, the bytes and the keys that llama_model_quantize gives.

Types are compared on sketches of models, which differ in everything that the rules ask about; bytes as whole files. Where a type
has no encoder here, the conversion is refused by name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.architectures import mix_table, mixes
from rosetta_ref.archive import Archive
from rosetta_ref.formats import gguf
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import RaggedRowError
from tests.support import llama, smollm
from tests.support.nightly import part
from tests.support.sketch import Sketch, write_imatrix

#: Large searches, which are refused by name.
GRIDS = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"}
#: The types whose encoders in ggml take weights.
WEIGHED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
GRID_MIXES = {name for name, mix in mix_table.MIXES.items() if mix.type in GRIDS}
ENCODED = {name for name, kind in TYPES.items() if kind.encode is not None}
#: What llama.cpp itself refuses, without weights or for the length of rows.
REFUSED = ("requires an imatrix", "no tensor type fallback")

SKETCHES = {
    "two layers": Sketch(),
    "qwen2, five layers, two share": Sketch("qwen2", layers=5, kv_heads=4),
    "eight layers, four share": Sketch(layers=8, kv_heads=2, tied=False),
    "nine layers, eight share": Sketch(layers=9, kv_heads=1),
    "qwen2, seventeen layers": Sketch("qwen2", layers=17, kv_heads=2, tied=False, inner=768),
    "heads by layer": Sketch(layers=3, heads=8, kv_heads=[2, 8, 8]),
    "rows of 576": Sketch(layers=9, heads=9, kv_heads=3, width=576, inner=1536),
    "rows of 576, untied": Sketch("qwen2", layers=8, kv_heads=1, width=576, inner=1536, tied=False),
    "rows of 64 and 128": Sketch(layers=5, width=64, inner=128, tied=False),
    "rows of 128": Sketch(layers=2, width=128, inner=128),
    "rows of 100": Sketch(layers=2, width=256, inner=100),
    "rows of 33": Sketch(layers=2, width=33, inner=33, tied=False),
    "80 layers are 70B": Sketch(layers=80, kv_heads=1),
    "80 layers are 65B": Sketch(layers=80, kv_heads=8),
    "qwen2 of 80 layers": Sketch("qwen2", layers=80, kv_heads=8),
    "eight experts": Sketch(layers=16, experts=8, kv_heads=2, tied=False),
    "four experts": Sketch(layers=9, experts=4, tied=False),
    "falcon": Sketch("falcon", layers=33, fused=True, tied=False),
    "tied falcon, four share": Sketch("falcon", layers=8, kv_heads=2, fused=True),
    "what stays as it is": Sketch(
        more={
            "rope_freqs.weight": (16,),
            "blk.0.ssm_conv1d.weight": (4, 256),
            "blk.0.attn_rel_b.weight": (4, 256),
            "blk.0.attn_q_norm.weight": (4, 256),
            "blk.0.attn_k.scale": (4, 256),
            "blk.0.ffn_gate_inp.weight": (4, 256),
            "blk.1.ssm_out.weight": (4, 256),
            "per_layer_token_embd.weight": (4, 256),
            "blk.1.ffn_up_exps.weight": (1, 4, 256),
            "blk.1.one_row.weight": (1, 256),
            "blk.1.one_column.weight": (256, 1),
        }
    ),
}


#: A tensor for each piece of a name that keeps a tensor as it is: llama.cpp says whether it does.
KEPT = [name if name.endswith("weight") else f"{name}0.weight" for name in mix_table.KEPT_PIECES] + list(
    mix_table.KEPT_NAMES
)
SKETCHES["every kept name"] = Sketch(
    more={name if name in mix_table.KEPT_NAMES else f"blk.1.x{name}": (4, 256) for name in KEPT}
)


def theirs(source: Path, target: Path, mix: str, **options: object) -> Path | None:
    """What llama.cpp makes of a file; None where it refuses for a reason of REFUSED."""
    try:
        llama.quantize(source, target, mix, **options)
    except llama.LlamaError as error:
        if not any(reason in str(error) for reason in REFUSED):
            raise
        return None
    return target


def planned(model: Archive, mix: mix_table.Mix, weights: dict[str, np.ndarray] | None) -> dict[str, str] | None:
    """The types that a conversion would give; None where it would refuse for a reason of REFUSED."""
    try:
        found = mixes.types_of(mix, model.tensors.values(), model.metadata, weighted=weights is not None)
    except RaggedRowError:
        return None
    missing = [name for name in found if mixes.needs_weights(mix, name, found[name]) and name not in (weights or {})]
    return None if missing else found


def stored(path: Path) -> dict[str, str]:
    with gguf.read(path) as archive:
        return {name: tensor.type.name for name, tensor in archive.tensors.items()}


def compare_types(name: str, folder: Path, *, weighted: bool, chosen: set[str]) -> int:
    """Every tensor of every chosen mix; the number of types compared.

    Grid mixes are not asked for pure: ggml aborts where the embedding, which nobody measures, becomes IQ2_XXS unweighted
    (seen in 0.3.36). Models of 80 layers are large enough already.
    """
    __tracebackhide__ = True
    sketch = SKETCHES[name]
    source = sketch.write(folder / "source.gguf")
    weights = sketch.weights() if weighted else None
    count = 0
    with gguf.read(source) as model:
        for mix in sorted(chosen):
            for pure in (False, True) if sketch.layers < 80 and mix not in GRID_MIXES else (False,):
                needed = theirs(source, folder / "theirs.gguf", mix, imatrix=weights, pure=pure)
                expected = None if needed is None else stored(needed)
                made = mix_table.find(mix.lower(), pure=pure)
                assert made is not None
                found = planned(model, made, weights)
                assert found == expected, f"{mix}, pure {pure}"
                count += len(expected or {})
    return count


def test_every_mix_is_known() -> None:
    assert {name: mix.file_type for name, mix in mix_table.MIXES.items()} == llama.FILE_TYPES
    assert len(llama.FILE_TYPES) == 35


#: With a matrix the rules are the same but for a few mixes; every run has two sketches of them, and one of 80 layers, the night all.
LARGE = [name for name in SKETCHES if "80 layers" in name]
EACH_SKETCH = [
    pytest.param(name, False, marks=pytest.mark.slow) if name in LARGE[1:] else (name, False) for name in SKETCHES
] + [
    (name, True) if name in ("two layers", "rows of 576") else pytest.param(name, True, marks=pytest.mark.slow)
    for name in SKETCHES
]


@pytest.mark.parametrize(("name", "weighted"), EACH_SKETCH)
def test_types(name: str, weighted: bool, tmp_path: Path) -> None:
    count = compare_types(
        name, tmp_path, weighted=weighted, chosen=llama.FILE_TYPES.keys() - GRID_MIXES | {"IQ3_S", "IQ3_M"}
    )
    assert count >= 20 * len(SKETCHES[name].shapes())


@pytest.mark.slow
def test_types_of_the_grid_mixes(tmp_path: Path) -> None:
    """All sketches in one test: ggml takes ten seconds to prepare its grids, once in a process."""
    count = 0
    for name in SKETCHES:
        for weighted in (False, True):
            (tmp_path / f"{name}{weighted}").mkdir()
            count += compare_types(name, tmp_path / f"{name}{weighted}", weighted=weighted, chosen=GRID_MIXES)
    assert count > 10_000


# --- bytes


WHOLE = {
    "rows of 512": Sketch(layers=9, kv_heads=2, width=512, inner=768, tied=False, rows=8),
    "rows of 576": Sketch("qwen2", layers=5, heads=9, kv_heads=3, width=576, inner=1536, rows=8),
    "experts": Sketch(layers=3, experts=4, kv_heads=2, tied=False, rows=8),
}


def honoured(name: str) -> bool:
    """Whether this project's encoder of a type looks at weights."""
    values = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    weights = np.linspace(0.01, 9, 256, dtype=np.float32)
    encode = TYPES[name].encode
    return encode is not None and encode(values).tobytes() != encode(values, weights).tobytes()


def assert_same_files(*, found: Path, expected: Path, weighted: bool) -> int:
    """Byte for byte. Where encoders are missing that take weights: tensor by tensor what there is."""
    __tracebackhide__ = True
    with gguf.read(found) as ours, gguf.read(expected) as needed:
        assert list(ours.metadata.items()) == list(needed.metadata.items())
        assert list(ours.tensors) == list(needed.tensors)
        count = 0
        for name, tensor in needed.tensors.items():
            assert ours.tensors[name].type.name == tensor.type.name, name
            if not weighted or tensor.type.name not in WEIGHED or honoured(tensor.type.name):
                assert ours.tensors[name].data.tobytes() == tensor.data.tobytes(), (name, tensor.type)
                count += 1
        complete = count == len(needed.tensors)
    assert count
    if complete:
        assert found.read_bytes() == expected.read_bytes(), "equal in all parts, not as files"
    return count


def compare_whole(source: Path, folder: Path, mix: str, weights: dict[str, np.ndarray] | None, **options: bool) -> int:
    """Convert a file and compare it with llama.cpp's; the number of tensors compared, 0 for what both refuse."""
    __tracebackhide__ = True
    asked: dict[str, object] = dict(options)
    overrides: dict[str, str | int] = {}
    if weights is not None:
        path = write_imatrix(folder / "importance.gguf", weights)
        asked["imatrix"] = path
        overrides = {  # what llama-quantize adds
            "quantize.imatrix.file": str(path)[:127],
            "quantize.imatrix.dataset": "calibration.txt",
            "quantize.imatrix.entries_count": len(weights),
            "quantize.imatrix.chunks_count": 3,
        }
    expected = theirs(source, folder / "theirs.gguf", mix, imatrix=weights, overrides=overrides, **options)
    try:
        rosetta_ref.convert(source, folder / "ours.gguf", type=mix.lower(), **asked)
    except RosettaError as refusal:
        assert not (folder / "ours.gguf").exists()
        missing = set(stored(expected).values()) - ENCODED if expected is not None else set()
        if expected is not None and not any(f"type {kind} has no encoder" in refusal.problem for kind in missing):
            raise
        return 0
    assert expected is not None, "llama.cpp refuses it"
    return assert_same_files(found=folder / "ours.gguf", expected=expected, weighted=weights is not None)


#: The bytes with a matrix are those of each type, which test_encode_ggml compares; by night, but for one of each family.
#: Every other mix in every run; which types each chooses is asked of all in every run, by `test_types`.
#: One model of the three for each, in turn, the others by night.
ALL_MIXES = sorted(llama.FILE_TYPES.keys() - GRID_MIXES)
ASKED = {(mix, False): i // 2 % 3 for i, mix in enumerate(ALL_MIXES) if i % 2 == 0} | {
    ("Q4_0", True): 0,
    ("Q4_K_M", True): 1,
    ("IQ4_XS", True): 2,
}
EACH_MIX = [
    pytest.param(mix, weighted, name, marks=[] if ASKED.get((mix, weighted)) == i else pytest.mark.slow)
    for weighted in (False, True)
    for mix in ALL_MIXES
    for i, name in enumerate(WHOLE)
]


@pytest.mark.parametrize(("mix", "weighted", "name"), EACH_MIX)
def test_whole_files(mix: str, weighted: bool, name: str, tmp_path: Path) -> None:
    count = 0
    for pure in (False, True):
        folder = tmp_path / f"{pure}"
        folder.mkdir()
        source = WHOLE[name].write(folder / "source.gguf", shuffled=False)
        count += compare_whole(source, folder, mix, WHOLE[name].weights() if weighted else None, pure=pure)
    # llama.cpp wants weights for it, or rows of 128, and refuses; then so do we, or `compare_whole` says so.
    refused = (mix == "Q2_K_S" and not weighted) or (mix == "Q1_0" and name == "rows of 576")
    assert (count == 0) if refused else (count >= 10 or mix_table.MIXES[mix].type not in ENCODED)


@pytest.mark.slow
@pytest.mark.parametrize("mix", ["IQ3_S", "IQ3_M"])
def test_a_grid_type_is_refused_by_name_or_made_by_ggml(mix: str, tmp_path: Path) -> None:
    source = WHOLE["rows of 512"].write(tmp_path / "source.gguf", shuffled=False)
    compare_whole(source, tmp_path, mix, None)


@pytest.mark.parametrize("mix", part(["Q4_0", "Q5_0", "Q5_1", "IQ4_NL", "Q4_K_M", "Q8_0"]))
def test_a_matrix_of_many_chunks(mix: str, tmp_path: Path) -> None:
    """1 MiB at a time is made; 4800 rows of 576 are more in every type, and no chunk ends where a row does."""
    sketch = Sketch(
        layers=1, kv_heads=8, width=576, inner=768, rows=2, tied=False, more={"blk.0.attn_q.weight": (4800, 576)}
    )
    source = sketch.write(tmp_path / "source.gguf", shuffled=False)
    compare_whole(source, tmp_path, mix, sketch.weights(), pure=True)


def test_a_file_that_lacks_the_keys_gets_them(tmp_path: Path) -> None:
    source = smollm_like_without_type(tmp_path)
    assert compare_whole(source, tmp_path, "Q8_0", None) > 0


def smollm_like_without_type(folder: Path) -> Path:
    made = Sketch().write(folder / "with.gguf", shuffled=False)
    with gguf.read(made) as archive:
        del archive.metadata["general.file_type"]
        gguf.write(archive, folder / "without.gguf")
    return folder / "without.gguf"


def test_the_order_of_a_shuffled_file_is_kept(tmp_path: Path) -> None:
    source = SKETCHES["eight layers, four share"].write(tmp_path / "source.gguf")
    rosetta_ref.convert(source, tmp_path / "ours.gguf", type="Q8_0")
    llama.quantize(source, tmp_path / "theirs.gguf", "Q8_0")
    with (
        gguf.read(source) as before,
        gguf.read(tmp_path / "ours.gguf") as ours,
        gguf.read(tmp_path / "theirs.gguf") as needed,
    ):
        assert list(ours.tensors) == list(before.tensors) != list(needed.tensors)
        assert {name: t.data.tobytes() for name, t in ours.tensors.items()} == {
            name: t.data.tobytes() for name, t in needed.tensors.items()
        }


def test_every_type_of_a_mix_is_encoded_and_weighed() -> None:
    used = {mix.type for mix in mix_table.MIXES.values()}
    used |= {one.type for mix in mix_table.MIXES.values() for row in mix.exceptions.values() for one in row}
    assert len(used) > 20
    assert sorted(name for name in used - GRIDS if TYPES[name].encode is None) == []
    assert [name for name in WEIGHED if not honoured(name)] == []


# --- the real model


def real_weights() -> dict[str, np.ndarray]:
    """Plausible importance for SmolLM2: squares of activations, a few columns of which are much larger."""
    random = np.random.default_rng(135)
    with gguf.read(smollm.variant("F32")) as model:
        matrices = {n: t.shape[-1] for n, t in model.tensors.items() if len(t.shape) == 2 and n.startswith("blk.")}
    found = {}
    for name, columns in matrices.items():
        found[name] = (random.standard_normal((1, columns)) ** 2).astype(np.float32)
        found[name][:, random.integers(columns, size=5)] *= np.float32(100)
    return found


@pytest.mark.real
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("mix", sorted(llama.FILE_TYPES.keys() - GRID_MIXES))
def test_smollm2(mix: str, weighted: bool, tmp_path: Path) -> None:
    """272 tensors; llama.cpp itself has no stand-in for Q1_0 in rows of 576, and makes no Q2_K_S without weights."""
    count = compare_whole(smollm.variant("F32"), tmp_path, mix, real_weights() if weighted else None)
    assert count == (0 if mix == "Q1_0" or (mix == "Q2_K_S" and not weighted) else 272)
