"""The judge: nothing is said of what a converter may do, and each thing that it may not do is found, by its name, where it is.

Targets are made by hand from the faces of one sample, one thing changed; no converter is asked.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.inputs.default import default
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.metadata import compare_keys, judge_metadata
from rosetta_ref.gate.judge.tensors import Judged, judge
from rosetta_ref.gate.judge.view import UnreadableError, look
from rosetta_ref.quant import TYPES

Q, K, V, NORM = (f"blk.0.attn_{part}.weight" for part in ("q", "k", "v", "norm"))
EMBEDDING, HEAD = "token_embd.weight", "output.weight"
Edit = Callable[[dict[str, Tensor]], None]


def model(kind: str = "F32", *, payload: str = "index-coded", **more: Any) -> Sample:
    """Heads 8 to 2 of 8 elements, or of 32 where rows are of 256."""
    sizes = {"head": 8, "inner": 96} if TYPES[kind].is_scalar else {"head": 32, "inner": 256}
    spec = Spec("llama", **{"heads": 8, "kv_heads": 2, "layers": 1, **sizes, **more})
    return build(f"judged-{kind}", spec, [(kind, payload)], 0)


def written(sample: Sample, kind: str, folder: Path, edit: Edit | None = None) -> Path:
    """The face of a sample, after an edit of its tensors, which go by GGUF's names."""
    tensors = dict(sample.model.tensors)
    if edit is not None:
        edit(tensors)
    changed = replace(sample, model=replace(sample.model, tensors=tensors), formats=("gguf", "safetensors", "apr"))
    return write.write(changed, kind, folder / f"{kind}-{len(list(folder.iterdir()))}")


def put(tensors: dict[str, Tensor], name: str, values: Any, kind: str | None = None, shape: Any = None) -> None:
    """Another type, shape or other values in the place of a tensor. Numbers go as they are stored, or as bytes."""
    old = tensors.get(name)
    block = TYPES[kind] if kind is not None else old.type if old is not None else TYPES["F32"]
    values = np.ascontiguousarray(values)
    shape = tuple(shape if shape is not None else values.shape if old is None else old.shape)
    tensors[name] = Tensor.of(name, block, shape, values)


def encoded(tensor: Tensor, kind: str, values: Any = None) -> Any:
    """The bytes of a tensor's values in another type."""
    encode = TYPES[kind].encode
    assert encode is not None
    return np.asarray(encode((tensor.values() if values is None else values).reshape(-1))).reshape(-1).view(np.uint8)


def verdict(source: Path, target: Path, **options: Any) -> Judged:
    """What the judge says of the two."""
    with look(source) as ours, look(target) as theirs:
        return judge(ours, theirs, **options)


def told(found: Judged | list[Finding]) -> set[tuple[str, str | None]]:
    """Kind and tensor of every finding."""
    findings = found.findings if isinstance(found, Judged) else found
    return {(finding.kind, finding.tensor) for finding in findings}


def after(tmp_path: Path, edit: Edit, sample: Sample | None = None, way: str = "SG", **options: Any) -> Judged:
    """The verdict on a target in which something was changed."""
    kinds = {"G": "gguf", "S": "safetensors", "A": "apr"}
    sample = sample or model()
    return verdict(written(sample, kinds[way[0]], tmp_path), written(sample, kinds[way[1]], tmp_path, edit), **options)


# What is right


@pytest.mark.parametrize("sample", default(0, whole_models=True), ids=lambda sample: sample.name)
def test_every_face_is_a_right_conversion_of_every_other(sample: Sample, tmp_path: Path) -> None:
    """Reversal of ne, rows of q and k, tied heads, renames, norms in F32, factors of the configuration, shards."""
    paths = {kind: write.write(sample, kind, tmp_path / kind) for kind in sample.formats if not sample.stale}
    for source in paths.values():
        for target in paths.values():
            found = verdict(source, target)
            assert not found.findings
            assert found.elements == found.expected
            with look(source) as ours, look(target) as theirs:
                words = judge_metadata(ours, theirs)
            assert not words.findings
            assert words.expected == words.compared > 0


def as_f32(tensors: dict[str, Tensor]) -> None:
    for name, tensor in list(tensors.items()):
        put(tensors, name, tensor.values(), "F32")


@pytest.mark.parametrize(("kind", "done"), [("Q4_K", "decoded"), ("F16", "widened"), ("BF16", "widened")])
def test_exact_values_in_f32_are_right(kind: str, done: str, tmp_path: Path) -> None:
    found = after(tmp_path, as_f32, model(kind), "GG")
    assert not found.findings
    assert found.by_tensor[V] == done


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_the_nearest_narrower_float_is_right_unless_nothing_may_be_lost(kind: str, tmp_path: Path) -> None:
    def narrow(tensors: dict[str, Tensor]) -> None:
        put(tensors, V, encoded(tensors[V], kind), kind)

    found = after(tmp_path, narrow, model(payload="halfway"))
    assert not found.findings
    assert found.by_tensor[V] == "narrowed"
    assert told(after(tmp_path, narrow, model(payload="halfway"), lossless=True)) == {("narrowed", V)}


def test_a_head_that_is_the_embedding_may_go(tmp_path: Path) -> None:
    tied, untied = model(tied=True), model()
    same = replace(untied, model=replace(untied.model, tensors={**tied.model.tensors}))
    same.model.tensors[HEAD] = replace(tied.model.tensors[EMBEDDING], name=HEAD)
    found = after(tmp_path, lambda tensors: tensors.pop(HEAD) and None, same, "GS")
    assert not found.findings
    assert found.by_tensor[HEAD] == "tied"


def test_buffers_that_are_no_weights_may_come_and_go(tmp_path: Path) -> None:
    sample, buffer = model(), "model.layers.0.self_attn.rotary_emb.inv_freq"
    plain, with_buffer = (written(sample, "safetensors", tmp_path) for _ in range(2))
    with safetensors.read(plain / "model.safetensors") as archive:
        held = Archive(
            "safetensors",
            {"format": "pt"},
            {**archive.tensors, buffer: replace(archive.tensors["model.norm.weight"], name=buffer)},
        )
        safetensors.write(held, with_buffer / "more.safetensors")
    (with_buffer / "more.safetensors").replace(with_buffer / "model.safetensors")
    target = written(sample, "gguf", tmp_path)
    assert not verdict(with_buffer, target).findings
    assert not verdict(target, with_buffer).findings
    assert not verdict(plain, with_buffer).findings


def test_rows_and_names_of_an_apr_file_may_be_either_kind(tmp_path: Path) -> None:
    """rope_type says how the rows of q and k stand, whatever the names are."""
    sample = model()
    face = write.apr_face(sample)
    theirs = {mapping.hugging_face_name(name) or name: tensor for name, tensor in face.tensors.items()}
    for part, heads in (("q", 8), ("k", 2)):
        name = f"model.layers.0.self_attn.{part}_proj.weight"
        theirs[name] = Tensor.of(
            name, TYPES["F32"], theirs[name].shape, mapping.to_halves(theirs[name].values(), heads)
        )
    made = Archive("apr", face.metadata | {"rope_type": 2}, {k: replace(v, name=k) for k, v in theirs.items()})
    apr.write(made, tmp_path / "halves.apr")
    source = written(sample, "gguf", tmp_path)
    assert not verdict(source, tmp_path / "halves.apr").findings
    wrong = replace(made, metadata=made.metadata | {"rope_type": 0})
    apr.write(wrong, tmp_path / "pairs.apr")
    assert told(verdict(source, tmp_path / "pairs.apr")) == {("rows-permuted", Q), ("rows-permuted", K)}


# What is wrong with values


def change_one(tensors: dict[str, Tensor]) -> None:
    values = tensors[V].values().copy()
    values[3, 5] *= -1
    put(tensors, V, values)


def test_one_wrong_element_is_found_and_shown(tmp_path: Path) -> None:
    found = after(tmp_path, change_one)
    (finding,) = found.findings
    assert (finding.kind, finding.gate, finding.tensor, finding.count) == ("values", "F-CONV-004", V, 1)
    assert finding.first is not None
    assert finding.first["index"] == [3, 5]
    assert found.elements == found.expected


def invent_nan(tensors: dict[str, Tensor]) -> None:
    put(tensors, V, np.where(np.arange(16)[:, None] == 3, np.nan, tensors[V].values()).astype(np.float32), "F32")


def lose_nan(tensors: dict[str, Tensor]) -> None:
    put(tensors, V, np.nan_to_num(tensors[V].values(), nan=0, posinf=0, neginf=0), "F32")


def other_payload(tensors: dict[str, Tensor]) -> None:
    bits = tensors[V].values().copy().view(np.uint32)
    put(tensors, V, np.where(np.isnan(tensors[V].values()), bits ^ np.uint32(5), bits), "F32")


def test_nan_that_comes_that_goes_and_that_is_another_one(tmp_path: Path) -> None:
    f16 = model("F16")
    assert told(after(tmp_path, invent_nan, f16, "GG")) == {("nan", V)}
    assert told(after(tmp_path, lose_nan, model("F16", payload="special"), "GG")) == {("nan-lost", V)}
    assert told(after(tmp_path, other_payload, model(payload="special"))) == {("nan-payload", V)}


def rounded(cut: bool, flush: bool) -> Edit:
    def edit(tensors: dict[str, Tensor]) -> None:
        values = tensors[V].values()
        made = values.astype(np.float16)
        if cut:
            up = np.abs(made.astype(np.float32)) > np.abs(values)
            made = np.where(up, np.nextafter(made, np.float16(0)), made)
        if flush:
            made = np.where(np.abs(values) < 2.0**-14, np.float16(0), made)
        put(tensors, V, made, "F16")

    return edit


def overflow(tensors: dict[str, Tensor]) -> None:
    put(tensors, V, tensors[V].values().astype(np.float16), "F16")


def test_narrowing_that_is_not_to_nearest_has_its_name(tmp_path: Path) -> None:
    half, edges = model(payload="halfway"), model(payload="edges")
    assert told(after(tmp_path, rounded(cut=True, flush=False), half)) == {("truncated", V)}
    assert told(after(tmp_path, rounded(cut=False, flush=True), half)) == {("flushed", V)}
    with np.errstate(over="ignore"):
        assert told(after(tmp_path, overflow, model(payload="large"))) == {("out-of-range", V)}
        assert not after(tmp_path, overflow, edges).findings  # these are within F16's range


def test_a_wrong_block_is_wrong_values(tmp_path: Path) -> None:
    def swap_nibbles(tensors: dict[str, Tensor]) -> None:
        data = tensors[V].data.copy()
        blocks = data.view(TYPES["Q4_0"].dtype)
        blocks["qs"] = blocks["qs"] >> 4 | blocks["qs"] << 4
        put(tensors, V, data)

    assert told(after(tmp_path, swap_nibbles, model("Q4_0"), "GG")) == {("values", V)}


@pytest.mark.parametrize(("kind", "other"), [("F32", "Q8_0"), ("Q6_K", "Q4_K"), ("Q4_K", "Q4_K")])
def test_what_is_encoded_anew_is_told_from_wrong_values(kind: str, other: str, tmp_path: Path) -> None:
    """Also where the encoder is worse than the reference's, and where the type is the same."""

    def anew(tensors: dict[str, Tensor]) -> None:
        values = tensors[V].values()
        put(tensors, V, encoded(tensors[V], other, values * np.float32(1.01) if kind == other else values), other)

    sample = model(kind, payload="gaussian") if kind != "F32" else model("F32", head=32, inner=256)
    assert told(after(tmp_path, anew, sample, "GG")) == {("lossy-unasked", V)}
    assert not after(tmp_path, anew, sample, "GG", loses=("lossy-unasked",)).findings


def test_an_encoder_that_was_asked_may_not_be_worse_than_the_reference(tmp_path: Path) -> None:
    def q8(factor: float) -> Edit:
        def edit(tensors: dict[str, Tensor]) -> None:
            values = tensors[V].values() * np.float32(factor)
            put(tensors, V, encoded(tensors[V], "Q8_0", values), "Q8_0")

        return edit

    assert not after(tmp_path, q8(1), asked="Q8_0").findings
    assert told(after(tmp_path, q8(1.02), asked="Q8_0")) == {("error-too-large", V)}


# What is wrong with shapes, rows and labels


def test_shapes_and_rows_are_told_apart(tmp_path: Path) -> None:
    def ne(tensors: dict[str, Tensor]) -> None:
        put(tensors, V, tensors[V].data, shape=tensors[V].shape[::-1])

    def transposed(tensors: dict[str, Tensor]) -> None:
        put(tensors, V, tensors[V].values().T, shape=tensors[V].shape[::-1])

    def flat(tensors: dict[str, Tensor]) -> None:
        put(tensors, V, tensors[V].data, shape=(tensors[V].count,))

    def ne_and_wrong(tensors: dict[str, Tensor]) -> None:
        change_one(tensors)
        ne(tensors)

    assert told(after(tmp_path, ne)) == {("shape-not-reversed", V)}
    assert told(after(tmp_path, transposed)) == {("transposed", V)}
    assert told(after(tmp_path, flat)) == {("shape", V)}
    assert told(after(tmp_path, ne_and_wrong)) == {("shape-not-reversed", V), ("values", V)}


def turned(name: str, heads: int, way: Callable[[Any, int], Any], kind: str | None = None) -> Edit:
    def edit(tensors: dict[str, Tensor]) -> None:
        values = way(tensors[name].values(), heads)
        put(tensors, name, values if kind is None else encoded(tensors[name], kind, values), kind)

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (turned(Q, 8, mapping.to_halves), "not at all"),
        (turned(K, 2, mapping.to_halves), "not at all"),
        (turned(Q, 8, mapping.to_pairs), "though"),
        (lambda tensors: [turned(Q, 8, mapping.to_halves)(tensors), turned(Q, 2, mapping.to_pairs)(tensors)], "by 2 heads, not 8"),
    ],
)  # fmt: skip
def test_rows_in_another_order_are_not_wrong_values(edit: Edit, said: str, tmp_path: Path) -> None:
    (finding,) = after(tmp_path, edit, way="GG" if said == "though" else "SG").findings
    assert finding.kind == "rows-permuted"
    assert said in finding.detail


def test_rows_in_another_order_that_are_encoded_anew_are_two_findings(tmp_path: Path) -> None:
    wide = model(head=32, inner=256)
    found = after(tmp_path, turned(K, 2, mapping.to_halves, "Q8_0"), wide)
    assert told(found) == {("rows-permuted", K), ("lossy-unasked", K)}


def set_code(path: Path, name: str, code: int, shape: tuple[int, ...]) -> None:
    """Write another type code and shape into the index of an APR file, and its checksums anew."""
    import zlib

    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<H", len(name)) + name.encode()) + 2 + len(name)
    data[at] = code
    assert data[at + 1] == len(shape)
    data[at + 2 : at + 2 + 8 * len(shape)] = struct.pack(f"<{len(shape)}Q", *shape)
    data[-4:] = struct.pack("<I", zlib.crc32(bytes(data[:-4])))
    path.write_bytes(bytes(data))


def test_raw_blocks_under_another_label_and_shapes_that_fit_no_block(tmp_path: Path) -> None:
    """As aprender 0.25.0 writes them: Q5_K labelled F32; and Q4_K under its own code, with the shape in GGUF's order."""
    sample = model("Q4_K")
    source, target = written(sample, "gguf", tmp_path), written(sample, "apr", tmp_path)
    set_code(target, K, 0, (64, 256))
    set_code(target, Q, 12, (256, 256))
    set_code(target, V, 12, (256, 64))
    found = verdict(source, target)
    assert told(found) == {("label", K), ("shape-not-reversed", V)}
    assert found.types[K] == ("Q4_K", "F32")
    set_code(target, K, 0, (256, 64))
    assert told(verdict(source, target)) == {("label", K), ("shape-not-reversed", K), ("shape-not-reversed", V)}


# What is wrong with names and numbers of tensors


def test_a_foreign_name_is_not_a_lost_tensor(tmp_path: Path) -> None:
    def rename(tensors: dict[str, Tensor]) -> None:
        tensors["blk.0.attn_vv.weight"] = replace(tensors.pop(V), name="blk.0.attn_vv.weight")

    found = after(tmp_path, rename)
    assert [(f.kind, f.gate, f.tensor) for f in found.findings] == [("foreign-name", "F-CONV-NAME-001", V)]
    assert found.elements == found.expected


def test_lost_and_invented_tensors_and_a_head_made_of_the_embedding(tmp_path: Path) -> None:
    lost = after(tmp_path, lambda tensors: tensors.pop(V) and None)
    assert {(f.kind, f.gate) for f in lost.findings} == {("lost", "F-CONV-CARD-001"), ("lost", "F-CONV-004")}

    def more(tensors: dict[str, Tensor]) -> None:
        put(tensors, "blk.7.attn_v.weight", tensors[V].values() + 1)

    def head(tensors: dict[str, Tensor]) -> None:
        put(tensors, HEAD, tensors[EMBEDDING].values())

    assert told(after(tmp_path, more)) == {("invented", "blk.7.attn_v.weight")}
    (finding,) = after(tmp_path, head, model(tied=True)).findings
    assert (finding.kind, finding.tensor) == ("invented", HEAD)
    assert "copy of the embedding" in finding.detail


def test_q_k_and_v_in_one_tensor_are_fused_and_not_lost(tmp_path: Path) -> None:
    sample = model()
    source, target = written(sample, "safetensors", tmp_path), tmp_path / "fused.apr"
    face = write.apr_face(sample)
    with look(source) as ours:
        parts = [ours.tensors[name].tensor.values() for name in (Q, K, V)]
    fused, name = np.concatenate(parts), "model.layers.0.self_attn.qkv_proj.weight"
    kept = {key: tensor for key, tensor in face.tensors.items() if key not in (Q, K, V)}
    halves = face.metadata | {"rope_type": 2}
    apr.write(Archive("apr", halves, kept | {name: Tensor.of(name, TYPES["F32"], fused.shape, fused)}), target)
    assert told(verdict(source, target)) == {("fused", part) for part in (Q, K, V)}
    fused[0, 0] += 1
    apr.write(Archive("apr", face.metadata, kept | {name: Tensor.of(name, TYPES["F32"], fused.shape, fused)}), target)
    assert {kind for kind, _ in told(verdict(source, target))} == {"lost", "invented"}


def test_a_table_that_no_loader_takes_is_told_tensor_by_tensor(tmp_path: Path) -> None:
    """Two tensors of one name, and two in one place; all others are judged as ever."""
    sample = model()
    source, target = written(sample, "safetensors", tmp_path), written(sample, "gguf", tmp_path)
    with gguf.read(target) as archive:
        second = list(archive.tensors.values())[1]
    good = target.read_bytes()
    target.write_bytes(good.replace(b"blk.0.ffn_down.weight", b"blk.0.ffn_gate.weight"))
    assert told(verdict(source, target)) == {("twice", "blk.0.ffn_gate.weight"), ("lost", "blk.0.ffn_down.weight")}
    at = good.index(second.name.encode()) + len(second.name) + 4 + 8 * len(second.shape) + 4
    assert struct.unpack_from("<Q", good, at)[0] > 0
    target.write_bytes(good[:at] + struct.pack("<Q", 0) + good[at + 8 :])
    assert told(verdict(source, target)) == {("overlap", second.name), ("values", second.name)}


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    target = written(model(), "gguf", tmp_path)
    target.write_bytes(target.read_bytes()[:-5000])
    with pytest.raises(UnreadableError, match="cannot be read"):
        look(target)


# Words and numbers


def words(source: Path, target: Path) -> set[str]:
    """The kinds of findings of META."""
    with look(source) as ours, look(target) as theirs:
        return {finding.kind for finding in judge_metadata(ours, theirs).findings}


def with_keys(sample: Sample, folder: Path, **changes: Value | None) -> Path:
    """The GGUF face with other keys; dots are written as double underscores."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    kept = {key: value for key, value in sample.model.metadata.items() if key not in named}
    keys = kept | {key: value for key, value in named.items() if value is not None}
    return written(replace(sample, model=replace(sample.model, metadata=keys)), "gguf", folder)


U32, F32 = (lambda n: Value.scalar(Kind.U32, n)), (lambda x: Value.scalar(Kind.F32, np.float32(x)))
TEXT = lambda text: Value.scalar(Kind.STRING, text)  # noqa: E731 (one word for a table)


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"llama__rope__freq_base": F32(10000)}, {"number-wrong"}),
        ({"llama__rope__freq_base": None}, {"number-wrong"}),
        ({"llama__block_count": None}, {"number-lost"}),
        ({"llama__attention__head_count": U32(4)}, {"number-wrong"}),
        ({"general__architecture": TEXT("qwen2")}, {"architecture", "number-lost", "number-wrong"}),
        ({"tokenizer__ggml__tokens": None}, {"tokenizer-lost"}),
        ({"tokenizer__ggml__merges": None}, {"words-lost"}),
        ({"tokenizer__ggml__eos_token_id": U32(0)}, {"words-wrong"}),
        ({"tokenizer__ggml__padding_token_id": None}, {"words-lost"}),
        ({"tokenizer__ggml__model": TEXT("llama")}, {"words-wrong"}),
        ({"tokenizer__ggml__pre": TEXT("default")}, {"words-wrong"}),
        ({"tokenizer__chat_template": None}, {"words-lost"}),
        ({"tokenizer__ggml__token_type": Value.array(Kind.U32, [1] * 269)}, {"kind-wrong", "words-wrong"}),
        ({"general__file_type": U32(15)}, {"file-type-wrong"}),
        ({"general__file_type": U32(0)}, set()),
        ({"general__description": TEXT("more is allowed")}, set()),
    ],
    ids=lambda part: " ".join(sorted(part)) or "right",
)
def test_each_word_and_number_is_asked_for(changes: dict[str, Value | None], kinds: set[str], tmp_path: Path) -> None:
    sample = model()
    assert words(written(sample, "safetensors", tmp_path), with_keys(sample, tmp_path, **changes)) == kinds


def test_rope_scaling_is_keys_or_factors(tmp_path: Path) -> None:
    made = {sample.name: sample for sample in default(0, whole_models=True)}
    yarn, llama3 = made["llama-f32-yarn"], made["llama-f32-llama3"]
    source = written(yarn, "safetensors", tmp_path)
    assert words(source, with_keys(yarn, tmp_path, llama__rope__scaling__factor=F32(2))) == {"scaling-wrong"}
    assert words(source, with_keys(yarn, tmp_path, llama__rope__scaling__type=None)) == {"scaling-lost"}

    def without(tensors: dict[str, Tensor]) -> None:
        tensors.pop(mapping.FACTORS)

    def others(tensors: dict[str, Tensor]) -> None:
        put(tensors, mapping.FACTORS, tensors[mapping.FACTORS].values() + np.float32(0.5))

    source = written(llama3, "safetensors", tmp_path)
    assert not words(source, written(llama3, "gguf", tmp_path))
    assert words(source, written(llama3, "gguf", tmp_path, without)) == {"scaling-lost"}
    assert words(source, written(llama3, "gguf", tmp_path, others)) == {"scaling-wrong"}


def change_json(path: Path, name: str, **changes: Any) -> None:
    """Other values in a JSON file; None takes a key away."""
    content = json.loads((path / name).read_text("utf-8"))
    content |= changes
    (path / name).write_text(json.dumps({key: value for key, value in content.items() if value is not None}), "utf-8")


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"vocab_size": 320}, set()),  # padded with tokens that nobody uses
        ({"vocab_size": 64}, {"number-wrong"}),
        ({"rms_norm_eps": 1e-6}, {"number-wrong"}),
        ({"eos_token_id": 151645}, {"words-wrong"}),
        ({"num_key_value_heads": None}, {"number-lost"}),
        ({"head_dim": None}, set()),  # it is what every loader takes
        ({"tie_word_embeddings": True}, {"head-ignored"}),
    ],
)
def test_each_number_of_config_json_is_asked_for(changes: dict[str, Any], kinds: set[str], tmp_path: Path) -> None:
    sample = model()
    target = written(sample, "safetensors", tmp_path)
    change_json(target, "config.json", **changes)
    assert words(written(sample, "gguf", tmp_path), target) == kinds


def test_a_directory_without_config_or_tokenizer_is_a_finding_and_no_error(tmp_path: Path) -> None:
    sample = model()
    source, target = written(sample, "gguf", tmp_path), written(sample, "safetensors", tmp_path)
    (target / "tokenizer.json").unlink()
    assert words(source, target) == {"tokenizer-lost", "words-lost"}
    (target / "config.json").unlink()
    assert words(source, target) >= {"config-missing", "architecture", "number-lost", "tokenizer-lost"}
    (target / "tokenizer.json").write_text("{}", "utf-8")
    assert "tokenizer-broken" in words(source, target)


def test_typed_keys_that_went_and_came_back(tmp_path: Path) -> None:
    sample = model()
    source = written(sample, "gguf", tmp_path)
    for changes, kinds in (
        ({}, set()),
        ({"llama__block_count": Value.scalar(Kind.U64, 1)}, {"key-wrong"}),
        ({"general__name": None}, {"key-lost"}),
    ):
        with look(source) as ours, look(with_keys(sample, tmp_path, **changes)) as theirs:
            assert {finding.kind for finding in compare_keys(ours, theirs).findings} == kinds
