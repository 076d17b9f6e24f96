"""What each member of the zoo writes for its smallest input, and what is right, worked out here: by ggml, or by the words of the table.

An answer gets the source as stored and gives (right, wrong): values by tensor name, or REFUSED. A check gets both outputs as stored.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support import ggml
from tests.support.stored import File

REFUSED = "refused"
UP = "blk.0.ffn_up.weight"
Values = dict[str, np.ndarray]
ANSWERS: dict[str, Callable[[File], tuple[Any, Any]]] = {}
CHECKS: dict[str, Callable[[File, File, File], None]] = {}


def answer(member: str) -> Callable[[Any], Any]:
    return lambda make: ANSWERS.setdefault(member, make)


def check(member: str) -> Callable[[Any], Any]:
    return lambda make: CHECKS.setdefault(member, make)


def row(*numbers: float) -> Values:
    return {UP: np.array([numbers], np.float32)}


def rows_of(*numbers: float) -> Values:
    """Two equal rows: a single one is never rounded."""
    return {UP: np.array(2 * [numbers], np.float32)}


def block_of(source: File, layout: str) -> Any:
    """The first block of the one tensor, as fields."""
    return np.frombuffer(source.tensors[UP].data, layout, count=1)[0]


# --- labels ------------------------------------------------------------------------------------------------------------------


@answer("quant-bytes-read-as-f32")
def _(source: File):
    words = np.array(struct.unpack("<36f", source.tensors[UP].data[:144]), np.float32)
    return source.all_values(), {UP: words}


@check("raw-blocks-labelled-f32")
def _(source: File, right: File, wrong: File):
    raw = source.tensors[UP].data[:176]
    assert (right.tensors[UP].type, right.tensors[UP].dims, right.tensors[UP].data) == (7, (1, 176), raw)
    assert (wrong.tensors[UP].type, wrong.tensors[UP].dims, wrong.tensors[UP].data) == (0, (1, 256), raw)


@check("aprq8-labelled-q8_0")
def _(source: File, right: File, wrong: File):
    raw = source.tensors[UP].data
    assert len(raw) == 260
    codes = np.frombuffer(raw[4:], np.int8).astype(np.float32) * np.float32(0.5)
    assert right.tensors[UP].type == 0
    assert np.array_equal(right.values(UP), codes[None])
    assert (wrong.tensors[UP].type, wrong.tensors[UP].dims) == (8, (256, 1))
    assert wrong.tensors[UP].data[:272] == raw + bytes(12)


@answer("type-ids-from-memory")
def _(source: File):
    return source.all_values(), {UP: ggml.decode(6, source.tensors[UP].data[:22], 32)[None]}


@check("bf16-labelled-f16")
def _(source: File, right: File, wrong: File):
    assert (right.tensors[UP].type, wrong.tensors[UP].type) == ("BF16", "F16")
    assert right.tensors[UP].data == wrong.tensors[UP].data == struct.pack("<2H", 0x3F80, 0x4000)


# --- lanes -------------------------------------------------------------------------------------------------------------------


@answer("q5_0-interleaved")
def _(source: File):
    d, qh, qs = block_of(source, "<f2,<u4,16u1")
    codes = np.zeros(32)
    for i in range(16):
        codes[2 * i] = int(qs[i] & 15) | (int(qh) >> 2 * i & 1) << 4
        codes[2 * i + 1] = int(qs[i] >> 4) | (int(qh) >> 2 * i + 1 & 1) << 4
    return source.all_values(), row(*(float(d) * (codes - 16)))


@answer("q5_k-in-sequence")
def _(source: File):
    d, dmin, packed, qh, qs = block_of(source, "<f2,<f2,12u1,32u1,128u1")
    assert packed.tolist() == 12 * [1]  # scales and minima 0..3 are 1; of 4..7 the scales are 1, the minima 0
    wrong = []
    for i in range(256):
        code = int(qs[i // 2] >> 4 * (i % 2)) & 15 | (int(qh[i // 8]) >> i % 8 & 1) << 4
        wrong.append(float(d) * code - float(dmin) * (i < 128))
    return source.all_values(), row(*wrong)


@answer("mxfp4-neighbours")
def _(source: File):
    # Codes 1 and 2 are 0.5 and 1, the scale is 2^(128 - 127); ggml has the one as element 0, the other as element 16.
    right, wrong = np.zeros((2, 1, 32), np.float32)
    right[0, [0, 16]] = wrong[0, [0, 1]] = 1, 2
    assert np.array_equal(source.values(UP), right)
    return {UP: right}, {UP: wrong}


@answer("q2_k-sequential-scales")
def _(source: File):
    scales, qs, d, dmin = block_of(source, "16u1,64u1,<f2,<f2")
    wrong = []
    for j in range(16):
        for byte in qs[4 * j : 4 * j + 4]:
            wrong += [
                float(d) * (scales[j] & 15) * (byte >> 2 * k & 3) - float(dmin) * (scales[j] >> 4) for k in range(4)
            ]
    return source.all_values(), row(*wrong)


@check("q4_0-packs-neighbours")
def _(source: File, right: File, wrong: File):
    raw = ggml.encode(2, source.values(UP))
    assert right.tensors[UP].data[:36] == raw
    made = b""
    for block in (raw[:18], raw[18:]):
        codes = [byte & 15 for byte in block[2:]] + [byte >> 4 for byte in block[2:]]
        made += block[:2] + bytes(codes[2 * j] | codes[2 * j + 1] << 4 for j in range(16))
    assert wrong.tensors[UP].data[:36] == made
    assert not np.array_equal(right.values(UP), wrong.values(UP))


@answer("q4_1-skips-two-bytes")
def _(source: File):
    raw = source.tensors[UP].data
    d, m = struct.unpack("<2e", raw[:4])
    nibbles = raw[2:18]
    return source.all_values(), row(*(d * (b & 15) + m for b in nibbles), *(d * (b >> 4) + m for b in nibbles))


@answer("first-block-only")
def _(source: File):
    wrong = source.values(UP).copy()
    wrong[0, 32:] = 0
    return source.all_values(), {UP: wrong}


@answer("aprq4-in-halves")
def _(source: File):
    d, qs = block_of(source, "<f2,16u1")
    right = [float(d) * (int(q) - 8) for byte in qs for q in (byte & 15, byte >> 4)]
    wrong = [float(d) * (int(q) - 8) for q in [*(qs & 15), *(qs >> 4)]]
    return row(*right), row(*wrong)


@answer("bf16-pairs-turned")
def _(source: File):
    return row(1, 2), row(2, 1)


# --- scales ------------------------------------------------------------------------------------------------------------------


@answer("q3_k-scales-4-bit")
def _(source: File):
    hmask, qs, scales, d = block_of(source, "32u1,64u1,12u1,<f2")
    # With all scales 33 - 32 = 1 and d = 1, ggml gives the codes themselves.
    ones = bytes(8 * [0x11] + 4 * [0xAA])
    codes = ggml.decode(11, hmask.tobytes() + qs.tobytes() + ones + struct.pack("<e", 1), 256)
    nibbles = [*(scales[:8] & 15), *(scales[:8] >> 4)]
    wrong = [float(d) * (int(nibbles[e // 16]) - 8) * codes[e] for e in range(256)]
    return source.all_values(), row(*wrong)


def _k_answer(numbers: Callable[[bytes], tuple[list[int], list[int]]]) -> Any:
    def make(source: File):
        d, dmin, packed, qs = block_of(source, "<f2,<f2,12u1,128u1")
        # With all scales 1 and no minima, ggml gives the codes themselves.
        ones = bytes(4 * [1] + 4 * [0] + 4 * [1])
        codes = ggml.decode(12, struct.pack("<2e", 1, 0) + ones + qs.tobytes(), 256)
        scales, minima = numbers(packed.tobytes())
        wrong = [float(d) * scales[e // 32] * codes[e] - float(dmin) * minima[e // 32] for e in range(256)]
        return source.all_values(), row(*wrong)

    return make


def _stream(packed: bytes) -> tuple[list[int], list[int]]:
    whole = int.from_bytes(packed, "little")
    numbers = [whole >> 6 * k & 63 for k in range(16)]
    return numbers[0::2], numbers[1::2]


def _low(packed: bytes) -> tuple[list[int], list[int]]:
    return (
        [b & 63 for b in packed[:4]] + [b & 15 for b in packed[8:]],
        [b & 63 for b in packed[4:8]] + [b >> 4 for b in packed[8:]],
    )


answer("k-scales-bit-stream")(_k_answer(_stream))
answer("k-scales-low-bits")(_k_answer(_low))


@answer("f16-scale-as-bf16")
def _(source: File):
    return row(*range(32)), row(*(n * 2.0**-7 for n in range(32)))  # 0x3C00 is 1 in f16 and 2^-7 in bf16


@answer("subnormal-scale-zeroed")
def _(source: File):
    return row(*(n * 2.0**-20 for n in range(32))), row(*32 * [0])


@answer("aprq8-scale-divides")
def _(source: File):
    return row(0, 0.5, 1, 1.5), row(0, 2, 4, 6)


# --- floats ------------------------------------------------------------------------------------------------------------------


@answer("f16-truncates-and-flushes")
def _(source: File):
    # 2^-10 is what a step is worth at 1; 65519 is below the middle between the largest number and the next one, if there was one.
    return rows_of(1007 * 2.0**-24, 1 + 2.0**-10, 65504, 1), rows_of(0, 1, 65504, 1)


@answer("bf16-truncates")
def _(source: File):
    return rows_of(3.140625, np.nan, 1, 1.015625), rows_of(3.125, np.inf, 1, 1.0078125)


@answer("bf16-through-f16")
def _(source: File):
    (big, small), half = source.values(UP)[0], np.float16(source.values(UP)[0, 1])
    return rows_of(big, small), rows_of(np.inf, half)


@answer("f16-subnormals-read-as-zero")
def _(source: File):
    return rows_of(1023 * 2.0**-24, 1), rows_of(0, 1)


@answer("f16-clamps")
def _(source: File):
    return REFUSED, rows_of(65504, -65504, 1, 2)


@check("zero-block-gives-nan-scale")
def _(source: File, right: File, wrong: File):
    assert right.tensors[UP].data[:420] == bytes(420) == ggml.encode(14, source.values(UP))
    assert wrong.tensors[UP].data[:420] == 2 * (bytes(208) + struct.pack("<H", 0x7E00))
    assert np.isnan(wrong.values(UP)).all()


@check("q4_0-twos-complement")
def _(source: File, right: File, wrong: File):
    raw = ggml.encode(2, source.values(UP))
    assert right.tensors[UP].data[:36] == raw
    # Nibble n stands for n - 8, which has the bits of n - 8 modulo 16 as a signed nibble.
    turned = [(byte & 15) - 8 & 15 | ((byte >> 4) - 8 & 15) << 4 for byte in raw]
    assert wrong.tensors[UP].data[:36] == raw[:2] + bytes(turned[2:18]) + raw[18:20] + bytes(turned[20:])


@check("aprq4-rounds-towards-zero")
def _(source: File, right: File, wrong: File):
    values = [float(v) for v in source.values(UP)[0]]
    scale = np.float32(7.75) / np.float32(7)
    steps = [v / float(scale) for v in values]
    for file, codes in ((right, [round(s) + 8 for s in steps]), (wrong, [int(s) + 8 for s in steps])):
        block = np.float16(scale).tobytes() + bytes(codes[2 * i] | codes[2 * i + 1] << 4 for i in range(16))
        assert (file.tensors[UP].type, file.tensors[UP].data) == (128, 2 * block)


# --- containers --------------------------------------------------------------------------------------------------------------


@answer("alignment-key-ignored")
def _(source: File):
    return row(*range(1, 33)), row(*8 * [0], *range(1, 25))  # 32 bytes too early, in the padding


@check("alignment-key-kept-not-applied")
def _(source: File, right: File, wrong: File):
    for file, second in ((right, 64), (wrong, 32)):
        assert file.metadata["general.alignment"] == 64
        assert [one.offset for one in file.tensors.values()] == [0, second]


@answer("apr-offsets-unpadded")
def _(source: File):
    one, two = (np.array([v], np.float32) for v in ([1.0], [1.0, 2.0]))
    return {"0.weight": one, "1.weight": two}, {"0.weight": one, "1.weight": two * 0}


@check("header-padding-not-counted")
def _(source: File, right: File, wrong: File):
    ((name, one),) = source.tensors.items()
    assert right.tensors[name].data[:16] == one.data
    assert wrong.tensors[name].data[:16] in [(n * b" " + one.data)[:16] for n in range(1, 8)]


@answer("truncation-accepted")
def _(source: Any):
    return REFUSED, row(*range(1, 16), 2.0**-126)  # 16 is 0x41800000, whose last byte is cut


@answer("big-endian-block-swapped-whole")
def _(source: Any):
    d, rest = struct.pack("<2e", 1, 0.5), bytes(range(12)) + bytes(range(128))
    right = ggml.decode(12, d + rest, 256)
    wrong = ggml.decode(12, d + b"".join(rest[i + 1 : i + 2] + rest[i : i + 1] for i in range(0, 140, 2)), 256)
    return {UP: right[None]}, {UP: wrong[None]}


@check("floats-written-big-endian")
def _(source: File, right: File, wrong: File):
    assert right.tensors[UP].data == struct.pack("<16f", *range(1, 17))
    assert wrong.tensors[UP].data == struct.pack(">16f", *range(1, 17))


@answer("stale-shard-wins")
def _(source: Any):
    first, second, stale = (np.array([v], np.float32) for v in ([1, 2], [2, 3], [8, 9]))
    return {"1.weight": first, "2.weight": second}, {"1.weight": stale, "2.weight": second}


_SHARDS = {"1.weight": np.array([[1, 2]], np.float32), "2.weight": np.array([[2, 3]], np.float32)}
_STALE = np.array([[8, 9]], np.float32)


@answer("first-copy-wins")
def _(source: Any):
    return _SHARDS, _SHARDS | {"2.weight": _STALE}


@answer("shards-by-pattern")
def _(source: Any):
    return REFUSED, _SHARDS


@answer("every-file-of-the-folder")
def _(source: Any):
    return REFUSED, _SHARDS | {"1.weight": _STALE}


@answer("missing-shard-left-out")
def _(source: Any):
    return REFUSED, {"1.weight": _SHARDS["1.weight"]}


@answer("first-part-only")
def _(source: Any):
    held = np.array([[1, 2]], np.float32)
    return {"0.weight": held, "1.weight": held}, {"0.weight": held}


@answer("shard-taken-for-whole")
def _(source: File):
    return REFUSED, row(1, 2)


# --- shapes ------------------------------------------------------------------------------------------------------------------

_MATRIX = np.arange(1, 7, dtype=np.float32).reshape(2, 3)


@answer("shape-not-reversed")
def _(source: File):
    return {UP: _MATRIX}, {UP: _MATRIX.reshape(3, 2)}


@answer("data-transposed-too")
def _(source: File):
    return {UP: _MATRIX}, {UP: _MATRIX.T}


@answer("vectors-made-rows")
def _(source: File):
    return {UP: np.array([1, 2, 3], np.float32)}, row(1, 2, 3)


@check("ragged-row-flattened")
def _(source: File, right: File, wrong: File):
    values = source.values(UP)
    assert values.shape == (3, 320)
    assert right.tensors[UP].data == ggml.encode(6, values)  # what llama.cpp takes instead: Q5_0
    flat = np.concatenate([values.reshape(-1), np.zeros(64, np.float32)])
    found = wrong.tensors[UP]
    assert (found.type, found.dims) == (12, (3, 320))
    assert found.data == ggml.encode(12, flat[None])


# --- rows and values ---------------------------------------------------------------------------------------------------------

_HF = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


#: Gemma has more norms, and another one before the feed-forward part.
_HF_OF_GEMMA = _HF | {
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
}  # fmt: skip


def to_hf(values: Values) -> Values:
    made = {}
    for name, array in values.items():
        *layer, part, kind = name.split(".")
        made[f"model.layers.{layer[1]}.{_HF[part]}.{kind}" if layer else f"{_HF[part]}.{kind}"] = array
    return made


def to_gguf(values: Values, names: dict[str, str] = _HF) -> Values:
    back = {theirs: ours for ours, theirs in names.items()}
    made = {}
    for name, array in values.items():
        whole, kind = name.rsplit(".", 1)
        layer, part = whole.split(".", 3)[2:] if whole.startswith("model.layers.") else (None, whole)
        made[f"{back[part]}.{kind}" if layer is None else f"blk.{layer}.{back[part]}.{kind}"] = array
    return made


def pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    """Row i of the first half of a head, then row i of the second, as llama.cpp has them."""
    size = len(rows) // heads
    order = [h * size + half * size // 2 + i for h in range(heads) for i in range(size // 2) for half in (0, 1)]
    return rows[order]


def halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """The even rows of a head, then the odd ones, as Hugging Face has them."""
    size = len(rows) // heads
    order = [h * size + 2 * i + odd for h in range(heads) for odd in (0, 1) for i in range(size // 2)]
    return rows[order]


def reordered(values: Values, order: Any, q: int, k: int, kinds: tuple[str, ...] = ("weight", "bias")) -> Values:
    made = dict(values)
    for name, array in values.items():
        for part, heads in (("attn_q", q), ("attn_k", k)):
            if f".{part}." in name and name.endswith(kinds):
                made[name] = order(array, heads)
    return made


@answer("k-permuted-with-wrong-head-count")
def _(source: File):
    stored = to_gguf(source.all_values())
    return reordered(stored, pairs, 8, 2), reordered(stored, pairs, 8, 4)


@answer("k-permuted-as-q")
def _(source: File):
    stored = source.all_values()
    return to_hf(reordered(stored, halves, 2, 1)), to_hf(reordered(stored, halves, 2, 2))


@answer("inverse-permutation-is-forward")
def _(source: File):
    stored = source.all_values()
    return to_hf(reordered(stored, halves, 2, 1)), to_hf(reordered(stored, pairs, 2, 1))


@answer("permutes-every-architecture")
def _(source: File):
    stored = to_gguf(source.all_values())
    return stored, reordered(stored, pairs, 2, 1)


@answer("biases-not-permuted")
def _(source: File):
    stored = to_gguf(source.all_values())
    return reordered(stored, pairs, 2, 1), reordered(stored, pairs, 2, 1, kinds=("weight",))


@answer("apr-rope-type-ignored")
def _(source: File):
    return reordered(source.all_values(), pairs, 2, 1), source.all_values()


@answer("query-scale-folded-in")
def _(source: File):
    right = to_hf(reordered(source.all_values(), halves, 2, 1))
    return right, {name: x * np.float32(0.5) if ".q_proj." in name else x for name, x in right.items()}


@answer("norm-plus-one-everywhere")
def _(source: File):
    right = reordered(to_gguf(source.all_values()), pairs, 2, 1)
    return right, {name: x + np.float32(1) if name.endswith("norm.weight") else x for name, x in right.items()}


def shifted(values: Values, by: int) -> Values:
    return {name: x + np.float32(by) if name.endswith("norm.weight") else x for name, x in values.items()}


@answer("norm-plus-one-forgotten")
def _(source: File):
    stored = to_gguf(source.all_values(), _HF_OF_GEMMA)
    return shifted(stored, 1), stored


@answer("norm-plus-one-twice")
def _(source: File):
    stored = to_gguf(source.all_values(), _HF_OF_GEMMA)
    return shifted(stored, 1), shifted(stored, 2)


@answer("embedding-scaled")
def _(source: File):
    right = source.all_values()
    scaled = right["token_embd.weight"] * np.float32(8**0.5)
    return right, right | {"token_embd.weight": scaled}


# --- names -------------------------------------------------------------------------------------------------------------------


@check("tied-head-dropped")
def _(source: File, right: File, wrong: File):
    assert "output.weight" not in source.tensors
    for file, tied in ((right, True), (wrong, False)):
        assert "lm_head.weight" not in file.tensors
        assert file.metadata["tie_word_embeddings"] is tied


@answer("tied-head-invented")
def _(source: File):
    right = reordered(to_gguf(source.all_values()), pairs, 2, 1)
    assert "output.weight" not in right
    return right, right | {"output.weight": right["token_embd.weight"]}


@answer("head-taken-for-tied")
def _(source: File):
    right = reordered(to_gguf(source.all_values()), pairs, 2, 1)
    return right, {name: x for name, x in right.items() if name != "output.weight"}


@answer("drops-biases")
def _(source: File):
    right = to_gguf(source.all_values())
    wrong = {name: x for name, x in right.items() if not name.endswith("bias")}
    assert len(right) - len(wrong) == 3
    return right, wrong


@answer("gate-and-up-exchanged")
def _(source: File):
    right = reordered(to_gguf(source.all_values()), pairs, 2, 1)
    gate, up = "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"
    return right, right | {gate: right[up], up: right[gate]}


@answer("layers-sorted-as-text")
def _(source: File):
    right = to_hf(reordered(source.all_values(), halves, 2, 1))
    place = {0: 0, 1: 1, 10: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 10}
    wrong = {}
    for name, array in right.items():
        parts = name.split(".")
        if parts[1] == "layers":
            parts[2] = str(place[int(parts[2])])
        wrong[".".join(parts)] = array
    return right, wrong


@answer("index-sorted-data-not")
def _(source: File):
    first, second = (np.array([v], np.float32) for v in ([1, 2], [2, 3]))
    return {"b.weight": first, "a.weight": second}, {"a.weight": first, "b.weight": second}


# --- metadata ----------------------------------------------------------------------------------------------------------------


@check("tokenizer-dropped")
def _(source: File, right: File, wrong: File):
    assert source.metadata["tokenizer.ggml.tokens"]
    assert set(right.beside) - set(wrong.beside) >= {"tokenizer.json", "tokenizer_config.json"}
    assert {"config.json"} <= set(wrong.beside)


@check("null-and-alias")
def _(source: File, right: File, wrong: File):
    assert not {"hidden_dim", "num_hidden_layers"} & right.metadata.keys()
    assert wrong.metadata["hidden_dim"] is None
    assert wrong.metadata["num_hidden_layers"] is None


@check("tokenizer-words-only")
def _(source: File, right: File, wrong: File):
    words = ["<unk>", "<s>", "</s>", "a", "b"]
    assert source.metadata["tokenizer.ggml.tokens"] == words
    assert right.metadata["tokenizer.vocabulary"] == wrong.metadata["tokenizer.vocabulary"] == words
    assert right.metadata["tokenizer.scores"] == [0, -1, -2, -3, -4]
    assert right.metadata["tokenizer.token_type"] == [2, 3, 3, 1, 1]
    assert not {"tokenizer.scores", "tokenizer.token_type"} & wrong.metadata.keys()


@check("numbers-under-two-keys")
def _(source: File, right: File, wrong: File):
    assert not any(key.startswith("model.") for key in right.metadata)
    again = {key: value for key, value in wrong.metadata.items() if key.startswith("model.")}
    assert len(again) == 11
    assert all(wrong.metadata[key.removeprefix("model.")] == value for key, value in again.items())


@check("rope-theta-forgotten")
def _(source: File, right: File, wrong: File):
    assert (right.metadata["rope_theta"], wrong.metadata["rope_theta"]) == (500000, 10000)


@check("kv-heads-are-query-heads")
def _(source: File, right: File, wrong: File):
    assert (right.metadata["num_key_value_heads"], wrong.metadata["num_key_value_heads"]) == (1, 2)


@check("bos-and-eos-exchanged")
def _(source: File, right: File, wrong: File):
    ids = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"
    assert [right.metadata[key] for key in ids] == [1, 2]
    assert [wrong.metadata[key] for key in ids] == [2, 1]


@check("epsilon-is-a-constant")
def _(source: File, right: File, wrong: File):
    key = "llama.attention.layer_norm_rms_epsilon"
    assert (right.metadata[key], wrong.metadata[key]) == (np.float32(1e-5), np.float32(1e-6))
