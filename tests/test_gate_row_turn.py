"""q and k under a foreign name, or fused with v: their rows count in the order that the target's format has, and in no other.

The oracle turns rows with an index of its own, written from the definition: x and y of a pair stand beside each other in GGUF files of
llama, and half a head apart in Hugging Face's. qwen2's rows stand in one order everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.tensors import Judged, gate_of, judge
from rosetta_ref.gate.judge.view import look
from rosetta_ref.quant import TYPES

#: Heads of q and of k, and elements of a head.
HEADS, HEAD = {"q": 6, "k": 2, "v": 2}, 8
#: Formats, APR with either order of rows.
FACES = ("gguf", "safetensors", "apr-pairs", "apr-halves", "apr-silent")
WAYS = [
    (one, other, architecture)
    for architecture, faces in (("llama", FACES), ("qwen2", ("gguf", "safetensors", "apr-halves")))
    for one in faces
    for other in faces
    if one.partition("-")[0] != other.partition("-")[0]
]
FORMATS = {"gguf": gguf, "apr": apr, "safetensors": safetensors}
FOREIGN = "stack.0.mixer.w{part}.{end}"
Rows = np.ndarray[Any, Any]


def to_halves(rows: Rows, heads: int) -> Rows:
    """x0 y0 x1 y1 ... becomes x0 x1 ... y0 y1 ..., head by head."""
    size = len(rows) // heads
    order = [head * size + 2 * at + side for head in range(heads) for side in (0, 1) for at in range(size // 2)]
    return rows[order]


def to_pairs(rows: Rows, heads: int) -> Rows:
    """The other way round."""
    made = np.empty_like(rows)
    made[:] = rows
    size = len(rows) // heads
    for head in range(heads):
        for at in range(size // 2):
            made[head * size + 2 * at] = rows[head * size + at]
            made[head * size + 2 * at + 1] = rows[head * size + size // 2 + at]
    return made


@cache
def model(architecture: str, kind: str = "F32", head: int = HEAD) -> Sample:
    spec = Spec(architecture, HEADS["q"], HEADS["k"], head, 96 if head == HEAD else 256, layers=1, biased=True)
    return build(f"turned-{architecture}-{kind}", spec, [(kind, "index-coded")], 3)


def is_halved(face: str, architecture: str) -> bool:
    """Whether rows of q and k stand in halves there; of qwen2 they stand as they stand in GGUF."""
    return architecture == "llama" and face in ("safetensors", "apr-halves", "apr-silent")


def face_of(sample: Sample, face: str, folder: Path) -> Path:
    kind, _, order = face.partition("-")
    path = write.write(replace(sample, halves_in_apr=order in ("halves", "silent")), kind, folder)
    if order == "silent":
        edited(path, lambda tensors: None, lambda metadata: {**metadata, "rope_type": None})
    return path


def edited(
    path: Path, edit: Callable[[dict[str, Tensor]], None], words: Callable[[Any], Any] = lambda kept: kept
) -> None:
    """The file with other tensors, by their canonical names."""
    file = path / "model.safetensors" if path.is_dir() else path
    with look(path) as view:
        tensors = {
            name: Tensor.of(seen.tensor.name, seen.tensor.type, seen.tensor.shape, seen.tensor.data.copy())
            for name, seen in view.tensors.items()
        }
        archive = view.archive
        metadata = {key: value for key, value in words(dict(archive.metadata)).items() if value is not None}
    edit(tensors)
    made = {tensor.name: tensor for tensor in tensors.values()}
    file.unlink()
    FORMATS[archive.format].write(Archive(archive.format, metadata, made), file)


def canonical(sample: Sample, part: str, end: str) -> Rows:
    """The numbers of a tensor as GGUF has them."""
    return sample.model.tensors[f"blk.0.attn_{part}.{end}"].values()


def orders(sample: Sample, part: str, end: str, source: str, target: str) -> dict[str, Rows]:
    """What a converter may make of a tensor: the right order in the target, none of the turns that are needed, the wrong one."""
    given, heads = canonical(sample, part, end), HEADS[part]
    architecture = str(sample.architecture)
    here = to_halves(given, heads) if is_halved(source, architecture) else given
    right = to_halves(given, heads) if is_halved(target, architecture) else given
    wrong = to_pairs(here, heads) if is_halved(target, architecture) else to_halves(here, heads)
    return {"right": right, "none": here, "wrong": wrong}


def judged(source: Path, target: Path) -> Judged:
    with look(source) as ours, look(target) as theirs:
        return judge(ours, theirs)


def told(found: Judged) -> set[tuple[str, str | None, str]]:
    return {(finding.kind, finding.tensor, finding.gate) for finding in found.findings}


@pytest.fixture(autouse=True, scope="module")
def _the_orders_differ() -> None:
    rows = np.arange(16)
    assert to_halves(rows, 2).tolist() == [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]
    assert to_pairs(to_halves(rows, 2), 2).tolist() == rows.tolist()
    assert to_pairs(rows, 2).tolist() != to_halves(rows, 2).tolist() != to_halves(rows, 1).tolist()


@pytest.mark.parametrize(
    ("one", "other", "architecture"), WAYS, ids=["-to-".join(way[:2]) + f"-{way[2]}" for way in WAYS]
)
def test_q_or_k_under_a_foreign_name(one: str, other: str, architecture: str, tmp_path: Path) -> None:
    sample = model(architecture)
    source = face_of(sample, one, tmp_path / "source")
    for part in "qk":
        for end in ("weight", "bias"):
            name, foreign = f"blk.0.attn_{part}.{end}", FOREIGN.format(part=part, end=end)
            found = {}
            for said, rows in orders(sample, part, end, one, other).items():
                target = face_of(sample, other, tmp_path / f"{part}-{end}-{said}")
                edited(target, lambda tensors: put(tensors, name, foreign, rows))  # noqa: B023
                result = judged(source, target)
                found[said] = told(result)
                assert result.elements == result.expected
            pair = gate_of(one.partition("-")[0], other.partition("-")[0])
            renamed = {("foreign-name", name, "F-CONV-NAME-001")}
            permuted = renamed | {("rows-permuted", name, pair)}
            turns = is_halved(one, architecture) != is_halved(other, architecture)
            assert found == {
                "right": renamed,
                "none": permuted if turns else renamed,
                "wrong": permuted,
            }, (part, end)


def put(tensors: dict[str, Tensor], name: str, foreign: str, rows: Rows) -> None:
    """A tensor with these rows under a foreign name, in the float type that its matrix has there."""
    old = tensors.pop(name)
    tensors[foreign] = Tensor.of(foreign, TYPES["F32"], old.shape, np.ascontiguousarray(rows, np.float32))


def fuse(tensors: dict[str, Tensor], end: str, parts: list[Rows], kind: str = "F32") -> str:
    name = f"stack.0.mixer.wqkv.{end}"
    for part in "qkv":
        tensors.pop(f"blk.0.attn_{part}.{end}")
    whole = np.concatenate(parts).astype(np.float32)
    encode = TYPES[kind].encode
    data = whole if kind == "F32" or encode is None else np.asarray(encode(whole.reshape(-1)))
    tensors[name] = Tensor.of(name, TYPES[kind], whole.shape, data)
    return name


@pytest.mark.parametrize(
    ("one", "other", "architecture"), WAYS, ids=["-to-".join(way[:2]) + f"-{way[2]}" for way in WAYS]
)
def test_q_k_and_v_in_one_tensor(one: str, other: str, architecture: str, tmp_path: Path) -> None:
    sample = model(architecture)
    source, turns = (
        face_of(sample, one, tmp_path / "source"),
        is_halved(one, architecture) != is_halved(other, architecture),
    )
    for end in ("weight", "bias"):
        made = {part: orders(sample, part, end, one, other) for part in "qk"}
        names = [f"blk.0.attn_{part}.{end}" for part in "qkv"]
        fused = {("fused", name, "F-CONV-NAME-001") for name in names}
        pair = gate_of(one.partition("-")[0], other.partition("-")[0])
        for q, k in (("right", "right"), ("right", "none"), ("none", "none"), ("wrong", "wrong"), ("wrong", "right")):
            target = face_of(sample, other, tmp_path / f"{end}-{q}-{k}")
            parts = [made["q"][q], made["k"][k], canonical(sample, "v", end)]
            edited(target, lambda tensors: fuse(tensors, end, parts) and None)  # noqa: B023
            found = told(judged(source, target))
            permuted = {
                ("rows-permuted", name, pair)
                for name, how in zip(names, (q, k), strict=False)
                if how == "wrong" or (how == "none" and turns)
            }
            assert found == fused | permuted, (end, q, k)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_what_is_fused_may_be_rounded(architecture: str, tmp_path: Path) -> None:
    """To the nearest, as anywhere; one element that is another is a loss."""
    sample = model(architecture)
    source = face_of(sample, "gguf", tmp_path / "source")
    parts = [orders(sample, part, "weight", "gguf", "safetensors")["right"] for part in "qk"]
    parts.append(canonical(sample, "v", "weight"))
    for name, changed in (("right", 0.0), ("wrong", 1.0)):
        target = face_of(sample, "safetensors", tmp_path / name)
        parts[0] = parts[0] + changed * np.eye(*parts[0].shape, dtype=np.float32)
        edited(target, lambda tensors: fuse(tensors, "weight", parts, "F16") and None)
        assert {kind for kind, *_ in told(judged(source, target))} == (
            {"fused"} if not changed else {"lost", "invented"}
        )


def test_rows_of_other_numbers_are_lost(tmp_path: Path) -> None:
    sample = model("llama")
    source, target = (face_of(sample, face, tmp_path / face) for face in ("safetensors", "gguf"))
    rows = canonical(sample, "q", "weight").copy()
    rows[3, 5] += 1
    edited(target, lambda tensors: put(tensors, "blk.0.attn_q.weight", "wq", rows))
    assert {kind for kind, *_ in told(judged(source, target))} == {"lost", "invented"}


def test_the_heads_of_another_part_are_the_wrong_ones(tmp_path: Path) -> None:
    """Q turned by the heads of k, where that is possible: its rows are all there, in no order that is right."""
    sample = model("llama")
    source, target = (face_of(sample, face, tmp_path / face) for face in ("safetensors", "gguf"))
    rows = to_pairs(to_halves(canonical(sample, "q", "weight"), HEADS["q"]), HEADS["k"])
    edited(target, lambda tensors: put(tensors, "blk.0.attn_q.weight", "wq", rows))
    name, permuted = judged(source, target).findings
    assert (name.kind, permuted.kind, permuted.gate) == ("foreign-name", "rows-permuted", "F-CONV-004")
    assert permuted.detail.endswith("turned by 2 heads, not 6")
    assert permuted.count == sample.model.tensors["blk.0.attn_q.weight"].count


def test_blocks_are_turned_as_they_are(tmp_path: Path) -> None:
    sample = model("llama", "Q6_K", 128)
    source = face_of(sample, "gguf", tmp_path / "source")
    for name, turn, kinds in (("right", True, {"foreign-name"}), ("none", False, {"foreign-name", "rows-permuted"})):
        target = face_of(sample, "apr-halves", tmp_path / name)
        old = sample.model.tensors["blk.0.attn_k.weight"]
        rows = old.data.reshape(old.shape[0], -1)
        rows = to_halves(rows, HEADS["k"]) if turn else rows

        def edit(tensors: dict[str, Tensor], rows: Rows = rows, old: Tensor = old) -> None:
            del tensors["blk.0.attn_k.weight"]
            tensors["wk"] = Tensor.of("wk", old.type, old.shape, np.ascontiguousarray(rows))

        edited(target, edit)
        assert {finding.kind for finding in judged(source, target).findings} == kinds


def test_a_right_tensor_comes_before_one_whose_rows_are_turned(tmp_path: Path) -> None:
    """Both are there under foreign names: the right one is the tensor, and the other one is invented."""
    sample = model("llama")
    source, target = (face_of(sample, face, tmp_path / face) for face in ("gguf", "safetensors"))
    made = orders(sample, "q", "weight", "gguf", "safetensors")

    def edit(tensors: dict[str, Tensor]) -> None:
        kept = dict(tensors)
        tensors.clear()
        tensors["a"] = Tensor.of("a", TYPES["F32"], made["none"].shape, made["none"])
        put(kept, "blk.0.attn_q.weight", "b", made["right"])
        tensors |= kept

    edited(target, edit)
    assert {(kind, name) for kind, name, _ in told(judged(source, target))} == {
        ("foreign-name", "blk.0.attn_q.weight"), ("invented", "a"),
    }  # fmt: skip


def test_a_foreign_name_is_found_behind_a_thousand_right_ones(tmp_path: Path) -> None:
    values = {f"part.{at:04}": np.full(32, at, np.float32) for at in range(1100)}
    made = {name: Tensor.of(name, TYPES["F32"], (32,), one) for name, one in values.items()}
    gguf.write(Archive("gguf", {}, made), tmp_path / "one.gguf")
    made["other"] = replace(made.pop("part.1099"), name="other")
    safetensors.write(Archive("safetensors", {}, made), tmp_path / "two.safetensors")
    found = judged(tmp_path / "one.gguf", tmp_path / "two.safetensors")
    assert [(finding.kind, finding.tensor) for finding in found.findings] == [("foreign-name", "part.1099")]
